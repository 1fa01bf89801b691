"""What a record costs, and how that grows: with what is stored already, with connections, with devices,
and with its own size. Over the whole way at a moderate rate; CPU of all processes, divided by records.

Nothing should grow but what a larger record takes.
"""

import argparse
import json
import sys

from harness.build import ROOT
from machine import describe, text_of
from whole import Case, Whole

BATCH = Case("", "/api/logs/batch", 100, 64)
SINGLE = Case("", "/api/log", 0, 64)
RATE, SINGLE_RATE = 20_000, 10_000
BYTES_PER_S = 10_000_000
BAR = 40


def kinds(stored):
    """What grows, and the points at which it is looked at: (what the point is called, the case, its
    rate, rows that are there before)."""
    sizes = [(100, 100), (1_000, 100), (10_000, 50), (100_000, 5)]
    return {
        "records stored": [(f"{rows:,}", BATCH, RATE, rows) for rows in stored],
        "connections": [(f"{count:,}", SINGLE._replace(connections=count), SINGLE_RATE, 0)
                        for count in (1, 10, 100, 1_000)],
        "devices": [(f"{count:,}", BATCH._replace(devices=count), RATE, 0)
                    for count in (10, 1_000, 100_000, 1_000_000)],
        "bytes a record": [(f"{size:,}", BATCH._replace(size=size, records=records),
                            min(RATE, BYTES_PER_S / size), 0) for size, records in sizes],
    }


def show(kind, points):
    longest = max(point["together"] for point in points)
    print(f"\n{kind:<16}{'records/s':>11}{'nginx':>8}{'Redis':>8}{'loader':>8}{'Postgres':>10}"
          f"{'us/record':>11}{'p99 ms':>8}")
    for point in points:
        us = point["us"]
        bar = "█" * max(1, round(BAR * point["together"] / longest))
        print(f"{point['point']:>15} {point['stored_per_s']:>11,.0f}{us['nginx']:>8.2f}"
              f"{us['redis']:>8.2f}{us['loader']:>8.2f}{us['postgres']:>10.2f}"
              f"{point['together']:>11.2f}{point['p99_ms']:>8.1f}  {bar}", flush=True)


def fill(whole, rows):
    """Of today, where what comes in goes."""
    there = whole.stack.rows()
    if rows > there:
        whole.stack.postgres.query(
            "WITH made AS (INSERT INTO logs SELECT i, date_trunc('day', now()) + i * interval '1 us',"
            " 'device-' || (i %% 100), 'INFO', md5(i::text) || md5((i + 1)::text), '{\"user\":1}', NULL"
            " FROM generate_series(%s, %s) AS i RETURNING 1) SELECT count(*) FROM made",
            there + 1, rows)
        connection = whole.stack.postgres.connect()
        # Which autovacuum would soon do, at a record's cost.
        connection.cursor().execute("VACUUM ANALYZE logs")
        connection.cursor().execute("CHECKPOINT")
        connection.close()


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench growth")
    parser.add_argument("--stored", default="0,1000000,10000000", help="records, where they grow")
    parser.add_argument("--seconds", type=int, default=20, help="of each point")
    parser.add_argument("--kind", default="", help="those whose name has this in it")
    options = parser.parse_args()
    folder = ROOT / "build" / "bench"
    result = {"machine": describe(folder), "growth": {}}
    print(text_of(result["machine"]), flush=True)
    for kind, cases in kinds([int(rows) for rows in options.stored.split(",")]).items():
        if options.kind not in kind:
            continue
        points = []
        with Whole(workers=2) as whole:
            whole.run(BATCH, RATE, 8)  # what is hot is hot
            for point, case, per_s, rows in cases:
                fill(whole, rows)
                found = whole.run(case, per_s, options.seconds)
                points.append({"point": point, "together": sum(found["us"].values()), **found})
        show(kind, points)
        result["growth"][kind] = points
    path = folder / "growth.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"\nas JSON: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
