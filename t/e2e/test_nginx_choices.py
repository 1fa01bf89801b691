"""The choices of the shipped nginx.conf: each is valid when it is made, and does what it says."""

import base64
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import socket
import ssl
import subprocess
import threading

import pytest

from harness import choices
from harness.waiting import free_port, wait_until

RECORD = '{"device_id":"d","log_level":"INFO","message":"m"}'
JSON = {"Content-Type": "application/json"}
PAGE = "/api/logs/pump-7"


def make_tls(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
         "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"],
        check=True, capture_output=True)


def make_readers(folder):
    done = subprocess.run(["openssl", "passwd", "-apr1", "sesame"], check=True, capture_output=True,
                          text=True)
    (folder / "readers").write_text(f"ali:{done.stdout}")


@pytest.fixture
def choose(make_stack):
    """A stack, not started, with these choices made, and with files and ports for them."""

    def chosen(*names, workers=2):
        stack = make_stack(workers=workers)
        nginx = stack.nginx
        nginx.conf = choices.make(nginx.conf, *names)
        make_tls(stack.folder)
        make_readers(stack.folder)
        stack.tls_port, stack.auth_port = free_port(), free_port()
        for shipped, here in (("/etc/sluice/tls", str(stack.folder)),
                              ("/etc/sluice/readers", f"{stack.folder}/readers"),
                              ("listen 443 ", f"listen 127.0.0.1:{stack.tls_port} "),
                              ("127.0.0.1:18730", f"127.0.0.1:{stack.auth_port}")):
            nginx.edit(shipped, here)
        return stack

    return chosen


def test_there_are_choices_and_each_has_a_name():
    assert None not in choices.NAMES
    assert len(choices.NAMES) > 10


@pytest.mark.parametrize("name", choices.NAMES)
def test_each_choice_is_valid(choose, name):
    stack = choose(name)
    assert stack.nginx.check()[0] == 0, stack.nginx.check()[1]


def test_all_choices_are_valid_together(choose):
    stack = choose(*choices.NAMES)
    status, said = stack.nginx.check()
    assert status == 0 and "[warn]" not in said, said


def request(connection, method, path, body=None, **headers):
    connection.request(method, path, body, {**JSON, **headers})
    answer = connection.getresponse()
    answer.read()
    return answer


def plain(stack, source="127.0.0.1"):
    return http.client.HTTPConnection("127.0.0.1", stack.nginx.port, timeout=10,
                                      source_address=(source, 0))


def tls_context(stack):
    return ssl.create_default_context(cafile=stack.folder / "fullchain.pem")


def test_tls(choose):
    stack = choose("tls").start()
    connection = http.client.HTTPSConnection("localhost", stack.tls_port, timeout=10,
                                             context=tls_context(stack))
    assert request(connection, "POST", "/api/log", RECORD).status == 200
    assert connection.sock.version() == "TLSv1.3"
    assert request(connection, "GET", "/api/logs/d").status == 200
    connection.close()
    connection = http.client.HTTPConnection("localhost", stack.tls_port, timeout=10)
    connection.request("GET", "/api/logs/d")
    answer = connection.getresponse()
    problem = json.load(answer)
    assert (answer.status, problem["code"]) == (400, "bad_request") and "https" in problem["detail"]
    stack.wait_rows(1)


