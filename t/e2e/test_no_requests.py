"""What is no request that nginx understands: answered in the shape of all errors, and the last of its
connection."""

import json
import socket

import pytest

from harness.waiting import wait_until

HOST = b" HTTP/1.1\r\nHost: x\r\n"
GET, POST = b"GET /api/logs" + HOST, b"POST /api/log" + HOST
CHUNKED = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
CASES = {
    "no line": (b"GARBAGE\r\n\r\n", "400 bad_request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), "400 bad_request"),
    "method in small letters": (b"get /api/logs" + HOST + b"\r\n", "400 bad_request"),
    "no host": (b"POST /api/log HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "400 bad_request"),
    "percent sign": (b"GET /api/%zz" + HOST + b"\r\n", "400 bad_request"),
    "above the root": (b"GET /../x" + HOST + b"\r\n", "400 bad_request"),
    "two lengths": (POST + CHUNKED + b"Content-Length: 3\r\n\r\n0\r\n\r\n", "400 bad_request"),
    "two lengths, of much": (POST + b"Content-Length: 3000000\r\n" + CHUNKED + b"\r\n",
                             "400 bad_request"),
    "length": (POST + b"Content-Length: -3\r\n\r\n", "400 bad_request"),
    "chunk": (POST + CHUNKED + b"\r\n5\r\n{\"a\":\r\nZZ\r\n", "400 bad_request"),
    "chunk of a question": (GET + CHUNKED + b"\r\nZZ\r\n", "400 bad_request"),
    "chunk of a tail": (b"GET /api/logs/stream" + HOST + CHUNKED + b"\r\nZZ\r\n", "400 bad_request"),
    "chunk of a POST where one reads": (b"POST /api/logs" + HOST + CHUNKED + b"\r\nZZ\r\n",
                                        "400 bad_request"),
    "chunk where nothing is": (b"POST /nowhere" + HOST + CHUNKED + b"\r\nZZ\r\n", "400 bad_request"),
    "long line": (b"GET /" + b"a" * 9000 + HOST + b"\r\n", "414 uri_too_long"),
    "long header": (GET + b"X: " + b"a" * 9000 + b"\r\n\r\n", "431 headers_too_large"),
    "long headers": (GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 6000) for n in range(6)) + b"\r\n",
                     "431 headers_too_large"),
    "encoding": (POST + b"Transfer-Encoding: zip\r\n\r\n", "501 unknown_transfer_encoding"),
    "version": (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "505 unknown_http_version"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_request(stack, api, case):
    sent, expected = CASES[case]
    with api.raw(sent) as connection:
        connection.shutdown(socket.SHUT_WR)  # or nginx waits for what was announced
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, code = expected.split()
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 " + status.encode()), head
    assert (problem["status"], problem["code"]) == (int(status), code)
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert b"\r\nConnection: close" in head and b"nosniff" in head
    assert api.log().status == 200


def test_a_post_that_breaks_is_logged_as_one(stack, api):
    for path in (b"/api/log", b"/api/logs/batch"):
        with api.raw(b"POST " + path + HOST + CHUNKED + b"\r\n5\r\n{\"a\":\r\nZZ\r\n") as connection:
            assert connection.recv(12) == b"HTTP/1.1 400"
    api.get("/nowhere")
    lines = stack.nginx.logged_posts(2)
    assert sorted((line["path"], line["status"]) for line in lines) == [
        ("/api/log", 400), ("/api/logs/batch", 400)]
    access_log = stack.folder / "log" / "nginx-access.log"
    wait_until(lambda: "GET /nowhere" in access_log.read_text(), 5, "what is no POST is logged")
    assert "POST" not in access_log.read_text()


def test_these_answers_are_no_pages(api):
    for status in (400, 414, 431, 497, 501, 505):
        assert api.get(f"/problems/{status}").json["code"] == "not_found"
    for part in ("load", "serve"):
        assert api.get(f"/metrics/{part}").json["code"] == "not_found"


@pytest.mark.parametrize("path", ["/api/logs", "/metrics/daemon", "/openapi.json"])
def test_a_condition_that_does_not_hold(api, path):
    answer = api.get(path, **{"If-Match": '"x"'})
    assert (answer.status, answer.json["code"]) == (412, "precondition_failed")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]


def test_a_part_behind_the_end_of_a_file(api):
    size = len(api.get("/openapi.json").body)
    answer = api.get("/openapi.json", Range=f"bytes={size}-")
    assert (answer.status, answer.json["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
