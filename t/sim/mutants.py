"""The loader's core, broken on purpose: that the simulation notices each of these.

Each mutation is compiled from a copy of one source and linked in front of the others of a build of
loader_sim; nothing of the tree is touched. One that goes unnoticed is a hole in the simulation.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import time

REDIS, POSTGRES = "daemon/load/core_redis.cpp", "daemon/load/core_postgres.cpp"
BATCH, TRIM, COPY = "daemon/load/batch.cpp", "daemon/load/trim.cpp", "daemon/load/copy_rows.cpp"

ACKS = "acks_.insert(acks_.end(), storing_->ids().begin(), storing_->ids().end());"

# What is wrong, in which source, and what it is made of: pairs of a text and what replaces it.
MUTATIONS = [
    ("acknowledges before the commit", POSTGRES,
     [("store_.step = PgStep::kCommit;\n            break;",
       "store_.step = PgStep::kCommit;\n            " + ACKS + "\n            break;")]),
    ("takes an unknown commit for done", POSTGRES,
     [("if (status == PgStatus::kLost) {",
       "if (status == PgStatus::kLost) {\n"
       "if (action.step == PgStep::kCommit) { batch_stored(now); }")]),
    ("takes a refused commit for done", POSTGRES,
     [("++counts_.pg_failures;",
       "++counts_.pg_failures;\n"
       "if (action.step == PgStep::kCommit && status == PgStatus::kRetry)"
       " { batch_stored(now); }")]),
    ("trims the first pending entry as well", TRIM,
     [("lower_bound(group_, result.first_pending);",
       "lower_bound(group_, result.first_pending.next());")]),
    ("trims the entry behind the last delivered", TRIM,
     [("position->last_delivered.next()", "position->last_delivered.next().next()")]),
    ("asks for pending ids before delivered ones", TRIM,
     [("groups_inspected(result.groups);",
       "if (group_ == groups_.size()) { const StreamId pending = bound_;"
       " groups_inspected(result.groups); bound_ = std::min(bound_, pending);"
       " step_ = running() ? RedisStep::kTrim : step_; group_ = 0; }"
       " else { groups_inspected(result.groups); bound_ = kStreamIdMax; }"),
      ("step_ = RedisStep::kTrim;\n            }",
       "step_ = RedisStep::kInspectGroups;\n            }")]),
    ("trims without asking other groups", TRIM,
     [("    if (bound < bound_) {", "    if (bound < bound_ && group + 1 == groups_.size()) {")]),
    ("trims although a configured group is missing", TRIM,
     [("group_missing_ = true;\n            drop();\n            return;",
       "group_missing_ = true;\n            continue;"),
      ("action.group = groups_[group_];",
       "action.group = group_missing_ ? groups_.back() : groups_[group_];")]),
    ("goes on with a trim behind a lost connection", REDIS, [("    trim_.drop();\n", "")]),
    ("keeps a request twice in a batch", BATCH,
     [("frames_.erase(std::remove_if(frames_.begin(), frames_.end(), known), frames_.end());", "")]),
    ("does not sort a batch's frames", BATCH, [("std::sort(frames_.begin(), frames_.end(),",
                                                "const auto unused = std::make_tuple("),
                                               ("#include <set>", "#include <set>\n#include <tuple>")]),
    ("stores what the ledger knows", BATCH,
     [("std::binary_search(fresh_ids.begin(), fresh_ids.end(), frame.first_row_id)", "true")]),
    ("counts rows twice", POSTGRES, [("+= count.n;", "+= 2 * count.n;")]),
    ("counts also what was rolled back", POSTGRES,
     [("    store_ = StoreProgress();\n    if (status",
       "    const auto counts = store_.counts; store_ = StoreProgress(); store_.counts = counts;\n"
       "    if (status")]),
    ("counts a row under the level before", COPY,
     [("return static_cast<Level>(level);", "return static_cast<Level>(level / 2);")]),
    ("gives ids of a lost connection to later rows", POSTGRES,
     [("            next_row_id_ = 0;\n            row_ids_end_ = 0;\n", "")]),
    ("gives ids of a lost connection to the same rows", POSTGRES,
     [("storing_->forget_row_ids();", "")]),
    ("gives a frame's rows other ids from the second on", COPY, [("row_id_ += static_cast<int64_t>(place.position);", "")]),
    ("acknowledges by ids of another life of the stream", POSTGRES,
     [("storing_->redis_epoch() == redis_epoch_", "true")]),
    ("takes a stream made anew for the old one", REDIS,
     [("    ++redis_epoch_;\n", ""),
      ("case RedisStep::kConnect:\n            forget_redis_state();",
       "case RedisStep::kConnect:\n            ++redis_epoch_;\n            forget_redis_state();")]),
    ("keeps acknowledgements behind a lost connection", REDIS, [("    acks_.clear();\n", "")]),
    ("keeps a filling batch behind a lost connection", REDIS, [("    filling_.reset();\n", "")]),
    ("skips its own pending entries", REDIS, [("    own_done_ = false;", "    own_done_ = true;")]),
    ("skips one of its own pending entries a page", REDIS,
     [("own_after_ = result.entries.back().id;", "own_after_ = result.entries.back().id.next();")]),
    ("ignores that a pending entry is gone", REDIS,
     [("            ++counts_.entries_gone;\n            acks_.push_back(entry.id);\n", "")]),
    ("does not count what claims find gone", REDIS,
     [("        counts_.entries_gone += result.gone;\n", "")]),
    ("claims nothing", REDIS, [("pg_up_ && !pg_refused_ && now.steady_us >= claim_at_us_", "false")]),
    ("claims from the beginning again and again", REDIS,
     [("claim_cursor_ = result.cursor;", "claim_cursor_ = StreamId{};")]),
    ("acknowledges entries of a newer version", REDIS,
     [("leave_entry(entry);\n            continue;",
       "acks_.push_back(entry.id);\n            continue;")]),
    ("prunes the ledger below what is in the stream", REDIS,
     [("before_ms = std::min(before_ms, entry.frame.receive_time_ms - kHourMs);", "")]),
    ("reads on without room", REDIS,
     [("bool LoaderCore::has_room() const noexcept {\n",
       "bool LoaderCore::has_room() const noexcept {\n    if (redis_epoch_ != 0) { return true; }\n")]),
    ("leaves behind what it has read when it is stopped", POSTGRES,
     [("if (stopping_ && (idle || !pg_up_ || pg_refused_)) {", "if (stopping_) {")]),
    ("raises a false alarm of lost state", REDIS,
     [("group.last_delivered < newest_read_)", "!(newest_read_ < group.last_delivered))")]),
    ("does not connect to Postgres again", POSTGRES, [("pg_connected_ = false;", "")]),
    ("does not make a missing partition again", POSTGRES,
     [("        log_days_.clear();\n        ledger_hours_.clear();\n", "")]),
    ("sends all rows at once for ever, however long it takes", POSTGRES,
     [("copy_rows_max_ = std::max(kCopyRowsAtLeast, action.rows.count / 2);", "")]),
    ("begins each part with the first row", POSTGRES,
     [("return {store_.rows_copied, ", "return {0, ")]),
    ("sends good rows beside a bad one all at once", POSTGRES,
     [("while (store_.careful && store_.pieces.next().count > copy_rows_max_) {",
       "while (false) {")]),
    ("takes the row that Postgres named for bad", POSTGRES,
     [("} else if (action.rows.count > 1) {",
       "} else if (action.rows.count > 1 && named == RowPieces::kNotNamed) {")]),
    ("takes rows for bad though the table refuses all", POSTGRES,
     [("store_.good_rows_taken ? PgStep::kDeadLetter : PgStep::kCopyGoodRows",
       "PgStep::kDeadLetter")]),
    ("drops a bad row without a dead letter", POSTGRES,
     [("store_.step = store_.good_rows_taken ? PgStep::kDeadLetter : PgStep::kCopyGoodRows;",
       "store_.pieces.dropped(); next_rows();")]),
    ("drops an entry that cannot be read", POSTGRES,
     [("} else if (store_.entries_done < storing_->dead_entries().size()) {", "} else if (false) {")]),
    ("keeps what is to be watched in a full Redis", REDIS,
     [("    window_.measured(result.memory);\n", "")]),
    ("keeps all for who watches", REDIS, [("action.keep = window_.entries();", "action.keep = UINT64_MAX;")]),
    ("forgets how large entries are", REDIS, [("    window_.told(result.kept);\n", "")]),
    ("gives up when a full Redis refuses to make the group", REDIS,
     [("action.step == RedisStep::kEnsureGroup) {", "false) {")]),
]


class Build:
    """A built loader_sim, and how one of its sources is compiled and linked again."""

    def __init__(self, folder):
        self.folder = folder
        cache = (folder / "CMakeCache.txt").read_text()
        self.root = pathlib.Path(re.search(r"^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$", cache, re.M)[1])
        self.commands = subprocess.run(["ninja", "-t", "commands", "loader_sim"], cwd=folder,
                                       check=True, capture_output=True, text=True).stdout.split("\n")

    def link_with(self, source, changed, program):
        changed_object = changed.with_suffix(".o")
        compiles = next(line for line in self.commands if line.endswith(f"-c {self.root / source}"))
        compiles = re.sub(r" -MD .*$", f" -w -o {changed_object} -c {changed}", compiles)
        links = next(line for line in self.commands if "-o t/sim/loader_sim " in line)
        # In front of the library, so that the linker has no need of the library's own.
        links = links.replace("-o t/sim/loader_sim ", f"{changed_object} -o {program} ")
        for command in (compiles, links):
            subprocess.run(command, cwd=self.folder, shell=True, check=True, capture_output=True,
                           text=True)


def mutate(build, mutation):
    name, source, changes = mutation
    text = (build.root / source).read_text()
    for old, new in changes:
        if old not in text:
            raise SystemExit(f"{source} no longer has what \"{name}\" changes, mend it:\n{old}")
        text = text.replace(old, new)
    return text


def is_noticed(build, folder, mutation, text, seeds):
    name, source, _ = mutation
    changed = folder / "changed.cpp"
    program = folder / "loader_sim"
    changed.write_text(text)
    try:
        build.link_with(source, changed, program)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"\"{name}\" does not compile:\n{error.stderr}") from error
    run = subprocess.run([program, "--seeds", f"1..{seeds}"], capture_output=True, text=True,
                         check=False)
    noticed = run.returncode != 0
    print(f"{name}: {(run.stdout + run.stderr).splitlines()[0] if noticed else 'NOT NOTICED'}",
          flush=True)
    return noticed


def main():
    parser = argparse.ArgumentParser(prog="scripts/faults sim")
    parser.add_argument("--build", type=pathlib.Path, default="build/asan")
    parser.add_argument("--seeds", type=int, default=100000)
    parser.add_argument("--only", default="", help="mutations whose name contains this")
    options = parser.parse_args()
    build = Build(options.build.resolve())
    begin = time.monotonic()
    mutations = [mutation for mutation in MUTATIONS if options.only in mutation[0]]
    texts = [mutate(build, mutation) for mutation in mutations]
    with tempfile.TemporaryDirectory() as folder:
        noticed = [is_noticed(build, pathlib.Path(folder), mutation, text, options.seeds)
                   for mutation, text in zip(mutations, texts)]
    print(f"{sum(noticed)} of {len(noticed)} mutations noticed within {options.seeds} seeds,"
          f" {time.monotonic() - begin:.0f} s")
    return 0 if all(noticed) else 1


if __name__ == "__main__":
    sys.exit(main())
