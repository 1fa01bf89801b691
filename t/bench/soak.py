"""Hours of a shop's day in twenty minutes: everything at a steady share of what the machine takes, with
retention at work. Memory of every process, files, Redis' memory and the backlog must be flat: what the
last quarter of the run takes is held against the second, since the first is when things warm up.
"""

import argparse
import json
import os
import statistics
import sys
import time

from harness.build import ROOT
from harness.process import open_files
from machine import describe, text_of
from measure import resident_bytes
from whole import CASES, Whole

OLD_DAYS = 12
OLD_ROWS = 200_000  # of each of those days, which retention drops one after the other
# What may be more at the end: a page of a cache, not a leak.
SLACK = 1.10
FILL = """
INSERT INTO logs SELECT i, date_trunc('day', now() - interval '%(ago)s days') + i * interval '1 ms',
    'device-' || (i %% 100), 'INFO', md5(i::text) || md5((i + 1)::text), '{"user":1}', NULL
FROM generate_series(1, %(rows)s) AS i
"""


def make_old_days(whole):
    """Returns how many megabytes all that is."""
    connection = whole.stack.postgres.connect()
    cursor = connection.cursor()
    cursor.execute("SET TimeZone = 'UTC'")
    for ago in range(OLD_DAYS, 0, -1):
        # As the loader does, so that it may drop them.
        cursor.execute("SELECT sluice_make_partition('logs', %s)", (int(time.time()) // 86400 - ago,))
        cursor.execute(FILL % {"ago": ago, "rows": OLD_ROWS})
    cursor.execute("CHECKPOINT")
    connection.close()
    return whole.stack.postgres.value(
        "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits"
        " WHERE inhparent = 'logs'::regclass") // 2**20


def private_bytes(pid):
    """What is its own: a backend's share of the buffers is everybody's. Vacuum's come and go."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            _, resident, shared = statm.read().split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def sample(whole):
    stack = whole.stack
    workers = stack.nginx.worker_pids()
    pids = {"redis": [stack.redis.pid], "loader": [stack.loader.pid], "server": [stack.server.pid],
            "nginx workers": workers}
    figures = {f"{name} MB": sum(map(resident_bytes, found)) / 1e6 for name, found in pids.items()}
    backends = stack.postgres.children()
    figures["postgres MB"] = sum(map(private_bytes, backends)) / 1e6
    figures |= {f"{name} files": sum(map(open_files, found)) for name, found in pids.items()}
    figures["redis data MB"] = stack.redis.client.info("memory")["used_memory"] / 1e6
    figures["entries in the stream"] = stack.redis.stream_length()
    return figures


def check_counted(whole):
    """As whole.check() does, but old rows are dropped: what is counted stays."""
    whole.stack.wait_drained(300)
    found = whole.metrics()
    counted = whole.stack.postgres.value("SELECT sum(n)::bigint FROM counters_day")
    newest = whole.stack.postgres.value(
        "SELECT count(*) FROM logs WHERE created_at >= date_trunc('day', now(), 'UTC')")
    assert found["sluice_edge_records_total"] <= counted == newest, (found, counted, newest)
    assert counted == found["sluice_edge_frame_records_sum"], (found, counted)
    return counted


def held(samples):
    """(name, the second quarter, the last, whether it is flat)."""
    quarter = len(samples) // 4
    for name in samples[0]:
        before = statistics.median(one[name] for one in samples[quarter:2 * quarter])
        after = statistics.median(one[name] for one in samples[3 * quarter:])
        yield name, before, after, after <= before * SLACK + 1


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench soak")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--share", type=float, default=0.7, help="of the most that was found")
    parser.add_argument("--rate", type=float, help="records/s: the most is not looked for")
    options = parser.parse_args()
    folder = ROOT / "build" / "bench"
    result = {"machine": describe(folder)}
    print(text_of(result["machine"]), flush=True)
    with Whole(workers=2) as whole:
        case = CASES[0]
        say = lambda text: print(text, flush=True)
        per_s = options.rate or whole.most(case, say) * options.share
        keep_mb = make_old_days(whole)
        whole.stack.loader.settings["SLUICED_STORAGE_KEEP_MB"] = str(keep_mb)
        whole.stack.loader.stop()
        whole.stack.loader.start()
        print(f"{per_s:,.0f} records/s in {case.name} for {options.minutes:g} minutes;"
              f" {keep_mb:,} MB are kept", flush=True)
        samples, days = [], []

        def watch(_):
            samples.append(sample(whole))
            days.append(whole.stack.postgres.value(
                "SELECT count(*) FROM pg_inherits WHERE inhparent = 'logs'::regclass"))

        found = whole.run(case, per_s, round(options.minutes * 60), watch)
        rows = check_counted(whole)
    flat = [found["flat"]]
    print(f"{found['stored_per_s']:,.0f} stored/s of {found['taken_per_s']:,.0f} taken,"
          f" {rows:,} records; {days[0]} partitions at first, {days[-1]} at the end")
    print(f"{'':<24}{'2nd quarter':>14}{'last quarter':>14}")
    for name, before, after, is_flat in held(samples):
        flat.append(is_flat)
        print(f"{name:<24}{before:>14,.1f}{after:>14,.1f}{'' if is_flat else '  NOT flat'}")
    result |= {"run": found, "samples": samples, "days": [days[0], days[-1]], "flat": all(flat)}
    path = folder / "soak.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"\nas JSON: {path.relative_to(ROOT)}")
    return 0 if all(flat) and days[-1] < days[0] else 1


if __name__ == "__main__":
    sys.exit(main())
