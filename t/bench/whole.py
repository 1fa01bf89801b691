"""The whole way, all of it on this machine: from a POST to a row in Postgres, for at least a minute.

What is looked for is the most that it takes for ever: the rate at which as much is stored as comes
in, so that the backlog stays flat. Short runs look for it; the long one is at that rate. The load is
wrk's, with bodies made before, and takes its share of the same cores. Afterwards every record that
was acknowledged must be there, once.
"""

import argparse
import collections
import json
import re
import shutil
import statistics
import sys
import threading
import time

from bodies import write_bodies
from harness.api import Api
from harness.build import ROOT
from harness.exact import check_counters
from harness.stack import Stack
from harness.template import make_template
from harness.waiting import wait_until
from machine import describe, text_of
from measure import cpu_seconds, family_cpu_seconds, wrk

Case = collections.namedtuple("Case", "name path records connections first bar devices size",
                              defaults=(0, 0, 100, 0))

# Where the search begins is a guess; it ends where it ends.
CASES = [
    Case("batches of 100", "/api/logs/batch", 100, 64, 200_000, 200_000),
    Case("single records", "/api/log", 0, 256, 60_000, 60_000),
]
TRIES = 6
TRY_SECONDS = 12
# What of a run is looked at: not its begin, where partitions and connections are new.
SETTLE_SECONDS = 4
# Whose it is; there is one.
LOADER = re.compile(r'loader="[^"]*",?')
# In seconds of what comes in: by no more may the backlog have grown. A batch is some of them.
FLAT_SECONDS = 0.5
# How far it was reached: an open loop that falls behind is a machine that is full.
REACHED = 0.97


def hundredth(bounds, counts, percent):
    """Of a histogram: the value that so many percent are within, between its bounds by proportion."""
    target = counts[-1] * percent / 100
    low, before = 0.0, 0
    for bound, count in zip(bounds, counts):
        if count >= target:
            return low + (bound - low) * (target - before) / max(count - before, 1)
        low, before = bound, count
    return bounds[-1]


class Whole:
    def __init__(self, workers, load=None):
        self.template = make_template()
        self.stack = Stack(self.template.data, workers=workers, load=load)
        redis_conf = self.stack.redis.conf
        self.stack.redis.conf = redis_conf.replace("maxmemory 256mb", "maxmemory 2gb")
        # As shipped, but for limits that are for one client.
        self.stack.nginx.edit("nginx-error.log info;", "nginx-error.log warn;")

    def __enter__(self):
        self.stack.start()
        return self

    def __exit__(self, *_):
        self.stack.close()
        self.stack.remove()
        shutil.rmtree(self.template.folder, ignore_errors=True)

    def cpu(self):
        stack = self.stack
        return {"nginx": sum(map(cpu_seconds, stack.nginx.worker_pids())),
                "redis": cpu_seconds(stack.redis.pid),
                "loader": cpu_seconds(stack.loader.pid),
                "postgres": family_cpu_seconds(stack.postgres.pid, stack.postgres.children()),
                "server": cpu_seconds(stack.server.pid)}

    def metrics(self):
        """All samples of the edge's and the daemons' pages, by their names."""
        api, found = Api(self.stack.nginx.port), {}
        for path in ("/metrics", "/metrics/daemon"):
            for line in api.get(path).body.decode().splitlines():
                if not line.startswith("#") and line:
                    name, _, value = LOADER.sub("", line).rpartition(" ")
                    found[name.removesuffix("{}")] = float(value)
        api.close()
        return found

    def state(self):
        """Now: what came in, what is stored, and what it took."""
        found = self.metrics()
        stack, prefix = self.stack, "sluice_loader_receipt_to_stored_seconds_bucket"
        way = {name[len(prefix) + 5:-2]: value for name, value in found.items()
               if name.startswith(prefix)}
        redis = stack.redis.client.info("memory")
        return {
            "at": time.monotonic(), "taken": found["sluice_edge_records_total"],
            "stored": found["sluice_loader_rows_total"], "way": way, "cpu": self.cpu(),
            "wal": stack.postgres.value("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"),
            "tables": stack.postgres.value("SELECT pg_database_size('sluice')"),
            "redis_mb": redis["used_memory"] / 1e6,
            "aof": stack.redis.client.info("persistence").get("aof_current_size", 0),
        }

    def bodies_of(self, case):
        path = self.stack.folder / f"bodies-{case.records}-{case.devices}-{case.size}"
        if not path.exists():
            write_bodies(path, case.records, "json", case.devices, case.size)
        return path

    def run(self, case, per_s, seconds, watch=lambda state: None):
        """At so many records a second. What came of it, without its first seconds."""
        states, done = [], {}
        requests = per_s / max(case.records, 1)
        bodies = self.bodies_of(case)
        url = f"http://127.0.0.1:{self.stack.nginx.port}{case.path}"

        def load():
            done.update(wrk(url, case.connections, seconds, bodies, requests))

        sender = threading.Thread(target=load)
        sender.start()
        begin = time.monotonic()
        while len(states) <= seconds - SETTLE_SECONDS - 1:
            time.sleep(max(0, begin + SETTLE_SECONDS + len(states) - time.monotonic()))
            states.append(self.state())
            watch(states[-1])
        sender.join()
        self.stack.wait_drained(300)
        return figures(states, done, per_s)

    def most(self, case, say):
        """The highest rate with a flat backlog that was found."""
        per_s, low, high = case.first, 0, None
        for _ in range(TRIES):
            found = self.run(case, per_s, TRY_SECONDS)
            say(f"  offered {per_s:,.0f}/s: taken {found['taken_per_s']:,.0f}, stored"
                f" {found['stored_per_s']:,.0f}, {'flat' if found['flat'] else 'not flat'}")
            if found["flat"]:
                low = per_s
            else:
                high = min(per_s, high or per_s)
            if high is None:
                per_s *= 1.3
            elif low == 0:
                per_s = min(per_s * 0.8, found["stored_per_s"])
            else:
                per_s = (low + high) / 2
        return low or per_s

    def long_run(self, case, per_s, seconds):
        """What is flat in a short run need not be in a long one."""
        for share in (1, 0.9, 0.8):
            found = self.run(case, per_s * share, seconds)
            print(f"  for {found['seconds']:.0f} s: {found['stored_per_s']:,.0f} stored/s of"
                  f" {found['taken_per_s']:,.0f} taken, {'flat' if found['flat'] else 'NOT flat'}",
                  flush=True)
            if found["flat"]:
                break
        return found

    def check(self):
        """Every record that was acknowledged is there, and no other but of those who were gone when
        Redis had confirmed it."""
        self.stack.wait_drained(300)
        found, rows = self.metrics(), self.stack.rows()
        confirmed = found["sluice_edge_frame_records_sum"]
        assert found["sluice_edge_records_total"] <= rows == confirmed, (found, rows)
        check_counters(self.stack)
        return rows


