"""Queries: what a cached page costs against a file of its size, what pages cost that are not cached
and how that grows with the table, how fast all of it is exported, and what queries take from ingest.

Cached: wrk on a page in nginx's cache, in turns with a static file of the same size in the same
nginx; ratios within a round. Not cached: questions at random, one client after the other straight to
the server, at each size of the table. Beside: batches come in at half of what the machine takes in,
in turns with and without four clients that ask questions as fast as they are answered, none twice.
"""

import argparse
import json
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time

from harness.build import ROOT
from harness.stack import Stack
from harness.stored import Pages
from harness.template import make_template
from harness.waiting import wait_until
from bodies import write_bodies
from measure import resident_bytes, resident_bytes_peak, wrk

QUESTIONS = pathlib.Path(__file__).with_name("questions.lua")
DEVICES = 5000
DAYS = 10
PAGE = "/api/logs?device_id=device-1"
FLOOR = """
        location = /floor {
            root %s;
            default_type application/json;
            try_files /floor.json =404;
        }

        location / {
"""
# A million at a time, spread over the days that there are, newest last.
FILL = """
INSERT INTO logs (id, created_at, device_id, log_level, message, log_data)
SELECT %(first)s + g, date_trunc('day', now() - interval '%(ago)s days')
       + (g - 1) * interval '1 day' / %(count)s, 'device-' || (random() * %(devices)s)::int,
       (ARRAY['DEBUG','INFO','INFO','INFO','INFO','INFO','INFO','WARNING','WARNING','ERROR'])
           [1 + (random() * 9)::int]::log_level,
       'order ' || g || ' accepted from ' || md5(g::text) || ' after a retry',
       jsonb_build_object('user', g %% 1000, 'ok', true)
FROM generate_series(1, %(count)s) AS g;
INSERT INTO counters SELECT date_trunc('minute', created_at), log_level, 'bench', count(*)
FROM logs WHERE id > %(first)s GROUP BY 1, 2
ON CONFLICT (minute, log_level, slot) DO UPDATE SET n = counters.n + excluded.n
"""


def wrk_get(url, connections, seconds):
    output = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url], check=True,
                            capture_output=True, text=True).stdout
    assert "Non-2xx" not in output and "Socket errors" not in output, output
    return float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])


class Bench:
    def __init__(self):
        self.template = make_template()
        self.stack = Stack(self.template.data, workers=1, serve={"SLUICED_SERVE_WORKERS": "4"})
        self.root = self.stack.folder / "www"
        self.root.mkdir(mode=0o755)
        self.stack.nginx.edit("\n        location / {\n", FLOOR % self.root)
        self.rows = 0

    def __enter__(self):
        self.stack.start()
        self.pages = Pages(self.stack.server)
        return self

    def __exit__(self, *_):
        self.pages.close()
        self.stack.close()
        self.stack.remove()
        shutil.rmtree(self.template.folder, ignore_errors=True)

    def fill(self, rows):
        """Grows the table to so many."""
        connection = self.stack.postgres.connect()
        cursor = connection.cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        for ago in range(DAYS, 0, -1):
            cursor.execute(f"SELECT to_char(now() - interval '{ago} days', 'YYYYMMDD'),"
                           f" (now() - interval '{ago} days')::date,"
                           f" (now() - interval '{ago - 1} days')::date")
            name, start, end = cursor.fetchone()
            cursor.execute(f"CREATE TABLE IF NOT EXISTS logs_{name} PARTITION OF logs"
                           f" FOR VALUES FROM ('{start} 00:00Z') TO ('{end} 00:00Z')")
            count = (rows - self.rows) // DAYS
            cursor.execute(FILL % {"first": self.rows + (DAYS - ago) * count + 10 ** 9, "ago": ago,
                                   "count": count, "devices": DEVICES})
        cursor.execute("VACUUM ANALYZE")
        connection.close()
        self.pages.close()  # the server has not waited so long
        self.rows = rows

    def took_ms(self, questions):
        """Sorted times of questions, asked one after the other."""
        took = []
        for path, parameters in questions:
            begin = time.perf_counter()
            answer = self.pages.ask(path, **parameters)
            took.append((time.perf_counter() - begin) * 1000)
            assert answer.status == 200, answer
        return sorted(took)

    def cached(self, seconds):
        """requests/s of a page in the cache, and of a file of its size."""
        api = self.stack.api()
        page = f"{PAGE}&to={time.strftime('%Y-%m-%dT00:00:00Z', time.gmtime())}"
        wait_until(lambda: "max-age=3600" in api.get(page).headers["Cache-Control"]
                   and api.get(page).headers["X-Cache-Status"] == "HIT", 20, "it is cached")
        body = api.get(page).body
        (self.root / "floor.json").write_bytes(body)
        url = f"http://127.0.0.1:{self.stack.nginx.port}"
        file, cached, newest = (wrk_get(url + path, 64, seconds)
                                for path in ("/floor", page, PAGE))
        return len(body), file, cached, newest


