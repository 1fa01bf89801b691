// sluiced dead-letters: what could not be stored, to look at, to store again, or to throw away.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "common/timestamp.hpp"
#include "daemon/commands/commands.hpp"
#include "daemon/commands/human.hpp"
#include "daemon/commands/letter.hpp"
#include "daemon/commands/progress.hpp"
#include "daemon/commands/replay.hpp"
#include "daemon/load/batch.hpp"
#include "daemon/nearest.hpp"
#include "daemon/pg_connection.hpp"
#include "daemon/pg_text.hpp"

namespace sluice {
namespace {

constexpr Option kLimit = {"--limit", true};
constexpr Option kSince = {"--since", true};
constexpr Option kAll = {"--all", false};
constexpr Option kOlderThan = {"--older-than", true};
constexpr Option kYes = {"--yes", false};

constexpr size_t kReasonShown = 80;
constexpr int64_t kDaysMost = 36500;

PgOptions options_of(const Settings& settings) {
    PgOptions options;
    options.login = pg_login_of(settings, PgUser::kMigrator);
    options.application_name = "sluiced-dead-letters";
    options.session = "SET TimeZone = 'UTC'; SET bytea_output = hex";
    options.timeout_ms = settings.postgres_timeout_ms;
    return options;
}

class DeadLetters {
  public:
    explicit DeadLetters(const Arguments& arguments)
        : arguments_(arguments), postgres_(options_of(settings_of(arguments))) {}

    int run();

  private:
    using Verb = int (DeadLetters::*)();
    struct VerbOptions {
        const char* name;
        Verb run;
        std::vector<const char*> options;
        bool takes_ids;
    };

    int list();
    int show();
    int replay();
    int purge();

    void check_words(const VerbOptions& verb) const;
    [[nodiscard]] std::vector<int64_t> ids() const;
    bool may_purge(uint64_t letters) const;
    void print_bytes(const std::string& bytes, bool whole_entry) const;
    int failed() const;

