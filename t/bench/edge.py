"""The edge against the floor: nginx that takes the same request and answers nothing at all.

One worker, its own Redis on this disk, every case in turn in every round; ratios are made within a
round, and the median of the rounds is told.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

from bodies import write_bodies
from harness.build import ROOT
from harness.nginx_server import NginxServer
from harness.redis_server import RedisServer
from harness.stack import make_folder
from harness.waiting import wait_until
from measure import (
    Trimmer, append_mb_per_s, cpu_seconds, fdatasync_ms, fresh_memory_mb_per_s, resident_bytes, wrk,
)

FLOOR = """
        location /floor/ {
            client_max_body_size 1m;
            client_body_buffer_size 1m;
            return 200 "ok";
        }

        location / {
"""

# One client sends it all.
NO_LIMITS = [("sluice_limit_zone $", "# sluice_limit_zone $"), ("sluice_limit zone=clients", "# ")]

# name, records (0: one as itself), connections, form of the body
CASES = [
    ("single, 64 connections", 0, 64, "json"),
    ("single, 256 connections", 0, 256, "json"),
    ("batch of 10", 10, 64, "json"),
    ("batch of 100", 100, 64, "json"),
    ("batch of 1000", 1000, 64, "json"),
    ("batch of 100, NDJSON", 100, 64, "ndjson"),
    ("batch of 100, gzip", 100, 64, "gzip"),
]
QUICK = ["single, 256 connections", "batch of 100", "batch of 100, NDJSON", "batch of 100, gzip"]


class Bench:
    def __init__(self, fsync, seconds, edits=()):
        self.fsync = fsync
        self.seconds = seconds
        self.folder = make_folder()
        self.redis = RedisServer(self.folder)
        self.redis.conf = self.redis.conf.replace("appendfsync always", f"appendfsync {fsync}")
        assert f"appendfsync {fsync}" in self.redis.conf
        # The trimmer may be behind at times: nothing is to be shed for that.
        self.redis.conf = self.redis.conf.replace("maxmemory 256mb", "maxmemory 4gb")
        self.nginx = NginxServer(self.folder, workers=1, edits=[
            ("nginx-error.log info;", "nginx-error.log warn;"),
            ("access_log /", "access_log off; #"),
            ("sluice_durability fsync;", "sluice_durability everysec;"),
            *NO_LIMITS,
            ("        location / {\n", FLOOR), *edits,
        ])

    def __enter__(self):
        self.redis.start()
        self.nginx.start()
        return self

    def __exit__(self, *_):
        self.nginx.stop()
        self.redis.stop()
        shutil.rmtree(self.folder)

    def metric(self, name):
        text = subprocess.run(
            ["curl", "-fs", f"http://127.0.0.1:{self.nginx.port}/metrics"],
            check=True, capture_output=True, text=True,
        ).stdout
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))

    def added(self):
        if not self.redis.client.exists("logs:stream"):
            return 0
        return self.redis.client.xinfo_stream("logs:stream")["entries-added"]

    def settled(self):
        """Records and frames acknowledged, and frames added, with nothing on its way."""
        wait_until(lambda: self.metric("sluice_edge_inflight_frames") == 0, 10, "all is answered")
        counters = ["sluice_edge_records_total", 'sluice_edge_frames_total{outcome="stored"}']
        return [self.metric(name) for name in counters] + [self.added()]

    def bodies(self, records, form):
        path = self.folder / f"bodies-{records}-{form}"
        if not path.exists():
            write_bodies(path, records, form)
        return path

    def load(self, path, records, connections, form="json", at=0):
        """One measured run, after a short one that is not; at so many requests a second, or all."""
        url = f"http://127.0.0.1:{self.nginx.port}{path}"
        worker, = self.nginx.worker_pids()
        bodies = self.bodies(records, form)
        wrk(url, connections, 1, bodies)
        before = [cpu_seconds(worker), cpu_seconds(self.redis.pid)]
        result = wrk(url, connections, self.seconds, bodies, at)
        assert result["not_2xx"] == 0 and result["socket_errors"] == 0, result
        per_request = 1e6 / result["requests"]
        result["nginx_us"] = (cpu_seconds(worker) - before[0]) * per_request
        result["redis_us"] = (cpu_seconds(self.redis.pid) - before[1]) * per_request
        return result

    def edge(self, records, connections, form="json", at=0):
        """The edge's run; holds what it acknowledged against what is in the stream."""
        before = self.settled()
        row_bytes = self.metric("sluice_edge_row_bytes_total")
        path = "/api/logs/batch" if records else "/api/log"
        with Trimmer(self.redis.client):
            result = self.load(path, records, connections, form, at)
        told, frames, added = (now - then for now, then in zip(self.settled(), before))
        assert frames == added, f"{frames} frames acknowledged, {added} in the stream"
        assert told >= result["requests"] * max(records, 1)
        result["frame_records"] = told / frames
        row_bytes = self.metric("sluice_edge_row_bytes_total") - row_bytes
        result["row_mb_per_s"] = row_bytes / told * result["per_s"] * max(records, 1) / 1e6
        return result

    def check_exact(self):
        """Untrimmed: every record is there that Redis confirmed, row by row, and no other.

        Clients that wrk takes away before their answer are not among the acknowledged.
        """
        self.redis.client.delete("logs:stream")
        names = ["sluice_edge_records_total", "sluice_edge_frame_records_sum"]
        before = [self.metric(name) for name in names]
        url = f"http://127.0.0.1:{self.nginx.port}/api/logs/batch"
        wrk(url, 16, 1, self.bodies(10, "json"))
        self.settled()
        told, confirmed = (self.metric(name) - then for name, then in zip(names, before))
        rows = 0
        for _, fields in self.redis.client.xrange("logs:stream"):
            assert fields[b"r"].count(b"\n") == int(fields[b"n"])
            rows += int(fields[b"n"])
        assert rows == confirmed, f"{confirmed} records confirmed, {rows} in the stream"
        assert confirmed - 16 * 10 <= told <= confirmed, (told, confirmed)
        self.redis.client.delete("logs:stream")
        return told

    def redis_alone(self, records=100):
        """redis-benchmark, adding the frames that the edge would, four in flight."""
        rows = "device-42\tINFO\t" + "x" * 90 + "\t{}\t\\N\n"
        output = subprocess.run(
            ["redis-benchmark", "-s", self.redis.socket_path, "--user", "operator",
             "-a", "operator-secret", "-c", "4", "-n", "20000", "--csv",
             "XADD", "logs:stream", "MAXLEN", "~", "1000", "*", "v", "1", "u", "0123456789abcdef",
             "t", "1700000000000", "n", str(records), "r", rows * records],
            check=True, capture_output=True, text=True,
        ).stdout
        return float(output.splitlines()[-1].split(",")[-7].strip('"')) * records


def measure(fsync, rounds, seconds, cases):
    results = {}
    with Bench(fsync, seconds) as bench:
        print(f"\nRedis: appendfsync {fsync}; exact: {bench.check_exact()} records", flush=True)
        alone = bench.redis_alone()
        print(f"redis-benchmark, XADD of 100 records, 4 in flight: {alone:,.0f} records/s")
        for _ in range(rounds):
            for name, records, connections, form in cases:
                floor = bench.load("/floor/", records, connections, form)
                edge = bench.edge(records, connections, form)
                results.setdefault(name, []).append((floor, edge, records))
        halves = half_load(bench, results)
        worker, = bench.nginx.worker_pids()
        memory = resident_bytes(worker)
        total = bench.metric("sluice_edge_records_total")
    table = [summary(name, runs) for name, runs in results.items()]
    return {"fsync": fsync, "redis_alone_records_per_s": alone, "cases": table,
            "half_load": halves, "worker_rss_mb": memory / 1e6, "records": total}


def half_load(bench, results):
    """Latency of single records at half of the most that went through."""
    edges = results.get("single, 256 connections")
    if not edges:
        return None
    per_s = statistics.median(edge["per_s"] for _, edge, _ in edges) / 2
    floor = bench.load("/floor/", 0, 256, at=per_s)
    edge = bench.edge(0, 256, at=per_s)
    return {"per_s": edge["per_s"], "floor_p99_ms": floor["p99_ms"], "edge_p99_ms": edge["p99_ms"],
            "edge_p50_ms": edge["p50_ms"]}


def summary(name, runs):
    def median(of):
        return statistics.median(of(floor, edge) for floor, edge, _ in runs)

    per_record = 1 / max(runs[0][2], 1)
    return {
        "case": name,
        "floor_per_s": median(lambda floor, edge: floor["per_s"]),
        "edge_per_s": median(lambda floor, edge: edge["per_s"]),
        "records_per_s": median(lambda floor, edge: edge["per_s"]) / per_record,
        "ratio": median(lambda floor, edge: edge["per_s"] / floor["per_s"]),
        "nginx_us_over_floor": median(lambda floor, edge: edge["nginx_us"] - floor["nginx_us"]),
        "nginx_us_per_record": median(lambda floor, edge: edge["nginx_us"]) * per_record,
        "redis_us_per_record": median(lambda floor, edge: edge["redis_us"]) * per_record,
        "floor_p50_ms": median(lambda floor, edge: floor["p50_ms"]),
        "floor_p99_ms": median(lambda floor, edge: floor["p99_ms"]),
        "p50_ms": median(lambda floor, edge: edge["p50_ms"]),
        "p99_ms": median(lambda floor, edge: edge["p99_ms"]),
        "frame_records": median(lambda floor, edge: edge["frame_records"]),
        "row_mb_per_s": median(lambda floor, edge: edge["row_mb_per_s"]),
    }


COLUMNS = [
    ("case", "case", "{}"), ("floor req/s", "floor_per_s", "{:,.0f}"),
    ("edge req/s", "edge_per_s", "{:,.0f}"), ("ratio", "ratio", "{:.2f}"),
    ("records/s", "records_per_s", "{:,.0f}"), ("nginx us/req - floor", "nginx_us_over_floor", "{:.2f}"),
    ("nginx us/rec", "nginx_us_per_record", "{:.2f}"),
    ("redis us/rec", "redis_us_per_record", "{:.2f}"), ("p50 ms", "p50_ms", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.2f}"), ("floor p99", "floor_p99_ms", "{:.2f}"),
    ("rec/frame", "frame_records", "{:,.0f}"), ("rows MB/s", "row_mb_per_s", "{:,.0f}"),
]


def print_table(result):
    rows = [[title for title, _, _ in COLUMNS]]
    rows += [[form.format(case[key]) for _, key, form in COLUMNS] for case in result["cases"]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    for row in rows:
        print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))))
    if result["half_load"]:
        print("half load, single: {per_s:,.0f} req/s, p50 {edge_p50_ms:.2f} ms, "
              "p99 {edge_p99_ms:.2f} ms (floor {floor_p99_ms:.2f} ms)".format(**result["half_load"]))
    print("worker: {worker_rss_mb:.1f} MB after {records:,} records".format(**result), flush=True)


