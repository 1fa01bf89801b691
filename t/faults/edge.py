"""The edge under sanitizers, reloaded and abandoned without mercy while it is under load.

Writers post records, each once, and note what they were told; some send them compressed, some in
batches of which only the good ones are to be stored. Meanwhile nginx is reloaded, clients leave at
random moments, and HTTP/2 streams are reset. At the end everything answered with 200 is in
Postgres, exactly once, nothing else is twice, nothing is held for anybody who left, and no part has
anything to complain about.
"""

import argparse
import gzip
import http.client
import itertools
import json
import random
import shutil
import socket
import struct
import sys
import threading
import time
import uuid

from harness.api import Api
from harness.http2 import Leaver
from harness.stack import Stack
from harness.template import make_template
from harness.waiting import free_port, wait_until

RESET = struct.pack("ii", 1, 0)
BATCH = "/api/logs/batch"


def record(name, level="INFO"):
    return {"device_id": "soak", "log_level": level, "message": name}


class Writers:
    """Threads that post until they are told to stop: single records, batches, and compressed
    batches of which every other one has bad records and is to be stored in part."""

    def __init__(self, port, count):
        self.port = port
        self.stopping = threading.Event()
        self.stored, self.refused, self.unknown = [], [], []
        self.untrue = []  # answers that do not say what became of the records
        self.in_part = 0
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        api, rng = Api(self.port), random.Random(number)
        sends = [self._single, self._batch, self._compressed][number % 3]
        while not self.stopping.is_set():
            names, bad, path, body, headers = sends(rng)
            # These must never be stored, whatever the answer.
            self.refused += bad
            try:
                answer = api.post(path, body, **headers)
            except (OSError, http.client.HTTPException):
                self.unknown += names
                continue
            if answer.status == 200:
                self.stored += names
                self.in_part += bool(bad)
                self._check_told(answer, names, bad)
            elif answer.json["code"] == "outcome_unknown":
                self.unknown += names
            else:
                self.refused += names
        api.close()

    def _check_told(self, answer, names, bad):
        told = answer.json
        if (told.get("count", 1), told.get("rejected", 0)) != (len(names), len(bad)):
            self.untrue.append(answer)

    @staticmethod
    def _single(_):
        name = uuid.uuid4().hex
        return [name], [], "/api/log", record(name), {}

    @staticmethod
    def _batch(_):
        names = [uuid.uuid4().hex for _ in range(5)]
        return names, [], BATCH, {"logs": [record(name) for name in names]}, {}

    @staticmethod
    def _compressed(rng):
        names = [uuid.uuid4().hex for _ in range(rng.choice([1, 10, 500]))]
        bad = [uuid.uuid4().hex for _ in range(rng.choice([0, rng.randrange(1, 50)]))]
        records = [record(name) for name in names] + [record(name, "LOUD") for name in bad]
        rng.shuffle(records)
        body = gzip.compress(json.dumps({"logs": records}).encode(), 1)
        headers = {"Content-Encoding": "gzip"}
        return names, bad, BATCH, body, {**headers, "Prefer": "handling=lenient"} if bad else headers

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def abandon(port, times, seed):
    """Clients that send some of a request, wait a little, and are gone."""
    rng = random.Random(seed)
    body = json.dumps({"device_id": "gone", "log_level": "INFO", "message": "m" * 200}).encode()
    batch = gzip.compress(body * 1000)
    head = b"POST /api/log HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    requests = [
        head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        head + b"Idempotency-Key: k%d\r\nContent-Length: %d\r\n\r\n%s" % (seed, len(body), body),
        # Few of these, as they take some milliseconds, in which one can leave.
        head.replace(b"/api/log", BATCH.encode()) + b"Content-Encoding: gzip\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(batch), batch),
    ]
    for _ in range(times):
        request, = rng.choices(requests, [10, 10, 10, 1])
        with socket.socket() as connection:
            try:
                connection.connect(("127.0.0.1", port))
                connection.sendall(request if rng.random() < 0.7
                                   else request[: rng.randrange(1, len(request))])
                if rng.random() < 0.5:
                    time.sleep(rng.random() * 0.002)
                if rng.random() < 0.7:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            except OSError:
                pass


def check(stack, clients):
    """Clients have noted what became of their records: stored, refused or unknown."""
    stored, refused, unknown = (
        list(itertools.chain.from_iterable(getattr(client, outcome) for client in clients))
        for outcome in ("stored", "refused", "unknown"))
    metrics = stack.api().get("/metrics").body
    assert b"\nsluice_edge_inflight_requests 0\n" in metrics, "a request is held for nobody"
    assert b"\nsluice_edge_inflight_frames 0\n" in metrics, "a frame is held for nobody"
    stack.wait_drained(120)
    rows = stack.postgres.query(
        "SELECT message, count(*) FROM logs WHERE device_id = 'soak' GROUP BY message")
    times = dict(rows)
    twice = [name for name, count in rows if count > 1]
    lost = [name for name in stored if name not in times]
    denied = [name for name in refused if name in times]
    assert not lost, f"{len(lost)} lost, {lost[:3]}"
    assert not twice, f"{len(twice)} twice, {twice[:3]}"
    assert not denied, f"{len(denied)} refused but stored, {denied[:3]}"
    counted = stack.postgres.value("SELECT sum(n) FROM counters")
    assert counted == stack.rows(), "counters"
    print(f"records: {len(stored):,} acknowledged, all there, none twice; "
          f"{len(refused):,} refused; {len(unknown):,} of unknown outcome")


def run(stack, options, http2_port):
    """The load, with everything that is done to it; returns the clients."""
    begin = time.monotonic()
    port = stack.nginx.port
    writers = Writers(port, 6)
    resetters = [Leaver(http2_port, random.Random(seed), "soak") for seed in range(2)]
    leavers = [threading.Thread(target=abandon, args=(port, options.aborts // 4, seed))
               for seed in range(4)]
    leavers += [threading.Thread(target=resetter.run, args=(options.streams // 2,))
                for resetter in resetters]
    for thread in leavers:
        thread.start()
    for _ in range(options.reloads):
        stack.nginx.reload()
    for thread in leavers:
        thread.join()
    writers.stop()
    wait_until(lambda: not stack.nginx.leaving_worker_pids(), 60, "the old workers are gone")
    print(f"{options.reloads} reloads, {options.aborts:,} aborts and {options.streams:,} HTTP/2 "
          f"streams in {time.monotonic() - begin:.0f} s")
    assert not writers.untrue, writers.untrue[:3]
    print(f"{writers.in_part:,} compressed batches were stored in part")
    return [writers, *resetters]


def main():
    parser = argparse.ArgumentParser(prog="scripts/faults edge")
    parser.add_argument("--reloads", type=int, default=500)
    parser.add_argument("--aborts", type=int, default=100000)
    parser.add_argument("--streams", type=int, default=50000)
    options = parser.parse_args()
    template = make_template()
    http2_port = free_port()
    stack = Stack(template.data, nginx_edits=[
        ("sluice_timeout 5s;", "sluice_timeout 10s;"),
        ("backlog=4096;", f"backlog=4096;\n        listen 127.0.0.1:{http2_port} http2;"),
    ])
    try:
        stack.start()
        check(stack, run(stack, options, http2_port))
        troubles = stack.close()
        if troubles:
            print("\n".join(troubles), "\nlogs kept in", stack.keep_logs("stress-edge"))
        return 1 if troubles else 0
    finally:
        stack.remove()
        shutil.rmtree(template.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