def test_tls_speaks_http2(choose):
    stack = choose("tls").start()
    done = subprocess.run(
        ["curl", "-sS", "--http2", "--cacert", stack.folder / "fullchain.pem", "-o", "/dev/null",
         "-w", "%{http_code} %{http_version}", "-H", "Content-Type: application/json", "-d", RECORD,
         f"https://localhost:{stack.tls_port}/api/log"],
        capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("200 2", "")
    stack.wait_rows(1)


def pass_on_late(stack, condition):
    """The port of a way to nginx on which its bytes are kept back until a condition holds: the end
    of the handshake, for which the client needs them, cannot overtake what it sent before."""
    ours = socket.create_server(("127.0.0.1", 0))

    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def run():
        with ours, ours.accept()[0] as client, \
                socket.create_connection(("127.0.0.1", stack.tls_port)) as server:
            threading.Thread(target=copy, args=(client, server), daemon=True).start()
            wait_until(condition, 20)
            copy(server, client)

    threading.Thread(target=run, daemon=True).start()
    return ours.getsockname()[1]


def resume(port, *more, wait_for=b"HTTP/1.1"):
    """A connection by openssl, with what it said."""
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-quiet",
         "-no_ign_eof", *more],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said = b""
    try:
        while wait_for not in said:
            piece = client.stdout.read1()
            assert piece, f"openssl ended, and said {said}"
            said += piece
    finally:
        client.kill()
        client.communicate()
    return said


def test_early_data_is_refused_for_now(choose):
    """Sent again once the handshake is over it is taken: 425 says just that."""
    stack = choose("tls", workers=1)
    stack.nginx.edit("ssl_protocols ", "ssl_early_data on; ssl_protocols ")
    stack.start()
    head = "POST /api/log HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    post = stack.folder / "post"
    post.write_text(f"{head}Content-Length: {len(RECORD)}\r\n\r\n{RECORD}")
    session = stack.folder / "session"
    first = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{stack.tls_port}", "-tls1_3", "-quiet",
         "-sess_out", session],
        input=f"{head}Connection: close\r\nContent-Length: {len(RECORD)}\r\n\r\n{RECORD}".encode(),
        capture_output=True, timeout=20, check=False)
    assert b"200 OK" in first.stdout and session.exists()
    posts = stack.folder / "log" / "nginx-posts.log"
    late = pass_on_late(stack, lambda: len(posts.read_text().splitlines()) == 2)
    said = resume(late, "-sess_in", session, "-early_data", post, wait_for=b"too_early")
    assert b"HTTP/1.1 425" in said
    stack.wait_rows(1)


def test_who_may_read_by_address(choose):
    stack = choose("read-address").start()
    assert request(plain(stack), "GET", PAGE).status == 200
    stranger = plain(stack, "127.0.0.2")
    for path in (PAGE, PAGE, "/api/logs/other"):
        assert request(stranger, "GET", path).status == 403
    assert request(stranger, "POST", "/api/log", RECORD).status == 200
    assert request(stranger, "GET", "/health/ready").status == 200
    stack.wait_rows(1)


def test_who_may_read_by_password(choose):
    stack = choose("read-password").start()
    connection = plain(stack)

    def read(credentials=None):
        headers = {}
        if credentials:
            token = base64.b64encode(credentials.encode()).decode()
            headers = {"Authorization": f"Basic {token}"}
        return request(connection, "GET", PAGE, **headers)

    refused = read()
    assert refused.status == 401 and refused.headers["WWW-Authenticate"] == 'Basic realm="logs"'
    assert read("ali:sesame").status == 200
    wait_until(lambda: read("ali:sesame").headers["X-Cache-Status"] == "HIT", 5, "it is in the cache")
    for credentials in (None, "ali:open", "eve:sesame"):
        assert read(credentials).status == 401
    assert request(connection, "POST", "/api/log", RECORD).status == 200
    stack.wait_rows(1)


class Doorkeeper(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.headers["X-Original-URI"], self.headers["Content-Length"]))
        token = self.headers["X-Token"]
        self.send_response({"good": 204, None: 401}.get(token, 403))
        self.send_header("X-User", "ali")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_who_may_read_by_asking(choose):
    stack = choose("read-request").start()
    stack.allow(r"connect\(\) failed .* subrequest: \"/auth\"")
    stack.allow(r"auth request unexpected status: 502")
    connection = plain(stack)
    connection.request("GET", PAGE, headers={"X-Token": "good"})  # nobody is there
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["code"]) == (503, "server_unavailable")
    assert answer.headers["Retry-After"] == "2"
    connection.request("GET", "/api/logs/stream", headers={"X-Token": "good"})
    assert connection.getresponse().read() == b"retry: 2000\n\n"
    keeper = http.server.ThreadingHTTPServer(("127.0.0.1", stack.auth_port), Doorkeeper)
    keeper.asked = []
    threading.Thread(target=keeper.serve_forever, daemon=True).start()
    try:
        for token, status in (("good", 200), ("bad", 403), (None, 401), ("good", 200)):
            headers = {"X-Token": token} if token else {}
            assert request(connection, "GET", PAGE, **headers).status == status
        assert keeper.asked == [(PAGE, None)] * 4
        assert request(connection, "GET", "/auth").status == 404
        assert request(connection, "POST", "/api/log", RECORD).status == 200
        assert len(keeper.asked) == 4
    finally:
        keeper.shutdown()
        keeper.server_close()
    stack.wait_rows(1)