def machine(folder):
    """What no server on this machine can go beyond."""
    p50, p99 = fdatasync_ms(folder)
    append, fresh = append_mb_per_s(folder), fresh_memory_mb_per_s()
    print(f"fdatasync of 4 KB, idle: p50 {p50:.3f} ms, p99 {p99:.3f} ms")
    print(f"appends of 256 KB with fdatasync: {append:,.0f} MB/s; "
          f"first writes to memory: {fresh:,.0f} MB/s")
    return {"fdatasync_p50_ms": p50, "fdatasync_p99_ms": p99, "append_mb_per_s": append,
            "fresh_memory_mb_per_s": fresh}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench edge")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="fsync always, four cases, one round")
    options = parser.parse_args()
    cases = [case for case in CASES if case[0] in QUICK] if options.quick else CASES
    folder = ROOT / "build" / "bench"
    results = {"machine": machine(folder), "modes": []}
    for fsync in ["always"] if options.quick else ["everysec", "always"]:
        rounds = 1 if options.quick else options.rounds
        results["modes"].append(measure(fsync, rounds, options.seconds, cases))
        print_table(results["modes"][-1])
    path = pathlib.Path(folder) / "edge.json"
    path.write_text(json.dumps(results, indent=1))
    print(f"\nas JSON: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
