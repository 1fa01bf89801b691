"""Compressed bodies: every honest one is taken, in any framing; bombs cost their sender an error."""

import gzip
import http.client
import json
import os
import re
import select
import signal
import socket
import statistics
import struct
import threading
import time

import pytest
from harness.compressed import BARE, GZIP, ZLIB, bomb, deflated, slow
from harness.http2 import Http2
from harness.nginx_server import NginxServer
from harness.waiting import free_port, wait_until
from test_bodies import chunked, read_answer
from test_metrics import metrics

LOG, BATCH = "/api/log", "/api/logs/batch"
RECORD = {"device_id": "d", "log_level": "INFO", "message": "m"}
BODY = json.dumps({"logs": [{**RECORD, "message": f"m{i}"} for i in range(50)]}).encode()
MIB = 1024 * 1024


def post(api, body, encoding="gzip", path=BATCH, **headers):
    return api.post(path, body, **{"Content-Encoding": encoding, **headers})


def head(encoding=b"gzip", path=b"/api/logs/batch"):
    return (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Encoding: %s\r\n" % (path, encoding))


def with_length(body, encoding=b"gzip"):
    return head(encoding) + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def problem(answer, status, code):
    assert (answer.status, answer.json["code"]) == (status, code), answer
    return answer.json["detail"]


def inflight_bytes(api):
    return metrics(api)[1]["sluice_edge_inflight_bytes"]


def test_every_coding_on_both_paths(stack, api):
    codings = [("gzip", GZIP), ("x-gzip", GZIP), ("GZip", GZIP), ("deflate", ZLIB),
               ("Deflate", BARE)]
    for encoding, bits in codings:
        for level in (0, 1, 9):
            answer = post(api, deflated(BODY, bits, level), encoding)
            assert answer.status == 200 and answer.json["count"] == 50, (encoding, answer)
        one = deflated(json.dumps(RECORD).encode(), bits)
        assert post(api, one, encoding, LOG).status == 200
    for encoding in ("identity", "IDENTITY", ""):
        assert post(api, BODY, encoding).status == 200
    stack.wait_rows(len(codings) * 151 + 150)


def test_what_was_compressed_is_stored_byte_for_byte(stack, api):
    messages = [f"{i} \u00fc\u4e2d\U0001f600 \\ \" \t" * (i % 40 + 1) for i in range(900)]
    lines = "\n".join(json.dumps({**RECORD, "message": message}) for message in messages).encode()
    answer = post(api, gzip.compress(lines), **{"Content-Type": "application/x-ndjson"})
    assert answer.json["count"] == 900
    stack.wait_rows(900)
    stored = stack.postgres.query("SELECT message FROM logs ORDER BY id")
    assert [message for message, in stored] == messages


def test_members_are_one_body(stack, api):
    lines = [json.dumps({**RECORD, "message": str(i)}).encode() + b"\n" for i in range(100)]
    members = b"".join(gzip.compress(line) for line in lines) + gzip.compress(b"")
    answer = post(api, members, **{"Content-Type": "application/x-ndjson"})
    assert answer.status == 200 and answer.json["count"] == 100, answer
    stack.wait_rows(100)


@pytest.mark.parametrize("size", [1, 7, 1000, MIB])
def test_chunks_of_any_size_and_what_follows_on_the_connection(stack, api, size):
    connection = api.raw(b"")
    for encoding, bits in ((b"gzip", GZIP), (b"deflate", BARE)):
        body = deflated(BODY, bits)
        connection.sendall(head(encoding) + b"Transfer-Encoding: chunked\r\n\r\n"
                           + chunked(body, size))
        assert read_answer(connection)[0] == 200
        connection.sendall(with_length(body, encoding))
        assert read_answer(connection)[0] == 200
        connection.sendall(with_length(BODY, b"identity"))
        assert read_answer(connection)[0] == 200
        connection.sendall(with_length(body[:-1], encoding))
        assert read_answer(connection)[0] == 400
    connection.close()
    stack.wait_rows(300)


def test_pipelined(stack, api):
    good, broken = gzip.compress(BODY), gzip.compress(BODY)[:-5]
    # In one segment, so that one must wait for the other.
    connection = api.raw(b"".join(map(with_length, [good, broken, gzip.compress(b"{}"), good] * 20)))
    data = b""
    while data.count(b"HTTP/1.1 ") < 80 or not data.endswith(b"}"):
        piece = connection.recv(65536)
        assert piece, data[-500:]
        data += piece
    statuses = [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 400, 422, 200] * 20
    connection.close()
    stack.wait_rows(2000)


def test_http2(make_stack):
    stack = make_stack()
    port = free_port()
    stack.nginx.edit("backlog=4096;", f"backlog=4096;\n        listen 127.0.0.1:{port} http2;")
    stack.start()
    body = gzip.compress(BODY)
    with Http2(port) as connection:
        streams = [connection.begin(BATCH, content_encoding="gzip", **length)
                   for length in ({}, {"content_length": len(body)}) for _ in range(10)]
        for piece in (body[:100], body[100:-1]):
            for stream in streams:
                connection.send(stream, piece)
        for stream in streams:
            connection.send(stream, body[-1:], end=True)
        cut = connection.begin(BATCH, content_encoding="gzip")
        connection.send(cut, body[:-1], end=True)
        connection.wait([*streams, cut])
        assert {connection.statuses[stream] for stream in streams} == {200}
        assert connection.statuses[cut] == 400
    stack.wait_rows(20 * 50)


def test_other_codings_are_refused_with_a_list_of_what_is_taken(stack, api):
    for encoding in ("br", "zstd", "compress", "gzip, gzip", "gzip, identity", "gzip,", "gzipp",
                     "snappy", "*"):
        detail = problem(post(api, gzip.compress(BODY), encoding), 415,
                         "unsupported_content_encoding")
        assert "gzip" in detail and "deflate" in detail
    connection = api.raw(head() + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n")
    assert read_answer(connection)[0] == 415
    connection.close()
    assert stack.redis.stream_length() == 0


@pytest.mark.parametrize("encoding, bits", [("gzip", GZIP), ("deflate", ZLIB), ("deflate", BARE)])
def test_what_is_cut_off_is_refused(stack, api, encoding, bits):
    body = deflated(BODY, bits)
    for size in (0, 1, 2, 9, 10, 11, len(body) // 2, len(body) - 9, len(body) - 1):
        detail = problem(post(api, body[:size], encoding), 400, "bad_compression")
        assert f"byte {size} of {size}: " in detail and encoding in detail, detail
    assert post(api, body, encoding).status == 200
    stack.wait_rows(50)


def test_what_is_damaged_is_refused(stack, api):
    body = gzip.compress(BODY)
    damaged = bytearray(body)
    damaged[len(body) // 2] ^= 0x10
    wrong_sum, wrong_size = bytearray(body), bytearray(body)
    wrong_sum[-8] ^= 1
    wrong_size[-4] ^= 1
    for bad, says in ((bytes(damaged), "byte "), (bytes(wrong_sum), "incorrect data check"),
                      (bytes(wrong_size), "incorrect length check"),
                      (BODY, "incorrect header check"), (deflated(BODY, ZLIB), "header"),
                      (body + b"\n", f"byte {len(body)} of {len(body) + 1}: there is something"),
                      (body + b"\x1f\x8b", "it ends before")):
        assert says in problem(post(api, bad), 400, "bad_compression")
    assert post(api, gzip.compress(b"")).json["code"] == "empty_body"
    assert post(api, gzip.compress(gzip.compress(BODY))).json["code"] != "queued"
    assert post(api, body).status == 200
    stack.wait_rows(50)


@pytest.fixture
def make_limited(make_stack):
    def make(text):
        return make_stack(nginx_edits=[("sluice batch;", f"sluice batch; {text}")]).start()

    return make


def test_the_bound_is_exact(make_limited):
    stack = make_limited("sluice_max_inflated 100000;")
    api = stack.api()
    for encoding, bits in (("gzip", GZIP), ("deflate", BARE)):
        assert post(api, deflated(BODY.ljust(100000), bits), encoding).status == 200
        detail = problem(post(api, deflated(BODY.ljust(100001), bits), encoding), 413,
                         "inflated_too_large")
        assert "100000 bytes" in detail
    # What comes without compression is held to client_max_body_size.
    assert api.post(BATCH, BODY.ljust(100001)).status == 200
    stack.wait_rows(150)


def test_the_ratio_counts_for_large_bodies_only(make_limited):
    stack = make_limited("sluice_max_inflate_ratio 10;")
    api = stack.api()
    dense, beyond = gzip.compress(BODY.ljust(MIB)), gzip.compress(BODY.ljust(MIB + 1))
    assert len(dense) < 5000
    assert post(api, dense).status == 200
    detail = problem(post(api, beyond), 413, "inflated_too_large")
    assert f"10 times its {len(beyond)} bytes" in detail
    # Less dense, it may become larger than that.
    records = [{**RECORD, "log_data": {"x": os.urandom(1400).hex()}} for _ in range(500)]
    body = gzip.compress(json.dumps({"logs": records}).encode())
    assert post(api, body).status == 200
    stack.wait_rows(550)


def test_a_large_honest_batch(stack, api):
    records = [{**RECORD, "message": f"{i} " + "connection refused " * 400} for i in range(1000)]
    body = json.dumps({"logs": records}).encode()
    assert 7 * MIB < len(body) < 8 * MIB
    answer = post(api, gzip.compress(body, 1))
    assert answer.status == 200 and answer.json["count"] == 1000, answer
    stack.wait_rows(1000)


def test_a_key_means_what_the_body_inflates_to(stack, api):
    """A retry that comes compressed otherwise, or not at all, is the same request."""
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        assert api.post(BATCH, BODY, **headers).status == 200
        for encoding, bits in (("gzip", GZIP), ("deflate", ZLIB), ("deflate", BARE)):
            for level in (1, 9):
                assert post(api, deflated(BODY, bits, level), encoding, **headers).status == 200
    other = BODY.replace(b"m49", b"m50")
    assert post(api, gzip.compress(other), **headers).status == 200
    stack.wait_drained()
    assert stack.rows() == 100
    count = "SELECT count(*) FROM logs WHERE message = '{}'"
    assert [stack.postgres.value(count.format(message)) for message in ("m48", "m49", "m50")] == [
        2, 1, 1]


def test_what_is_counted(stack, api):
    good, broken = gzip.compress(BODY), gzip.compress(BODY)[:-1]
    assert post(api, good).status == 200
    problem(post(api, broken), 400, "bad_compression")
    problem(post(api, bomb(10)), 413, "inflated_too_large")
    problem(post(api, good, "br"), 415, "unsupported_content_encoding")
    values = metrics(api)[1]
    for code in ("queued", "bad_compression", "inflated_too_large", "unsupported_content_encoding"):
        assert values[f'sluice_edge_requests_total{{code="{code}"}}'] == 1, code
    assert values["sluice_edge_body_bytes_total"] == len(BODY)
    # A bomb is counted as far as it got.
    assert 2 * len(BODY) < values["sluice_edge_inflated_bytes_total"] <= 8 * MIB + 2 * len(BODY)
    assert values["sluice_edge_compressed_bytes_total"] > len(good) + len(broken)
    assert values["sluice_edge_inflight_bytes"] == 0


class LittleMemory(NginxServer):
    """An nginx whose allocator, AddressSanitizer's, has no block above 2 MB."""

    def environment(self):
        names = super().environment()
        names["ASAN_OPTIONS"] += ":allocator_may_return_null=1:max_allocation_size_mb=2"
        return names


def test_memory_that_runs_out_while_inflating_is_a_503(make_stack):
    stack = make_stack(workers=1, nginx=LittleMemory).start()
    stack.allow("AddressSanitizer failed to allocate 0x")
    api = stack.api()
    records = [{**RECORD, "message": os.urandom(8000).hex() * 2}] * 100
    body = json.dumps({"logs": records}).encode()
    assert len(body) > 3 * MIB
    for encoding, bits in (("gzip", GZIP), ("deflate", BARE)):
        answer = post(api, deflated(body, bits), encoding)
        problem(answer, 503, "no_memory")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert inflight_bytes(api) == 0
        assert post(api, deflated(BODY, bits), encoding).status == 200
    values = metrics(api)[1]
    assert values['sluice_edge_requests_total{code="no_memory"}'] == 2
    # It had come that far.
    assert values["sluice_edge_inflated_bytes_total"] > 2 * MIB
    stack.wait_rows(100)


def test_nothing_is_inflated_while_redis_is_away(stack, api):
    stack.redis.kill()
    wait_until(lambda: api.log().status == 503, 10, "the edge has seen it")
    problem(post(api, gzip.compress(BODY)), 503, "redis_unavailable")
    assert metrics(api)[1]["sluice_edge_inflated_bytes_total"] == 0


# What follows is about time and memory.

SLOW = slow(BODY, MIB - 4096)


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="latin-1") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1]) * 1024


def in_threads(number, work):
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads


def test_bombs_cost_bounded_memory(make_stack):
    stack = make_stack(workers=1).start()
    worker, = stack.nginx.worker_pids()
    bombs = [bomb(10), bomb(1000), bomb(512, 1), deflated(bytes(100 * MIB), GZIP, 1),
             gzip.compress(bomb(600))]
    before, answers = resident_bytes(worker), []

    def attack():
        api = stack.api()
        for _ in range(5):
            answers.extend(post(api, body) for body in bombs)

    for thread in in_threads(8, attack):
        thread.join()
    codes = {answer.json["code"] for answer in answers}
    assert len(answers) == 200
    # The last of the bombs, a bomb in a bomb, is small once inflated, and no JSON.
    assert {"inflated_too_large", "invalid_utf8"} <= codes
    assert codes <= {"inflated_too_large", "invalid_utf8", "too_many_inflight"}
    assert inflight_bytes(stack.api()) == 0
    # sluice_max_inflight, and what AddressSanitizer keeps back of what was freed.
    assert resident_bytes(worker) - before < (64 + 256 + 64) * MIB
    assert stack.api().log().status == 200


def test_more_than_may_be_held_is_a_503(make_stack):
    stack = make_stack(workers=1, nginx_edits=[
        ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_max_inflight bytes=10m;")]).start()
    api = stack.api()
    # Each holds its own 1 MB and room for 8: there is no room for two.
    connections = slow_ones(stack, api)
    answers = [read_answer(connection) for connection in connections]
    statuses = sorted(status for status, _, _ in answers)
    assert statuses[0] == 200 and statuses[-1] == 503, statuses
    for status, body, headers in answers:
        if status == 503:
            assert json.loads(body)["code"] == "too_many_inflight"
            assert 1 <= int(headers["Retry-After"]) <= 60
    for connection in connections:
        connection.close()
    assert inflight_bytes(api) == 0
    assert post(api, SLOW, "deflate").status == 200
    stack.wait_rows(50 * (statuses.count(200) + 1))


def slow_ones(stack, api):
    """Requests that take long to inflate, on their connections; all are there before one is begun,
    for the worker stands still until then."""
    request = with_length(SLOW, b"deflate")
    connections = [api.raw(request[:-1]) for _ in range(6)]
    worker, = stack.nginx.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    try:
        for connection in connections:
            connection.sendall(request[-1:])
    finally:
        os.kill(worker, signal.SIGCONT)
    return connections


def being_inflated(stack, api):
    """Slow ones, of which one at least is being inflated. Who looks too late finds them all answered:
    then others are sent. And how many there were in all."""

    def begun():
        if inflight_bytes(api) > 0:
            return "begun"
        return len(select.select(connections, [], [], 0)[0]) == len(connections) and "over"

    for sent in range(6, 61, 6):
        connections = slow_ones(stack, api)
        if wait_until(begun, 10, "one is being inflated") == "begun":
            return connections, sent
        for connection in connections:
            assert read_answer(connection)[0] == 200
            connection.close()
    raise AssertionError("none is seen while it is inflated")


def test_what_is_not_inflated_in_time_is_a_503(make_stack):
    """Whoever waits longer than sluice_timeout for his turns is refused, and nothing is stored."""
    stack = make_stack(workers=1, nginx_edits=[
        ("sluice_timeout 5s;", "sluice_timeout 100ms;")]).start()
    api = stack.api()
    connections = slow_ones(stack, api)
    for connection in connections:
        status, body, headers = read_answer(connection)
        assert (status, json.loads(body)["code"]) == (503, "too_many_inflight")
        assert 1 <= int(headers["Retry-After"]) <= 60
        connection.close()
    assert inflight_bytes(api) == 0
    # Redis is given more time than that.
    stack.nginx.edit("sluice_timeout 100ms;", "sluice_timeout 5s;")
    stack.nginx.reload()
    api.close()
    assert post(api, gzip.compress(BODY)).status == 200
    stack.wait_rows(50)


@pytest.mark.alone
def test_others_are_served_beside(make_stack):
    """One worker; those who make it inflate what is slow wait for each other, and nobody else.
    Alone: it compares latencies."""
    stack = make_stack(workers=1).start()
    api = stack.api()

    def duration(work):
        start = time.monotonic()
        assert work().status == 200
        return time.monotonic() - start

    alone = statistics.median(duration(lambda: post(api, SLOW, "deflate")) for _ in range(5))
    stopping = threading.Event()

    def attack():
        mine = stack.api()
        while not stopping.is_set():
            assert post(mine, SLOW, "deflate").status == 200

    threads = in_threads(5, attack)
    wait_until(lambda: inflight_bytes(api) > 0, 10, "they are being inflated")
    try:
        plain = statistics.median(duration(api.log) for _ in range(100))
        small = statistics.median(duration(lambda: post(api, gzip.compress(BODY)))
                                  for _ in range(100))
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    # Were they inflated in one go, or one after the other, one would wait for several of them.
    assert plain < alone, (plain, small, alone)
    assert small < 2 * alone, (plain, small, alone)


def test_mirrors(make_stack):
    """What is inflated may be a subrequest's body."""
    stack = make_stack(workers=1)
    sizes = "client_max_body_size 1m; client_body_buffer_size 1m;"
    proxy = f"proxy_pass http://127.0.0.1:{stack.nginx.port}{BATCH};"
    stack.nginx.edit("        location / {\n", f"""
        location = /copied {{ sluice batch; mirror /copy; {sizes} }}
        location = /copy {{ internal; {proxy} }}
        location = /from {{ {proxy} mirror /to; {sizes} }}
        location = /to {{ internal; sluice batch; {sizes} }}
        location / {{
""")
    stack.start()
    api = stack.api()
    for path in ("/copied", "/from"):
        assert post(api, gzip.compress(BODY), "gzip", path).status == 200
        assert post(api, SLOW, "deflate", path).status == 200
    stack.wait_rows(8 * 50)


def test_one_byte_at_a_time(stack, api):
    body = gzip.compress(BODY)
    slowly = api.raw(head() + b"Transfer-Encoding: chunked\r\n\r\n")
    slowly.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in body:
        slowly.sendall(b"1\r\n%c\r\n" % byte)
        assert api.get("/health/live").status == 200
    assert inflight_bytes(api) == 0
    slowly.sendall(b"0\r\n\r\n")
    assert read_answer(slowly)[0] == 200
    slowly.close()
    stack.wait_rows(50)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_clients_leave_while_they_are_inflated(make_stack):
    stack = make_stack(workers=1).start()
    api = stack.api()
    for leave in (reset, lambda connection: connection.close()):
        connections, _ = being_inflated(stack, api)
        for connection in connections:
            leave(connection)
        wait_until(lambda: inflight_bytes(api) == 0, 10, "nothing is held any more")
    assert metrics(api)[1]["sluice_edge_requests_abandoned_total"] > 0
    assert post(api, SLOW, "deflate").status == 200


def test_a_worker_that_leaves_finishes_what_it_inflates(make_stack):
    stack = make_stack(workers=1).start()
    api = stack.api()
    connections, sent = being_inflated(stack, api)
    stack.nginx.reload()
    for connection in connections:
        assert read_answer(connection)[0] == 200
        connection.close()
    wait_until(lambda: not stack.nginx.leaving_worker_pids(), 10, "the old worker is gone")
    stack.wait_rows(50 * sent)


def test_a_worker_that_may_not_finish_drops_what_it_inflates(make_stack):
    stack = make_stack(workers=1, nginx_edits=[
        ("worker_shutdown_timeout 30s;", "worker_shutdown_timeout 10ms;")]).start()
    api = stack.api()

    def some_are_dropped():
        """Unless all were inflated before the master had come as far as to tell the worker."""
        connections, _ = being_inflated(stack, api)
        stack.nginx.reload()
        wait_until(lambda: not stack.nginx.leaving_worker_pids(), 10, "the old worker is gone")
        answered = 0
        for connection in connections:
            with pytest.raises((http.client.HTTPException, OSError)):
                while True:
                    read_answer(connection)
                    answered += 1
            connection.close()
        return answered < len(connections)

    assert any(some_are_dropped() for _ in range(5))
    api.close()
    assert inflight_bytes(api) == 0
    assert post(api, gzip.compress(BODY)).status == 200
