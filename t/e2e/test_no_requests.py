"""What is no request that nginx understands: answered in the shape of all errors, and the last of its
connection."""

import json

import pytest

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
    "length": (POST + b"Content-Length: -3\r\n\r\n", "400 bad_request"),
    "chunk": (POST + CHUNKED + b"\r\n5\r\n{\"a\":\r\nZZ\r\n", "400 bad_request"),
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
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, code = expected.split()
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 " + status.encode()), head
    assert (problem["status"], problem["code"]) == (int(status), code)
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert b"\r\nConnection: close" in head and b"nosniff" in head
    assert api.log().status == 200


def test_these_answers_are_no_pages(api):
    for status in (400, 414, 431, 501, 505):
        assert api.get(f"/problems/{status}").json["code"] == "not_found"