    const Arguments& arguments_;
    PgConnection postgres_;
    bool utf8_ = terminal_reads_utf8();
};

int DeadLetters::run() {
    const std::vector<VerbOptions> verbs = {
        {"list", &DeadLetters::list, {kLimit.name, kSince.name}, false},
        {"show", &DeadLetters::show, {}, true},
        {"replay", &DeadLetters::replay, {kAll.name}, true},
        {"purge", &DeadLetters::purge, {kOlderThan.name, kYes.name}, true}};
    const std::vector<std::string>& words = arguments_.words();
    if (words.empty()) {
        throw UsageError("list, show, replay or purge is wanted");
    }
    const auto verb = std::find_if(verbs.begin(), verbs.end(),
                                   [&](const VerbOptions& one) { return words[0] == one.name; });
    if (verb == verbs.end()) {
        std::vector<std::string> names;
        for (const VerbOptions& one : verbs) {
            names.emplace_back(one.name);
        }
        throw UsageError("unknown " + words[0] + ": did you mean " + nearest(words[0], names) +
                         "?");
    }
    check_words(*verb);
    return postgres_.connect() ? (this->*verb->run)() : failed();
}

void DeadLetters::check_words(const VerbOptions& verb) const {
    for (const Option& option : {kLimit, kSince, kAll, kOlderThan, kYes}) {
        const bool known = std::find(verb.options.begin(), verb.options.end(),
                                     std::string_view(option.name)) != verb.options.end();
        if (arguments_.has(option.name) && !known) {
            throw UsageError(std::string(verb.name) + " does not take " + option.name);
        }
    }
    const size_t given = ids().size();
    if (!verb.takes_ids) {
        if (given != 0) {
            throw UsageError(std::string(verb.name) + " takes no ids");
        }
        return;
    }
    const bool all = arguments_.has(kAll.name) || arguments_.has(kOlderThan.name);
    if ((given != 0) == all) {
        const std::string other =
            verb.options.empty() ? "" : std::string(", or ") + verb.options[0];
        throw UsageError(std::string(verb.name) + " wants ids of dead letters" + other);
    }
}

std::vector<int64_t> DeadLetters::ids() const {
    std::vector<int64_t> ids;
    const std::vector<std::string>& words = arguments_.words();
    for (size_t i = 1; i < words.size(); ++i) {
        ids.push_back(parse_number(words[i], "the id " + words[i], 1, INT64_MAX));
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
}

int DeadLetters::failed() const {
    fprintf(stderr, "sluiced: dead-letters: postgres: %s\n",
            one_line(postgres_.error().message, utf8_).c_str());
    return kExitFailed;
}

int DeadLetters::list() {
    const std::string limit = std::to_string(arguments_.number(kLimit.name, 1, 1000000, 20));
    int64_t since_us = 0;
    if (arguments_.has(kSince.name) && !parse_rfc3339(arguments_.value(kSince.name), &since_us)) {
        throw UsageError("--since wants a time such as 2024-11-14T10:30:00Z");
    }
    const std::string since = time_text(since_us);
    const PgRows rows = postgres_.query(
        "SELECT id, (extract(epoch FROM created_at) * 1000000)::bigint, stream_id ||"
        " CASE WHEN position < 0 THEN '' ELSE '-' || position END, sqlstate,"
        " octet_length(row_bytes), reason, count(*) OVER () FROM dead_letters"
        " WHERE created_at >= $1 ORDER BY id DESC LIMIT $2",
        {since.c_str(), limit.c_str()});
    if (!rows) {
        return failed();
    }
    if (rows.count() == 0) {
        puts("There are no dead letters.");
        return kExitGood;
    }
    Table table({"ID", "DIED", "MESSAGE", "SQLSTATE", "BYTES", "REASON"},
                {true, false, false, false, true});
    for (int row = 0; row < rows.count(); ++row) {
        const std::string_view whole = rows.text(row, 5);
        std::string reason = one_line(cut_text(whole, kReasonShown), utf8_);
        reason += whole.size() > kReasonShown ? "..." : "";
        table.add({std::string(rows.text(row, 0)), time_text(rows.integer(row, 1)),
                   printable(rows.text(row, 2), utf8_), printable(rows.text(row, 3), utf8_),
                   std::string(rows.text(row, 4)), reason});
    }
    fputs(table.text().c_str(), stdout);
    const int64_t left = rows.integer(0, 6) - rows.count();
    if (left > 0) {
        printf("%s more are older: --limit shows more\n",
               human_count(static_cast<uint64_t>(left)).c_str());
    }
    return kExitGood;
}

int DeadLetters::show() {
    int status = kExitGood;
    for (const int64_t id : ids()) {
        const std::string number = std::to_string(id);
        const PgRows rows = postgres_.query(
            "SELECT position, stream_id, (extract(epoch FROM t) * 1000000)::bigint,"
            " (extract(epoch FROM created_at) * 1000000)::bigint, u,"
            " sqlstate, reason, row_bytes FROM dead_letters WHERE id = $1",
            {number.c_str()});
        if (!rows) {
            return failed();
        }
        std::string bytes;
        if (rows.count() == 0 || !read_bytea(rows.text(0, 7), &bytes)) {
            fprintf(stderr, "sluiced: there is no dead letter %s\n", number.c_str());
            status = kExitFailed;
            continue;
        }
        const auto line = [this](const char* name, std::string_view value) {
            printf("%-11s %s\n", name, printable(value, utf8_).c_str());
        };
        const bool whole_entry = rows.integer(0, 0) == DeadLetter::kWholeEntry;
        line("dead letter", number);
        line(
            whole_entry ? "entry" : "message",
            std::string(rows.text(0, 1)) + (whole_entry ? "" : "-" + std::string(rows.text(0, 0))));
        line("received", time_text(rows.integer(0, 2)));
        line("died", time_text(rows.integer(0, 3)));
        line("frame", rows.text(0, 4));
        line("sqlstate",
             rows.text(0, 5).empty() ? "none: Postgres was not asked" : rows.text(0, 5));
        line("reason", rows.text(0, 6));
        printf("%-11s %s\n", whole_entry ? "fields" : "row, as COPY",
               (human_count(bytes.size()) + " bytes").c_str());
        print_bytes(bytes, whole_entry);
    }
    return status;
}

void DeadLetters::print_bytes(const std::string& bytes, bool whole_entry) const {
    const auto line = [this](std::string_view name, std::string_view value) {
        printf("  %s = %s\n", printable(name, utf8_).c_str(), printable(value, utf8_).c_str());
    };
    std::vector<EntryField> fields;
    if (!whole_entry) {
        for (const auto& [name, value] : columns_of_row(bytes)) {
            line(name, value);
        }
    } else if (read_fields_text(bytes, &fields)) {
        for (const EntryField& field : fields) {
            line(field.name, field.value);
        }
    } else {
        line("bytes (cut)", bytes);
    }
}

int DeadLetters::replay() {
    const std::vector<int64_t> wanted = ids();
    Replay replay(&postgres_, wanted);
    uint64_t letters = 0;
    if (!replay.count(&letters)) {
        return failed();
    }
    ReplayCounts counts;
    bool done = false;
    {
        Progress progress("dead letters", letters);
        done = replay.run(&progress, &counts);
    }
    printf("%s stored again, %s refused again and kept, %s were stored before\n",
           human_count(counts.stored).c_str(), human_count(counts.refused).c_str(),
           human_count(counts.known).c_str());
    if (!done) {
        return failed();
    }
    if (wanted.size() > letters) {
        fprintf(stderr, "sluiced: of these ids %s are of no dead letter\n",
                human_count(wanted.size() - letters).c_str());
    }
    return counts.refused == 0 && wanted.size() <= letters ? kExitGood : kExitFailed;
}

// Only somebody who sits there can be asked.
bool DeadLetters::may_purge(uint64_t letters) const {
    if (arguments_.has(kYes.name)) {
        return true;
    }
    if (isatty(STDIN_FILENO) == 0) {
        throw UsageError("purge cannot ask here: --yes says that it may");
    }
    printf("Remove %s dead letters for good? Their records are nowhere else. [y/N] ",
           human_count(letters).c_str());
    fflush(stdout);
    char answer[8] = {};
    return fgets(answer, sizeof answer, stdin) != nullptr && (answer[0] == 'y' || answer[0] == 'Y');
}

int DeadLetters::purge() {
    ArrayText array;
    const std::vector<int64_t> wanted = ids();
    for (const int64_t id : wanted) {
        array.add(id);
    }
    const std::string chosen = array.close();
    const std::string days = std::to_string(arguments_.number(kOlderThan.name, 0, kDaysMost, 0));
    const PgRows found = postgres_.query(
        "SELECT count(*), (now() - $2 * interval '1 day')::text FROM dead_letters"
        " WHERE CASE WHEN $1 = '{}' THEN created_at < now() - $2 * interval '1 day'"
        " ELSE id = ANY ($1::bigint[]) END",
        {chosen.c_str(), days.c_str()});
    if (!found) {
        return failed();
    }
    const auto letters = static_cast<uint64_t>(found.integer(0, 0));
    if (letters != 0 && !may_purge(letters)) {
        puts("Nothing is removed.");
        return kExitFailed;
    }
    // As of then: others may have died while it was asked.
    const std::string before(found.text(0, 1));
    const PgRows removed = postgres_.query(
        "DELETE FROM dead_letters WHERE CASE WHEN $1 = '{}' THEN created_at < $2::timestamptz"
        " ELSE id = ANY ($1::bigint[]) END",
        {chosen.c_str(), before.c_str()});
    if (!removed) {
        return failed();
    }
    printf("%s removed\n", human_count(removed.affected()).c_str());
    return removed.affected() < wanted.size() ? kExitFailed : kExitGood;
}

int run_dead_letters(const Arguments& arguments) {
    return DeadLetters(arguments).run();
}

}  // namespace

const Command& dead_letters_command() {
    static const Command command = {
        "dead-letters",
        "lists, shows, stores again or removes what could not be stored",
        R"(usage: sluiced dead-letters list [--limit N] [--since TIME]
       sluiced dead-letters show ID...
       sluiced dead-letters replay ID... | --all
       sluiced dead-letters purge ID... | --older-than DAYS [--yes]

Records that Postgres refused, and entries that are none, are kept in the table dead_letters with
the reason. What is shown of them is escaped: it cannot drive a terminal.

  list     the newest first; --limit 20 of them, those that died --since a time (RFC 3339)
  show     all that is known, and the bytes as they came
  replay   stores them as the loader would have: created_at is when they were received. Each is
           removed in the transaction that stores it, so it may be interrupted and run again. What
           is refused again stays, with the new reason. A whole entry is stored if it is in the
           layout of other producers and meets the rules by now
  purge    removes them for good; asks first, unless --yes

  --config FILE   settings; without it those of the environment, and the defaults

examples:
  sluiced dead-letters list --since 2024-11-14T00:00:00Z
  sluiced dead-letters show 17
  sluiced dead-letters replay --all
  sluiced dead-letters purge --older-than 90

exit: 0 done, 1 failed, refused again, not found or not confirmed, 2 wrong usage or settings
)",
        {kLimit, kSince, kAll, kOlderThan, kYes},
        true,
        run_dead_letters};
    return command;
}

}  // namespace sluice
