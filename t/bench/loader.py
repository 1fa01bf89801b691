"""The loader against Postgres itself: the same rows into the same tables, in turns.

Three ways: psql's \\copy into logs (nothing but the rows), the loader's transaction done by hand
from prepared texts (ledger, COPY, counters, COMMIT: the ceiling) on as many connections as the
loader has consumers, and the loader draining a stream. Which of the last two goes first alternates.
Ratios are made within a round, and the median of the rounds is told.
"""

import argparse
import collections
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
import uuid

from harness.build import ROOT
from harness.postgres_server import BIN, PostgresServer
from harness.redis_server import RedisServer
from harness.sluiced import Loader
from harness.stack import make_folder
from harness.template import make_template
from harness.waiting import wait_until
from measure import (
    append_mb_per_s, cpu_seconds, family_cpu_seconds, fdatasync_ms, resident_bytes,
)

LEVELS = ["DEBUG", "INFO", "INFO", "INFO", "INFO", "WARNING", "ERROR", "CRITICAL"]
WORDS = ("connection timeout user login payment accepted retry upstream cache miss order created "
         "shipped failed sensor value temperature pressure valve opened closed session expired "
         "token refreshed query slow index").split()
HAND_ROWS = 20000  # of a transaction by hand

Case = collections.namedtuple(
    "Case", "name rows frame_rows devices consumers duplicates poison already",
    defaults=(100, 100, 1, 0, 0, 0))

CASES = [
    Case("100 records a frame", 1500000),
    Case("10 records a frame", 800000, 10),
    Case("1 record a frame", 250000, 1),
    Case("2 consumers", 1500000, consumers=2),
    Case("1 % duplicates", 800000, duplicates=0.01),
    Case("0.1 % poison", 400000, poison=0.001),
    Case("1,000,000 devices", 1000000, devices=1000000),
    Case("1 million rows there", 800000, already=1000000),
    Case("10 million rows there", 800000, already=10000000),
]


def make_rows(case, seed):
    """COPY rows as the edge writes them, with random fields: one row repeated would flatter."""
    dice = random.Random(seed)
    rows = []
    for _ in range(case.rows):
        message = " ".join(dice.choices(WORDS, k=dice.randint(6, 14)))
        data = '{"user":%d,"ip":"10.%d.%d.%d","latency_ms":%.3f,"ok":true}' % (
            dice.randint(1, 999999), dice.randint(0, 255), dice.randint(0, 255),
            dice.randint(0, 255), dice.random() * 100)
        if dice.random() < case.poison:
            data = '{"nul":"\\\\u0000"}'  # jsonb refuses it; an edge would not have sent it
        rows.append("device-%d\t%s\t%s %08x\t%s\t\\N\n" % (
            dice.randrange(case.devices), dice.choice(LEVELS), message, dice.getrandbits(32), data))
    return rows


def make_frames(case, rows):
    """(u, receive time, number, rows as text) of each frame."""
    now_ms = int(time.time() * 1000)
    frames = []
    for at in range(0, len(rows), case.frame_rows):
        part = rows[at:at + case.frame_rows]
        t = now_ms + at // 1000
        frames.append((uuid.uuid4().bytes, t, len(part), "".join(part)))
    return frames


