"""HTTP/2 clients that reset streams and drop connections, beside others that do not."""

import random
import threading

import pytest
from harness.http2 import Http2, Leaver
from harness.load import Load
from harness.waiting import free_port, wait_until
from test_limits import PATIENT

BODY = b'{"device_id":"d","log_level":"INFO","message":"m"}'


@pytest.fixture
def make_http2(make_stack):
    def make(*nginx_edits):
        stack = make_stack(nginx_edits=nginx_edits)
        stack.http2_port = free_port()
        stack.nginx.edit("backlog=4096;", "backlog=4096;\n        "
                         f"listen 127.0.0.1:{stack.http2_port} http2;")
        return stack.start()

    return make


def metric(stack, name):
    text = stack.api().get("/metrics").body.decode()
    return int(text.partition(f"\nsluice_edge_{name} ")[2].split()[0])


def check_nothing_is_held(stack):
    for name in ("inflight_requests", "inflight_bytes", "inflight_frames"):
        wait_until(lambda name=name: metric(stack, name) == 0, 10, f"{name} is 0")


def test_streams_that_wait_for_redis(make_http2):
    """Some are reset and some go with their connection; the rest is answered."""
    stack = make_http2(PATIENT)
    rng = random.Random(5)
    stack.redis.pause()
    connections = [Http2(stack.http2_port) for _ in range(8)]
    waiting = {connection: [connection.post("/api/log", BODY) for _ in range(40)]
               for connection in connections}
    wait_until(lambda: metric(stack, "inflight_requests") == 320, 10, "all of them wait")
    for connection, streams in waiting.items():
        for stream in rng.sample(streams, 15):
            connection.reset(stream)
            streams.remove(stream)
    for connection in connections[:2]:
        connection.drop()
        del waiting[connection]
    wait_until(lambda: metric(stack, "inflight_requests") == 150, 10, "150 still wait")
    stack.redis.resume()
    for connection, streams in waiting.items():
        connection.wait(streams)
        assert [connection.statuses[stream] for stream in streams] == [200] * 25
        connection.socket.close()
    check_nothing_is_held(stack)
    assert metric(stack, "requests_abandoned_total") == 170
    stack.wait_drained()
    assert 150 <= stack.rows() <= 320


def test_streams_that_leave_at_any_moment(make_http2):
    stack = make_http2()
    load = Load(stack, threads=2)
    leavers = [Leaver(stack.http2_port, random.Random(seed), "cut") for seed in range(4)]
    threads = [threading.Thread(target=leaver.run, args=(250,)) for leaver in leavers]
    workers = stack.nginx.worker_pids()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.stop()
    assert load.answered > 0 and not load.lost and not load.closed
    assert stack.nginx.worker_pids() == workers
    check_nothing_is_held(stack)
    for leaver in leavers:
        assert not leaver.broken and not leaver.refused, (leaver.broken, leaver.refused)
    rows = stack.postgres.query("SELECT message FROM logs WHERE device_id = 'cut'")
    stored = {message for message, in rows}
    assert len(stored) == len(rows), "none is there twice"
    acknowledged = {message for leaver in leavers for message in leaver.stored}
    assert len(acknowledged) > 100
    assert acknowledged <= stored
    assert stored - acknowledged <= {message for leaver in leavers for message in leaver.unknown}
