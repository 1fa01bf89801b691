"""The edge under sanitizers, reloaded and abandoned without mercy while it is under load.

Writers post records, each once, and note what they were told; meanwhile nginx is reloaded, clients
leave at random moments, and HTTP/2 streams are reset. At the end everything answered with 200 is in
Postgres, exactly once, nothing else is twice, nothing is held for anybody who left, and no part has
anything to complain about.
"""

import argparse
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


class Writers:
    """Threads that post until they are told to stop."""

    def __init__(self, port, count):
        self.port = port
        self.stopping = threading.Event()
        self.stored, self.refused, self.unknown = [], [], []
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        api = Api(self.port)
        while not self.stopping.is_set():
            names = [uuid.uuid4().hex for _ in range(1 if number % 2 else 5)]
            records = [{"device_id": "soak", "log_level": "INFO", "message": name}
                       for name in names]
            try:
                answer = api.batch(records) if number % 2 == 0 else api.post("/api/log", records[0])
            except (OSError, http.client.HTTPException):
                self.unknown += names
                continue
            if answer.status == 200:
                self.stored += names
            elif answer.json["code"] == "outcome_unknown":
                self.unknown += names
            else:
                self.refused += names
        api.close()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def abandon(port, times, seed):
    """Clients that send some of a request, wait a little, and are gone."""
    rng = random.Random(seed)
    body = json.dumps({"device_id": "gone", "log_level": "INFO", "message": "m" * 200}).encode()
    head = b"POST /api/log HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    requests = [
        head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body),
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        head + b"Idempotency-Key: k%d\r\nContent-Length: %d\r\n\r\n%s" % (seed, len(body), body),
    ]
    for _ in range(times):
        request = rng.choice(requests)
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
    writers = Writers(port, 4)
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
    return [writers, *resetters]


def main():
    parser = argparse.ArgumentParser(prog="scripts/stress edge")
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
