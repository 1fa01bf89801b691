"""Clients that mean harm: what they send, and a process of their own that sends it and counts how
it was answered."""

import asyncio
import collections
import gzip
import itertools
import json
import multiprocessing
import random
import time

from bodies import body, record
from harness.compressed import bomb, slow

MIB = 1024 * 1024
HEAD = b"POST /api/logs/batch HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
RECORD = b'{"device_id":"d","log_level":"INFO","message":"m"}'


def request(content, encoding="", content_type="application/json"):
    coding = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    head = f"Content-Type: {content_type}\r\n{coding}Content-Length: {len(content)}\r\n\r\n"
    return HEAD + head.encode() + content


def tiny_chunks(content):
    return CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n"


def large_batch(size, seed):
    """1,000 records that fill most of it, with traces that compress as real ones do."""
    dice = random.Random(seed)
    lines = [f"at {json.loads(record(dice, 0))['message']}" for _ in range(500)]
    records = []
    for _ in range(1000):
        one = json.loads(record(dice, dice.randrange(100)))
        one["log_data"]["trace"] = dice.choices(lines, k=size // 1000 // 90 - 5)
        records.append(json.dumps(one))
    text = f'{{"logs":[{",".join(records)}]}}'.encode()
    assert size * 0.8 < len(text) < size, len(text)
    return text


def tiny_records(size):
    """So many bytes of "{}", packed no denser than a body may be."""
    packed = gzip.compress(b"{}\n" * (size // 3), mtime=0)
    # A member's header may have a comment, which says nothing and has bytes.
    comment = b"x" * max(0, size // 380 - len(packed))
    return packed[:3] + b"\x10" + packed[4:10] + comment + b"\0" + packed[10:]


# Clients: each runs until it is cancelled. It counts the statuses that it was told, and as "cut"
# each connection that was closed on it.


async def read_status(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.split(b":")[1]))
    return head[9:12].decode()


async def connected(port, counts, client):
    """One connection after the other."""
    while True:
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await client(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            counts["cut"] += 1
        finally:
            if writer:
                writer.transport.abort()


async def repeat(port, attack, number, counts):
    """A request, its answer, the next request."""

    async def client(reader, writer):
        for turn in range(number, 1 << 60):
            writer.write(attack.requests[turn % len(attack.requests)])
            counts[await read_status(reader)] += 1

    await connected(port, counts, client)


async def endless(port, attack, number, counts):
    """Goes on and on with the last piece, whatever it is told."""
    head, piece = attack.requests[number % len(attack.requests)]

    async def listen(reader):
        counts[await read_status(reader)] += 1

    async def client(reader, writer):
        listening = asyncio.create_task(listen(reader))
        try:
            writer.write(head)
            while True:
                writer.write(piece)
                counts["bytes"] += len(piece)
                await writer.drain()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    await connected(port, counts, client)


async def trickle(port, attack, number, counts):
    """One byte a second, never a whole request."""
    head, drops = attack.requests[number % len(attack.requests)]

    async def client(reader, writer):
        listening = asyncio.create_task(read_status(reader))
        try:
            writer.write(head)
            for drop in itertools.cycle(drops):
                await asyncio.wait([listening], timeout=1)
                if listening.done():
                    counts[listening.result()] += 1
                    return
                writer.write(bytes([drop]))
        except asyncio.CancelledError:
            counts["held"] += 1
            raise
        finally:
            listening.cancel()

    await connected(port, counts, client)


class Attack:
    """What its clients send, and what they may be told, of which the first must occur."""

    def __init__(self, name, client, connections, requests, expected):
        self.name = name
        self.client = client
        self.connections = connections
        self.requests = requests
        self.expected = expected

    def thrown_away(self):
        """The same for a location that reads bodies and forgets them."""

        def moved(content):
            return content.replace(HEAD, HEAD.replace(b"/api/logs/batch", b"/floor/"))

        requests = [tuple(map(moved, one)) if isinstance(one, tuple) else moved(one)
                    for one in self.requests]
        return Attack(self.name, self.client, self.connections, requests, ["200", "cut", "held", "bytes"])

    async def run(self, port, counts, ending):
        tasks = [asyncio.create_task(self.client(port, self, number, counts))
                 for number in range(self.connections)]
        while not ending.is_set():
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError):
                raise outcome


def make_attacks():
    dice = random.Random(1)
    small = body([record(dice, device) for device in range(100)], "gzip")
    brackets = b"[" * 100_000
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    return [
        Attack("gzip bombs, 1 KB to 1 MB", repeat, 8, [
            request(bomb(1), "gzip"), request(bomb(10), "gzip"), request(bomb(1000), "gzip"),
            request(bomb(512, 1), "gzip"), request(gzip.compress(bomb(600)), "gzip"),
        ], ["413", "400", "503"]),
        Attack("slow deflate, 1 MB", repeat, 8, [request(slow(b"{}", MIB - 4096), "deflate")],
               ["422", "503"]),
        Attack("wrong gzip", repeat, 8, [
            request(b"no gzip at all" * 5000, "gzip"), request(small[:-1], "gzip"),
            request(small[:-8] + bytes(8), "gzip"), request(small, "deflate"),
        ], ["400"]),
        Attack("8 MB of {}, gzip", repeat, 8, [
            request(tiny_records(8 * MIB), "gzip", "application/x-ndjson")], ["422", "503"]),
        Attack("1 MB of {}", repeat, 8, [
            request(b"{}" * (MIB // 2), content_type="application/x-ndjson")], ["422"]),
        Attack("100,000 open brackets", repeat, 8, [
            request(brackets), request(b'{"logs":' + brackets),
            request(b'{"logs":[' + RECORD[:-1] + b',"log_data":{"a":' + brackets),
        ], ["400"]),
        Attack("chunks of 1 byte, 6 MB", repeat, 8, [
            tiny_chunks(((RECORD + b"\n") * 900).ljust(MIB))], ["200"]),
        Attack("endless chunks", endless, 16, [(CHUNKED, chunk)], ["413", "cut", "bytes"]),
        Attack("endless chunk sizes", endless, 16, [
            (CHUNKED + b"1;", b"x" * 65536), (CHUNKED, b"0" * 65536),
        ], ["413", "cut", "bytes"]),
        Attack("1 byte a second", trickle, 500, [
            (HEAD + b"Content-Length: 100000\r\n\r\n", b"["), (CHUNKED, b"1\r\n[\r\n"),
        ], ["held"]),
        Attack("honest 8 MB in gzip", repeat, 4, [
            request(gzip.compress(large_batch(8 * MIB, seed)), "gzip") for seed in range(3)
        ], ["200"]),
    ]


class Attackers:
    """The clients of one attack, in a process of their own."""

    def __init__(self, attack, port):
        self.ending = multiprocessing.Event()
        self.results = multiprocessing.SimpleQueue()
        self.process = multiprocessing.Process(target=self._run, args=(attack, port))
        self.process.start()

    def stop(self):
        """How often they were told what, and the seconds in which."""
        self.ending.set()
        told = self.results.get()
        self.process.join()
        return told

    def _run(self, attack, port):
        counts = collections.Counter()
        begin = time.monotonic()
        asyncio.run(attack.run(port, counts, self.ending))
        self.results.put((counts, time.monotonic() - begin))
