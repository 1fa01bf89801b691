"""500 who watch a device each, while 10,000 records a second come in for all of them: how long each
record takes from its 200 to its event, what the server takes for it, and what it costs intake."""

import argparse
import http.client
import json
import multiprocessing
import selectors
import socket
import statistics
import threading
import time

from harness.stack import Stack
from harness.template import make_template
from measure import cpu_seconds, resident_bytes, resident_bytes_peak

SENDERS = 4


class Watchers:
    """All in a process of their own, so that they take nothing from who sends. Of each event only the
    message is looked at: when it was sent."""

    def __init__(self, port, count):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self._run, args=(port, count, theirs))
        self.process.start()
        self.pipe.recv()

    def _run(self, port, count, pipe):
        self.selector = selectors.DefaultSelector()
        self.ways_s = []
        self.other = 0
        self.rests = {}
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(f"GET /api/logs/stream?device_id=d{number} HTTP/1.1\r\n"
                           "Host: here\r\n\r\n".encode())
            self.rests[client] = b""
            self.selector.register(client, selectors.EVENT_READ)
        pipe.send("open")
        expected = None
        while True:
            if pipe.poll():
                expected, deadline = pipe.recv(), time.monotonic() + 20
            if expected is not None and (
                    len(self.ways_s) >= expected or time.monotonic() > deadline):
                pipe.send((sorted(self.ways_s), self.other))
                return
            for key, _ in self.selector.select(0.1):
                data = key.fileobj.recv(1 << 16)
                if not data:
                    raise SystemExit("a tail ended")
                self._take(key.fileobj, data)

    def _take(self, client, data):
        now = time.monotonic()
        *events, self.rests[client] = (self.rests[client] + data).split(b"\n\n")
        for event in events:
            at = event.find(b'"message":"')
            if at >= 0:
                sent = float(event[at + 11:event.index(b'"', at + 11)])
                self.ways_s.append(now - sent)
            elif b"event:" in event:
                self.other += 1

    def seen(self, expected):
        """How long each record took, and how many other events there were; once all are there."""
        self.pipe.send(expected)
        return self.pipe.recv()

    def close(self):
        self.process.kill()
        self.process.join()


def send(port, devices, rate, until, sent):
    """Batches of records for random devices, at a steady rate. Their message is when they were sent:
    before the 200, so that what is measured is more than what is asked for."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    batch, number = 25, 0
    begin = time.monotonic()
    while time.monotonic() < until:
        due = begin + number * batch / rate
        time.sleep(max(0, due - time.monotonic()))
        records = [{"device_id": f"d{(number * batch + i) * 7 % devices}", "log_level": "INFO",
                    "message": f"{time.monotonic():.4f}", "log_data": {"text": "x" * 100}}
                   for i in range(batch)]
        connection.request("POST", "/api/logs/batch", json.dumps(records),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        sent.append(batch if answer.status == 200 else 0)
        number += 1


def run(stack, watchers, devices, rate, seconds):
    sent = []
    cpu = cpu_seconds(stack.server.pid)
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=send, args=(stack.nginx.port, devices, rate / SENDERS, until,
                                                   sent)) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(sent)
    result = {"records_per_s": total / seconds,
              "server_cpu": (cpu_seconds(stack.server.pid) - cpu) / seconds,
              "server_mb": resident_bytes(stack.server.pid) / 1e6}
    if watchers:
        ways, other = watchers.seen(total)
        result |= {"shown": len(ways), "sent": total, "gaps_and_drops": other,
                   "p50_ms": statistics.median(ways) * 1000,
                   "p99_ms": ways[int(len(ways) * 0.99)] * 1000, "max_ms": ways[-1] * 1000}
    print(json.dumps({name: round(value, 2) for name, value in result.items()}), flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench tail")
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rate", type=float, default=10000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    template = make_template()
    stack = Stack(template.data, workers=1, load={"SLUICED_LOAD_TAIL_WINDOW_MB": "32"})
    try:
        stack.start()
        rates = {False: [], True: []}
        for _ in range(options.rounds):
            for watched in (False, True):
                watchers = Watchers(stack.nginx.port, options.clients) if watched else None
                try:
                    result = run(stack, watchers, options.clients, options.rate, options.seconds)
                finally:
                    if watchers:
                        watchers.close()
                rates[watched].append(result["records_per_s"])
        share = statistics.mean(rates[True]) / statistics.mean(rates[False])
        print(f"intake beside {options.clients} who watch: {share:.3f} of intake alone;"
              f" the server's memory at most {resident_bytes_peak(stack.server.pid) / 1e6:.0f} MB")
    finally:
        stack.close()
        stack.remove()


if __name__ == "__main__":
    main()
