"""A client that is in the middle of a long upload gets to read why it is refused.

It goes on writing whatever happens, and reads when it is done: had nginx closed the connection in
the meantime, a RST would have taken the answer away."""

import http.client
import json
import socket

import pytest
from harness.http2 import Http2
from harness.waiting import free_port, wait_until

SIZE = 600 * 1024
PIECE = 16 * 1024
BODY = b'{"logs":[{"device_id":"d","log_level":"INFO","message":"m"}]}'.ljust(SIZE)
PIECES = [BODY[begin : begin + PIECE] for begin in range(0, SIZE, PIECE)]
PATH = "/api/logs/batch"


@pytest.fixture
def stack(make_stack):
    # One worker: whoever has an answer from it knows that it has read what came before.
    stack = make_stack(workers=1)
    stack.http2_port = free_port()
    stack.nginx.edit("backlog=4096;", "backlog=4096;\n        "
                     f"listen 127.0.0.1:{stack.http2_port} http2;")
    # It would see, sooner or later, that Redis is full, and leave nothing for the breaker to do.
    stack.nginx.edit("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed off;")
    return stack.start()


def nothing():
    pass


def upload(stack, framing, connection, between=nothing, **headers):
    """Answers' status, headers and body; between is called when half of the body is sent."""
    api = stack.api()
    headers = {"Content-Type": "application/json", "Connection": connection, **headers}
    if framing == "length":
        headers["Content-Length"] = SIZE
    else:
        headers["Transfer-Encoding"] = "chunked"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with api.raw(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()) as connection:
        for number, piece in enumerate(PIECES):
            connection.sendall(piece if framing == "length"
                               else b"%x\r\n%s\r\n" % (len(piece), piece))
            api.get("/health/live")
            if number == len(PIECES) // 2:
                between()
        if framing == "chunked":
            connection.sendall(b"0\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = json.loads(response.read())
        check_nothing_follows(connection, response.will_close)
        return response.status, response.headers, body


def check_nothing_follows(connection, will_close):
    """No part of the body was taken for a request."""
    if not will_close:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    connection.shutdown(socket.SHUT_WR)
    assert b"HTTP" not in connection.makefile("rb").read()


def upload_http2(stack, between=nothing, **headers):
    api = stack.api()
    with Http2(stack.http2_port) as connection:
        stream = connection.begin(PATH, **headers)
        for number, piece in enumerate(PIECES):
            connection.send(stream, piece, end=number == len(PIECES) - 1)
            api.get("/health/live")
            if number == len(PIECES) // 2:
                between()
        connection.wait([stream])
        return connection.statuses[stream], {}, json.loads(connection.bodies[stream])


def check_uploads(stack, status, code, between=nothing, after=nothing, **headers):
    """In every framing, on connections that are to be kept and others."""
    for connection in ("keep-alive", "close"):
        for framing in ("length", "chunked"):
            got, got_headers, body = upload(stack, framing, connection, between, **headers)
            assert (got, body["code"]) == (status, code), (framing, connection)
            if status == 503:
                assert 1 <= int(got_headers["Retry-After"]) <= 60
            after()
    got, _, body = upload_http2(
        stack, between, **{name.lower().replace("-", "_"): headers[name] for name in headers})
    assert (got, body["code"]) == (status, code)
    after()


def test_what_its_head_says_is_refused(stack):
    check_uploads(stack, 415, "unsupported_content_encoding", **{"Content-Encoding": "br"})
    check_uploads(stack, 400, "bad_idempotency_key", **{"Idempotency-Key": "k" * 300})
    check_uploads(stack, 425, "too_early", **{"Early-Data": "1"})
    assert stack.rows() == 0


def test_redis_is_not_durable_enough(stack):
    stack.allow("redis is less durable")
    stack.redis.client.config_set("appendfsync", "everysec")
    wait_until(lambda: stack.api().log().status == 503, 10, "the edge has seen it")
    check_uploads(stack, 503, "durability_below_minimum")


def test_the_breaker_is_open(stack):
    stack.redis.client.config_set("maxmemory", 1)
    assert stack.api().log().status == 503
    check_uploads(stack, 503, "breaker_open")


def test_redis_is_down(stack):
    stack.redis.kill()
    wait_until(lambda: stack.api().log().status == 503, 10, "the edge has seen it")
    check_uploads(stack, 503, "redis_unavailable")


def test_redis_goes_down_meanwhile(stack):
    def come_back():
        stack.redis.start()
        wait_until(lambda: stack.api().log().status == 200, 10, "POSTs are taken again")

    check_uploads(stack, 503, "redis_unavailable", stack.redis.kill, come_back)