def grown(states):
    """By how much the backlog has, from the first quarter to the last."""
    backlog = [state["taken"] - state["stored"] for state in states]
    quarter = max(1, len(backlog) // 4)
    return statistics.mean(backlog[-quarter:]) - statistics.mean(backlog[:quarter])


def figures(states, done, per_s):
    first, last = states[0], states[-1]
    seconds = last["at"] - first["at"]
    taken, stored = (last[name] - first[name] for name in ("taken", "stored"))
    bounds = [float(bound) for bound in last["way"] if bound != "+Inf"]
    way = [last["way"][name] - first["way"].get(name, 0) for name in last["way"]]
    us = {name: (last["cpu"][name] - first["cpu"][name]) * 1e6 for name in last["cpu"]}
    return {
        "offered_per_s": per_s, "seconds": seconds, "requests": done["requests"],
        "not_2xx": done["not_2xx"], "socket_errors": done["socket_errors"],
        "taken_per_s": taken / seconds, "stored_per_s": stored / seconds,
        "flat": grown(states) <= FLAT_SECONDS * taken / seconds
                and taken / seconds >= per_s * REACHED
                and done["not_2xx"] == done["socket_errors"] == 0,
        # From when each was sent: wrk does not know when it was due.
        "p50_ms": done["p50_ms"], "p99_ms": done["p99_ms"],
        "way_p50_ms": hundredth(bounds, way, 50) * 1000,
        "way_p99_ms": hundredth(bounds, way, 99) * 1000,
        # Of what each had to do with: where the backlog grows, not all that came in was stored.
        "us": {name: us[name] / max(taken if name in ("nginx", "redis") else stored, 1)
               for name in us},
        "redis_mb": max(state["redis_mb"] for state in states),
        "aof_bytes": (last["aof"] - first["aof"]) / max(taken, 1),
        "wal_bytes": float(last["wal"] - first["wal"]) / max(stored, 1),
        "table_bytes": (last["tables"] - first["tables"]) / max(stored, 1),
    }


COLUMNS = [
    ("", "name", "{}"), ("records/s", "stored_per_s", "{:,.0f}"), ("bar", "bar", "{:,.0f}"),
    ("POST p50", "p50_ms", "{:.1f} ms"), ("p99", "p99_ms", "{:.1f} ms"),
    ("to stored p50", "way_p50_ms", "{:.0f} ms"), ("p99", "way_p99_ms", "{:.0f} ms"),
    ("Redis", "redis_mb", "{:.0f} MB"), ("AOF/rec", "aof_bytes", "{:.0f} B"),
    ("WAL/rec", "wal_bytes", "{:.0f} B"), ("tables/rec", "table_bytes", "{:.0f} B"),
]


def print_table(cases):
    rows = [[title for title, _, _ in COLUMNS]]
    rows += [[form.format(case[key]) for _, key, form in COLUMNS] for case in cases]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                        for at, (cell, width) in enumerate(zip(row, widths))))
    print("us of CPU a record:")
    for case in cases:
        parts = ", ".join(f"{name} {us:.2f}" for name, us in case["us"].items())
        print(f"  {case['name']}: {parts}; together {sum(case['us'].values()):.2f}")


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench whole")
    parser.add_argument("--seconds", type=int, default=70, help="of the long run")
    parser.add_argument("--workers", type=int, default=2, help="of nginx")
    parser.add_argument("--consumers", default="2", help="of the loader")
    parser.add_argument("--case", default="", help="those whose name has this in it")
    parser.add_argument("--rate", type=float, help="records/s: it is not looked for")
    options = parser.parse_args()
    folder = ROOT / "build" / "bench"
    result = {"machine": describe(folder), "cases": []}
    print(text_of(result["machine"]), flush=True)
    for case in CASES:
        if options.case not in case.name:
            continue
        print(f"\n{case.name}, fsync always, {options.workers} workers,"
              f" {options.consumers} consumers", flush=True)
        with Whole(options.workers, {"SLUICED_LOAD_CONSUMERS": options.consumers}) as whole:
            per_s = options.rate or whole.most(case, lambda text: print(text, flush=True))
            found = whole.long_run(case, per_s, options.seconds)
            print(f"  {whole.check():,} rows, each once", flush=True)
        result["cases"].append({"name": case.name, "bar": case.bar, **found})
    print()
    print_table(result["cases"])
    path = folder / "whole.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"\nas JSON: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