def test_real_ip(choose):
    stack = choose("real-ip", workers=1)  # each would log in its own time
    stack.nginx.edit("set_real_ip_from 10.0.0.0/8;", "set_real_ip_from 127.0.0.1;")
    stack.start()
    spoofed = {"X-Forwarded-For": "198.51.100.9, 203.0.113.5, 127.0.0.1"}
    for source in ("127.0.0.1", "127.0.0.2"):
        assert request(plain(stack, source), "POST", "/api/log", RECORD, **spoofed).status == 200
    clients = [line["client"] for line in stack.nginx.logged_posts(2)]
    assert clients == ["203.0.113.5", "127.0.0.2"]
    stack.wait_rows(2)


@pytest.mark.parametrize("name, edits", [
    ("volume", [("burst=40m", "burst=1")]),
    ("devices", [("burst=5000 dry_run", "burst=1"), ("rate=1000r/s", "rate=1r/m")]),
])
def test_more_limits(choose, name, edits):
    stack = choose(name, workers=1)  # each would log in its own time
    for edit in edits:
        stack.nginx.edit(*edit)
    stack.start()
    for _ in range(2):
        answer = request(plain(stack), "POST", "/api/log", RECORD)
    assert answer.status in (413, 429)
    assert stack.nginx.logged_posts(2)[1]["limit"] == name


def test_limits_of_requests(choose):
    """nginx' own say in the shape of all errors that it is they."""
    stack = choose("requests")
    stack.nginx.edit("rate=5000r/s", "rate=1r/m")
    stack.nginx.edit("burst=5000 nodelay", "burst=1 nodelay")
    stack.start()
    for source, method, path in (("127.0.0.2", "POST", "/api/log"), ("127.0.0.3", "GET", "/api/logs"),
                                 ("127.0.0.4", "GET", "/api/logs/stream"),
                                 ("127.0.0.5", "GET", "/openapi.json")):
        for _ in range(2):
            assert request(plain(stack, source), "GET", "/health").status == 200
        connection = plain(stack, source)
        connection.request(method, path, RECORD if method == "POST" else None, JSON)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["code"]) == (429, "rate_limited"), path
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert request(plain(stack, "127.0.0.6"), "POST", "/api/log", RECORD).status == 200
    stack.wait_rows(1)


def open_files(pid):
    for file in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(file)


def test_rotated_logs_miss_no_post(stack, api):
    conf = stack.folder / "logrotate.conf"
    subprocess.run([choices.ROOT / "scripts" / "render-conf", choices.ROOT / "conf" / "logrotate.conf",
                    f"state={stack.folder}"], check=True, stdout=conf.open("w"))
    logs = stack.folder / "log"
    api.log("before")
    stack.nginx.logged_posts(1)
    subprocess.run(["logrotate", "-f", "-s", stack.folder / "rotated", conf], check=True)
    before = str(logs / "nginx-posts.log.1")
    wait_until(lambda: all(before not in open_files(pid) for pid in stack.nginx.worker_pids()), 5,
               "all workers have opened the new log")
    api.log("after")
    stack.nginx.logged_posts(1)
    assert len((logs / "nginx-posts.log.1").read_text().splitlines()) == 1
    stack.wait_rows(2)