def questions_of(kind, count, dice):
    def device():
        return f"device-{dice.randrange(DEVICES)}"

    def past():
        return f"-{dice.randrange(1, DAYS * 24)}h"

    make = {
        "page of a device": lambda: ("/api/logs", {"device_id": device()}),
        "the same, days back": lambda: ("/api/logs", {"device_id": device(), "to": past()}),
        "errors of a device": lambda: ("/api/logs", {"device_id": device(), "level": "ERROR"}),
        "newest of all": lambda: ("/api/logs", {"limit": dice.randrange(90, 110)}),
        "errors of all": lambda: ("/api/logs", {"level": "ERROR", "to": past()}),
        "search, found": lambda: ("/api/logs", {"q": f"order {dice.randrange(10, 99)}",
                                                "limit": 20}),
        "stats": lambda: ("/api/stats", {}),
        "hits of an hour": lambda: ("/api/hits", {"from": past(), "step": "1h"}),
    }[kind]
    return [make() for _ in range(count)]


KINDS = ("page of a device", "the same, days back", "errors of a device", "newest of all",
         "errors of all", "search, found", "stats", "hits of an hour")


def measure_uncached(bench, sizes, count, result):
    print(f"\n{'not cached, ms':<22}" + "".join(f"{size:>14,} rows" for size in sizes))
    table = {kind: [] for kind in KINDS}
    for size in sizes:
        bench.fill(size)
        for kind in KINDS:
            dice = random.Random(size)
            bench.took_ms(questions_of(kind, count // 4, dice))  # what is hot is hot
            took = bench.took_ms(questions_of(kind, count, dice))
            table[kind].append((took[len(took) // 2], took[len(took) * 99 // 100]))
    for kind in KINDS:
        print(f"{kind:<22}" + "".join(f"   p50 {p50:5.1f} p99 {p99:5.1f}" for p50, p99 in table[kind]))
    result["uncached_ms"] = table


def measure_cached(bench, rounds, seconds, result):
    ratios, newest = [], []
    for _ in range(rounds):
        size, file, cached, live = bench.cached(seconds)
        ratios.append(cached / file)
        newest.append(live / file)
    print(f"\ncached page of {size:,} bytes: {cached:,.0f}/s, file {file:,.0f}/s,"
          f" ratio {statistics.median(ratios):.2f} (bar 0.90), spread {min(ratios):.2f} to"
          f" {max(ratios):.2f}; newest page, renewed each second: {statistics.median(newest):.2f}")
    result["cached"] = {"ratios": ratios, "newest": newest, "bytes": size}


def measure_exports(bench, result):
    """All that there is, through nginx."""
    print()
    result["exports"] = {}
    server = bench.stack.server
    for name in ("ndjson", "csv", "json"):
        before = resident_bytes(server.pid)
        begin = time.monotonic()
        output = subprocess.run(
            ["curl", "-sfS", "-o", "/dev/null", "-w", "%{size_download}",
             f"http://127.0.0.1:{bench.stack.nginx.port}/api/logs?format={name}"],
            check=True, capture_output=True, text=True).stdout
        took = time.monotonic() - begin
        peak = resident_bytes_peak(server.pid)
        print(f"export of {bench.rows:,} rows as {name}: {bench.rows / took:,.0f} rows/s,"
              f" {int(output) / took / 1e6:,.0f} MB/s; server {before / 1e6:.0f} MB before,"
              f" {peak / 1e6:.0f} MB at most ever")
        result["exports"][name] = {"rows_per_s": bench.rows / took, "peak": peak}


class Writers:
    """Batches of 100 at a steady rate, in an open loop."""

    def __init__(self, bench, per_s):
        self.took, self.bad, self.stopping = [], 0, False
        self.bench, self.pause = bench, 4 * 100 / per_s
        self.body = [{"device_id": f"device-{n}", "log_level": "INFO",
                      "message": f"order {n} accepted after a retry", "log_data": {"n": n}}
                     for n in range(100)]
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(4)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        api = self.bench.stack.api()
        body = json.dumps(self.body)
        due = time.perf_counter() + self.pause * number / 4
        while not self.stopping:
            time.sleep(max(0, due - time.perf_counter()))
            answer = api.post("/api/logs/batch", body)
            self.took.append((time.perf_counter() - due) * 1000)
            self.bad += answer.status != 200
            due += self.pause

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()
        return sorted(self.took)


class Readers:
    """Four clients that ask one question after the other, none of them twice."""

    def __init__(self, bench, seconds):
        dice = random.Random(seconds)
        now_ms = int(time.time() * 1000)
        paths = bench.stack.folder / "questions"
        with open(paths, "w", encoding="ascii") as file:
            for number in range(100_000):
                back_ms = dice.randrange(1, DAYS * 86_400_000)
                question = (f"device_id=device-{dice.randrange(DEVICES)}",
                            f"device_id=device-{dice.randrange(DEVICES)}&level=ERROR",
                            "limit=100", "level=ERROR")[number % 4]
                file.write(f"/api/logs?{question}&to={now_ms - back_ms}\n")
        self.wrk = subprocess.Popen(
            ["wrk", "-t1", "-c4", f"-d{seconds}s", "-s", QUESTIONS,
             f"http://127.0.0.1:{bench.stack.nginx.port}", "--", paths],
            stdout=subprocess.PIPE, text=True)

    def per_s(self):
        output, _ = self.wrk.communicate()
        assert "Non-2xx" not in output and "Socket errors" not in output, output
        return float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])


def stored(bench):
    return bench.stack.postgres.value("SELECT coalesce(sum(n), 0)::bigint FROM counters_day")


def measure_beside(bench, rounds, seconds, result):
    """How much less comes in, and is stored, with queries beside it."""
    bench.stack.wait_drained(120)
    # All that comes in with nothing else to do: what wrk's script sends, as fast as it is taken.
    bodies = bench.stack.folder / "bodies"
    write_bodies(bodies, 100, "json")
    before = stored(bench)
    begin = time.monotonic()
    wrk(f"http://127.0.0.1:{bench.stack.nginx.port}/api/logs/batch", 8, seconds, bodies)
    bench.stack.wait_drained(300)
    most = (stored(bench) - before) / (time.monotonic() - begin)
    half = most / 2
    kept = []
    print(f"\nthe whole way takes {most:,.0f} records/s; half of that offered, in turns:")
    for _ in range(rounds):
        rates = {}
        for queries in (False, True):
            before, begin = stored(bench), time.monotonic()
            readers = Readers(bench, seconds) if queries else None
            writers = Writers(bench, half)
            time.sleep(seconds)
            rates[queries] = (stored(bench) - before) / (time.monotonic() - begin)
            took = writers.stop()
            print(f"  {'with' if queries else 'without'} queries: {rates[queries]:,.0f} stored/s,"
                  f" POST p99 {took[len(took) * 99 // 100]:.0f} ms"
                  + (f", {writers.bad} refused" if writers.bad else "")
                  + (f", {readers.per_s():,.0f} queries/s" if readers else ""))
            bench.stack.wait_drained(300)
        kept.append(rates[True] / rates[False])
    print(f"ingest keeps {statistics.median(kept):.3f} (bar 0.95)")
    result["beside"] = {"most": most, "kept": kept}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench query")
    parser.add_argument("--rows", default="1000000,10000000", help="sizes of the table")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--questions", type=int, default=400, help="of each kind")
    options = parser.parse_args()
    result = {}
    with Bench() as bench:
        measure_uncached(bench, [int(rows) for rows in options.rows.split(",")],
                         options.questions, result)
        measure_cached(bench, options.rounds, options.seconds, result)
        measure_exports(bench, result)
        measure_beside(bench, options.rounds, options.seconds, result)
    path = pathlib.Path(ROOT) / "build" / "bench" / "query.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"\nas JSON: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