def created_at(t):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(t // 1000)) + ".%03d+00" % (t % 1000)


def array_text(values):
    return "{" + ",".join(f'"{value}"' for value in values) + "}"


class HandBatch:
    """One transaction's worth, prepared: nothing is left to do but to send it."""

    def __init__(self, frames, next_id):
        ids, times, first_ids, numbers = [], [], [], []
        copy, counts = [], collections.Counter()
        for u, t, n, text in frames:
            ids.append(uuid.UUID(bytes=u))
            times.append(created_at(t))
            first_ids.append(next_id)
            numbers.append(n)
            for line in text.splitlines(True):
                copy.append("%d\t%s\t%s" % (next_id, times[-1], line))
                counts[times[-1][:16] + "+00", line.split("\t", 2)[1]] += 1
                next_id += 1
        self.next_id = next_id
        self.copy = "".join(copy).encode()
        self.ledger = tuple(map(array_text, (times, ids, first_ids, numbers)))
        keys = sorted(counts)
        self.counters = (array_text(minute for minute, _ in keys),
                         array_text(level for _, level in keys),
                         array_text(counts[key] for key in keys))


def prepare_by_hand(frames, next_id):
    batches, part, size = [], [], 0
    for frame in frames:
        part.append(frame)
        size += frame[2]
        if size >= HAND_ROWS:
            batches.append(HandBatch(part, next_id))
            next_id, part, size = batches[-1].next_id, [], 0
    if part:
        batches.append(HandBatch(part, next_id))
    return batches


class Bytes:
    """A file for COPY that hands out what is there without another copy."""

    def __init__(self, data):
        self.data, self.at = memoryview(data), 0

    def read(self, size):
        part = self.data[self.at:self.at + size]
        self.at += len(part)
        return bytes(part)


def load_by_hand(postgres, batches, slot):
    connection = postgres.connect()
    connection.autocommit = False
    cursor = connection.cursor()
    cursor.execute("SET synchronous_commit = on; SET TimeZone = 'UTC'")
    connection.commit()
    for batch in batches:
        cursor.execute(
            "INSERT INTO ledger (t, u, stream_id, first_row_id, n)"
            " SELECT t, u, '0-0', first, n FROM unnest(%s::timestamptz[], %s::uuid[], %s::bigint[],"
            " %s::int[]) AS f (t, u, first, n) ON CONFLICT DO NOTHING RETURNING first_row_id",
            batch.ledger)
        cursor.fetchall()
        cursor.copy_expert(
            "COPY logs (id, created_at, device_id, log_level, message, log_data, event_time)"
            " FROM STDIN", Bytes(batch.copy), size=1 << 18)
        cursor.execute(
            "INSERT INTO counters (minute, log_level, slot, n)"
            " SELECT minute, level, %s, n FROM"
            " unnest(%s::timestamptz[], %s::log_level[], %s::bigint[]) AS f (minute, level, n)"
            " ON CONFLICT (minute, log_level, slot) DO UPDATE SET n = counters.n + excluded.n",
            (slot, *batch.counters))
        connection.commit()
    connection.close()


def load_by_hands(postgres, batches, connections):
    """psycopg2 lets go of the interpreter while it waits for Postgres, so threads will do."""
    failures = []

    def load(number):
        try:
            load_by_hand(postgres, batches[number::connections], f"hand-{number}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def load_by_psql(postgres, folder, batches):
    """The rows alone, as fast as \\copy takes them; the file is not part of the time."""
    path = folder / "rows.copy"
    with open(path, "wb") as file:
        for batch in batches:
            file.write(batch.copy)
    begin = time.perf_counter()
    subprocess.run(
        [BIN / "psql", "-q", "-h", str(folder), "-U", "sluice", "-d", "sluice", "-c",
         f"\\copy logs (id, created_at, device_id, log_level, message, log_data, event_time)"
         f" from '{path}'"],
        check=True)
    took = time.perf_counter() - begin
    path.unlink()
    return took


class Bench:
    def __init__(self):
        self.template = make_template()
        self.folder = make_folder()
        self.redis = RedisServer(self.folder)
        self.redis.conf = self.redis.conf.replace("maxmemory 256mb", "maxmemory 8gb")
        self.redis.client = self.redis.new_client(socket_timeout=120)
        self.postgres = PostgresServer(self.folder, self.template.data)

    def __enter__(self):
        self.redis.start()
        self.postgres.start()
        return self

    def __exit__(self, *_):
        self.postgres.stop()
        self.redis.stop()
        for folder in (self.folder, self.template.folder):
            shutil.rmtree(folder)

    def postgres_cpu(self):
        return family_cpu_seconds(self.postgres.pid, self.postgres.children())

    def clean(self, keep_rows):
        connection = self.postgres.connect()
        with connection.cursor() as cursor:
            tables = "ledger, dead_letters" if keep_rows else "logs, ledger, counters, dead_letters"
            cursor.execute(f"TRUNCATE {tables}")
            cursor.execute("CHECKPOINT")
        connection.close()
        self.redis.client.flushall()

    def fill_stream(self, case, frames):
        sent, dice = 0, random.Random(7)
        pipeline = self.redis.client.pipeline(transaction=False)
        for u, t, n, text in frames:
            for _ in range(2 if dice.random() < case.duplicates else 1):
                pipeline.execute_command("XADD", "logs:stream", "*", "v", 1, "u", u, "t", t, "n", n,
                                         "r", text)
            sent += len(text)
            if sent > 4 << 20:
                pipeline.execute()
                sent = 0
        pipeline.execute()

    def drained(self, loader):
        assert loader.running, "the loader has ended"
        groups = self.redis.client.xinfo_groups("logs:stream")
        last = self.redis.client.xinfo_stream("logs:stream")["last-generated-id"]
        return groups and groups[0]["pending"] == 0 and groups[0]["last-delivered-id"] == last

    def load_by_loader(self, case, frames, already):
        self.fill_stream(case, frames)
        loader = Loader(self.folder, self.redis.url, self.postgres.dsn,
                        {"SLUICED_LOAD_CONSUMERS": str(case.consumers)})
        began_cpu = self.postgres_cpu()
        begin = time.perf_counter()
        loader.launch()
        wait_until(lambda: self.drained(loader), 600, "the stream is drained")
        took = time.perf_counter() - begin
        result = {
            "rows_per_s": case.rows / took,
            "loader_us": cpu_seconds(loader.pid) / case.rows * 1e6,
            "postgres_us": (self.postgres_cpu() - began_cpu) / case.rows * 1e6,
            "loader_mb": resident_bytes(loader.pid) / 1e6,
        }
        loader.stop()
        self.check_exact(already + case.rows)
        return result

    def check_exact(self, expected):
        """Every row is in logs or among the dead letters, once, and the counters agree."""
        rows = self.postgres.value("SELECT count(*) FROM logs")
        dead = self.postgres.value("SELECT count(*) FROM dead_letters")
        counted = self.postgres.value("SELECT coalesce(sum(n), 0) FROM counters")
        assert rows + dead == expected, (rows, dead, expected)
        assert counted == rows, (counted, rows)

    def timed(self, case, load, *arguments):
        began_cpu = self.postgres_cpu()
        begin = time.perf_counter()
        told = load(*arguments)
        took = told or time.perf_counter() - begin
        return {"rows_per_s": case.rows / took,
                "postgres_us": (self.postgres_cpu() - began_cpu) / case.rows * 1e6}

    def round(self, case, seed):
        rows = make_rows(case, seed)
        frames = make_frames(case, rows)
        healthy = case._replace(poison=0)
        by_hand = frames if not case.poison else make_frames(healthy, make_rows(healthy, seed))
        batches = prepare_by_hand(by_hand, 1 << 40)
        result = {}
        self.make_partitions(frames)
        ways = ["hand", "loader"] if seed % 2 == 0 else ["loader", "hand"]
        if not case.already:
            ways.insert(0, "psql")
        for way in ways:
            self.clean(keep_rows=case.already)
            already = self.prefill(case)
            if way == "psql":
                result[way] = self.timed(case, load_by_psql, self.postgres, self.folder, batches)
            elif way == "hand":
                result[way] = self.timed(case, load_by_hands, self.postgres, batches,
                                         case.consumers)
                self.check_exact(already + case.rows)
            else:
                result[way] = self.load_by_loader(case, frames, already)
        return result

    def make_partitions(self, frames):
        """As the loader makes them; by hand there is nobody who would."""
        connection = self.postgres.connect()
        with connection.cursor() as cursor:
            for parent, column, step, form in (("logs", "created_at", 86400, "%Y%m%d"),
                                               ("ledger", "t", 3600, "%Y%m%d%H")):
                for number in {t // 1000 // step for _, t, _, _ in frames}:
                    name = time.strftime(f"{parent}_{form}", time.gmtime(number * step))
                    cursor.execute(
                        f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {parent} FOR VALUES"
                        f" FROM (to_timestamp({number * step}))"
                        f" TO (to_timestamp({(number + 1) * step}))")
        connection.close()

    def prefill(self, case):
        if not case.already:
            return 0
        there = self.postgres.value("SELECT count(*) FROM logs")
        if there >= case.already:
            return there
        connection = self.postgres.connect()
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO logs SELECT i, date_trunc('hour', now()) + i * interval '1 us',"
                " 'device-' || (i %% 100), 'INFO', md5(i::text), '{}', NULL"
                " FROM generate_series(1, %s) AS i", (case.already - there,))
            cursor.execute("DELETE FROM counters")
            cursor.execute(
                "INSERT INTO counters SELECT date_trunc('minute', now()), 'INFO', 'before',"
                " count(*) FROM logs")
            cursor.execute("CHECKPOINT")
        connection.close()
        return case.already


COLUMNS = [
    ("case", "case", "{}"), ("\\copy rows/s", "psql_per_s", "{:,.0f}"),
    ("by hand rows/s", "hand_per_s", "{:,.0f}"), ("loader rows/s", "loader_per_s", "{:,.0f}"),
    ("of \\copy", "psql_ratio", "{:.2f}"), ("of by hand", "ratio", "{:.2f}"),
    ("loader us/row", "loader_us", "{:.2f}"),
    ("Postgres us/row", "postgres_us", "{:.2f}"), ("by hand", "hand_us", "{:.2f}"),
    ("loader MB", "loader_mb", "{:.0f}"),
]


def summary(case, rounds):
    def median(of):
        return statistics.median(of(result) for result in rounds)

    has_psql = not case.already
    return {
        "case": case.name,
        "psql_per_s": median(lambda result: result["psql"]["rows_per_s"]) if has_psql else 0,
        "hand_per_s": median(lambda result: result["hand"]["rows_per_s"]),
        "loader_per_s": median(lambda result: result["loader"]["rows_per_s"]),
        "psql_ratio": median(
            lambda r: r["loader"]["rows_per_s"] / r["psql"]["rows_per_s"]) if has_psql else 0,
        "ratio": median(lambda r: r["loader"]["rows_per_s"] / r["hand"]["rows_per_s"]),
        "loader_us": median(lambda result: result["loader"]["loader_us"]),
        "postgres_us": median(lambda result: result["loader"]["postgres_us"]),
        "hand_us": median(lambda result: result["hand"]["postgres_us"]),
        "loader_mb": median(lambda result: result["loader"]["loader_mb"]),
    }


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench loader")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the first case, one round")
    parser.add_argument("--case", help="cases whose name contains this")
    options = parser.parse_args()
    cases = CASES[:1] if options.quick else CASES
    cases = [case for case in cases if (options.case or "") in case.name]
    rounds = 1 if options.quick else options.rounds
    folder = ROOT / "build" / "bench"
    p50, p99 = fdatasync_ms(folder)
    append = append_mb_per_s(folder)
    print(f"fdatasync of 4 KB, idle: p50 {p50:.3f} ms, p99 {p99:.3f} ms; "
          f"appends of 256 KB with fdatasync: {append:,.0f} MB/s", flush=True)
    print("  ".join(title for title, _, _ in COLUMNS))
    table = []
    with Bench() as bench:
        for case in cases:
            results = [bench.round(case, seed) for seed in range(rounds)]
            table.append(summary(case, results))
            print("  ".join(form.format(table[-1][key]).rjust(len(title))
                            for title, key, form in COLUMNS), flush=True)
    path = pathlib.Path(folder) / "loader.json"
    path.write_text(json.dumps({"fdatasync_p50_ms": p50, "append_mb_per_s": append,
                                "cases": table}, indent=1))
    print(f"\nas JSON: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
