"""Bodies of every framing: lengths, chunks, Expect, HTTP/2, pipelining; in any pieces."""

import http.client
import json
import select
import shutil
import socket
import subprocess
import threading

import pytest
from harness.waiting import wait_until

RECORD = {"device_id": "d", "log_level": "INFO", "message": "m" * 40}
HEAD = b"POST /api/logs/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
MIB = 1024 * 1024


def batch(records):
    return json.dumps({"logs": [RECORD] * records}).encode()


def read_answer(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read(), response.headers


def chunked(body, size):
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000, MIB])
def test_chunks_of_any_size(stack, api, size):
    """One byte a chunk is six on the wire: what nginx buffers is not what counts."""
    body = batch(900)
    connection = api.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, size))
    status, answer, _ = read_answer(connection)
    assert status == 200, answer
    assert json.loads(answer)["count"] == 900
    # The connection is good for the next one.
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(batch(1)), batch(1)))
    assert read_answer(connection)[0] == 200
    connection.close()
    stack.wait_rows(901)


def test_byte_by_byte(stack, api):
    body = batch(1)
    connection = api.raw(b"")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body):
        connection.send(bytes([byte]))
    assert read_answer(connection)[0] == 200
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for byte in chunked(body, 3):
        connection.send(bytes([byte]))
    assert read_answer(connection)[0] == 200
    connection.close()
    stack.wait_rows(2)


def padded(size):
    body = batch(1)
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("size", [8191, 8192, 8193, MIB - 1, MIB])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_sizes_up_to_the_limit(stack, api, size, framing):
    body = padded(size)
    if framing == "length":
        request = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    else:
        request = b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 65536)
    connection = api.raw(HEAD + request)
    status, answer, _ = read_answer(connection)
    assert status == 200, answer
    connection.close()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_one_byte_too_many_is_a_413_that_can_be_read(stack, api, framing):
    """The client is in the middle of its upload when it is refused, and still gets to read why."""
    body = padded(8 * MIB)
    connection = api.raw(HEAD + (b"Content-Length: %d\r\n\r\n" % len(body)
                                 if framing == "length" else b"Transfer-Encoding: chunked\r\n\r\n"))
    try:
        connection.sendall(body if framing == "length" else chunked(body, 65536))
    except OSError:
        pass
    status, answer, headers = read_answer(connection)
    assert status == 413
    assert json.loads(answer)["code"] == "body_too_large"
    assert headers["Content-Type"] == "application/problem+json"
    connection.close()


@pytest.mark.parametrize("begin, more", [(b"1;", b"x"), (b"", b"0"), (b"1\r\n{\r\n0\r\nX: ", b"x")])
def test_what_is_all_framing_is_cut_off(stack, api, begin, more):
    """An extension of a chunk, a size, or a trailer that does not end has no byte of a body."""
    with api.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + begin) as connection:
        for megabytes in range(1, 20):
            connection.sendall(more * MIB)
            # From then on it has more than it takes, however late it reads that.
            if select.select([connection], [], [], 0.2 if megabytes < 9 else 20)[0]:
                break
        assert 8 <= megabytes < 12
        status, answer, _ = read_answer(connection)
        assert (status, json.loads(answer)["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("senders", [1, 8])
def test_a_worker_that_leaves_reads_tiny_chunks(make_stack, senders):
    """More than it reads in a turn, so that it is not only a socket that it waits for."""
    stack = make_stack(workers=1).start()
    head, body = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n", chunked(batch(900), 1)[3:]
    connections = [stack.api().raw(head) for _ in range(senders)]
    stack.nginx.reload()
    wait_until(stack.nginx.leaving_worker_pids, 10, "the old worker is leaving")
    threads = [threading.Thread(target=connection.sendall, args=(body,))
               for connection in connections]
    for thread in threads:
        thread.start()
    for connection in connections:
        assert read_answer(connection)[0] == 200
        connection.close()
    for thread in threads:
        thread.join()
    stack.wait_rows(senders * 900)


def test_expect_continue(stack, api):
    body = batch(3)
    connection = api.raw(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
    connection.sendall(body)
    assert read_answer(connection)[0] == 200
    connection.close()
    stack.wait_rows(3)


def test_pipelined_mix_of_good_and_bad(stack, api):
    """A thousand requests in one segment, answered in their order."""
    good = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(batch(1)), batch(1))
    bad = HEAD + b"Content-Length: 2\r\n\r\n{}"
    broken = HEAD + b"Content-Length: 1\r\n\r\n{"
    connection = api.raw(b"".join([good, bad, broken, good, good] * 200))
    # One reader for all: each HTTPResponse would buffer what belongs to the next.
    data = b""
    while data.count(b"HTTP/1.1 ") < 1000 or not data.endswith(b"}"):
        piece = connection.recv(65536)
        assert piece, len(data)
        data += piece
    statuses = [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 422, 400, 200, 200] * 200
    connection.close()
    stack.wait_rows(600)


def test_early_data_is_refused(stack, api):
    answer = api.post("/api/log", RECORD, **{"Early-Data": "1"})
    assert answer.status == 425
    assert answer.json["code"] == "too_early"


@pytest.fixture
def tls_stack(make_stack, tmp_path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )
    stack = make_stack()
    stack.nginx.edit("backlog=4096;", "backlog=4096 ssl http2;\n        ssl_certificate "
                     f"{tmp_path}/cert.pem;\n        ssl_certificate_key {tmp_path}/key.pem;")
    for part in stack.parts[:-1]:
        part.start()
    stack.nginx.launch()
    wait_until(lambda: curl(stack, "/health/ready").stdout.endswith("200"), 15, "it is ready")
    return stack


def curl(stack, path, *options, data=None):
    return subprocess.run(
        ["curl", "-sk", "-m", "20", "-w", "%{http_version} %{http_code}", "-o", "-", *options,
         f"https://127.0.0.1:{stack.nginx.port}{path}"],
        input=data, capture_output=True, text=True, check=False,
    )


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_tls_and_http2(tls_stack, version):
    body = batch(200).decode()
    done = curl(tls_stack, "/api/logs/batch", version, "-H", "Content-Type: application/json",
                "--data-binary", "@-", data=body)
    assert done.stdout.endswith("1.1 200" if version == "--http1.1" else "2 200"), done
    done = curl(tls_stack, "/api/logs/batch", version, "-H", "Content-Type: application/json",
                "-H", "Transfer-Encoding: chunked" if version == "--http1.1" else "X-Y: z",
                "-T", "-", "-X", "POST", data=body)
    assert done.stdout.endswith("200"), done
    done = curl(tls_stack, "/api/log", version, "-H", "Content-Type: application/json",
                "-d", '{"device_id":""}')
    assert done.stdout.endswith("422"), done
    tls_stack.wait_rows(400)


@pytest.mark.skipif(not shutil.which("h2load"), reason="nghttp2-client is not installed")
def test_http2_under_load(tls_stack, tmp_path):
    (tmp_path / "body.json").write_bytes(json.dumps(RECORD).encode())
    done = subprocess.run(
        ["h2load", "-n", "3000", "-c", "10", "-m", "20", "-d", tmp_path / "body.json",
         "-H", "content-type: application/json", f"https://127.0.0.1:{tls_stack.nginx.port}/api/log"],
        capture_output=True, text=True, check=True, timeout=120,
    )
    assert "3000 2xx, 0 3xx, 0 4xx, 0 5xx" in done.stdout, done.stdout
    tls_stack.wait_rows(3000)
