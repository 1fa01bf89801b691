"""scripts/stress: it tells the truth about what became of its records, also where that is bad."""

import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import threading

import pytest

from harness.build import BUILD
from harness.limits import SLOW, limited
from harness.waiting import wait_until


@pytest.fixture
def stack(make_stack):
    stack = make_stack()
    stack.start()
    stack.wait_partitions()
    return stack


def start(stack, *options, **more):
    return start_at(stack.nginx.port, *options, **more)


def start_at(port, *options, report="-", **more):
    easy = [] if "--goal-rate" in options else ["--goal-rate", "1"]
    return subprocess.Popen(
        [BUILD / "t" / "stress" / "sluice-stress", f"http://127.0.0.1:{port}",
         "--goal-p95", "60000", "--json", report, *easy, *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def finish(process, reported=True):
    output, errors = process.communicate(timeout=120)
    return process.returncode, json.loads(output) if reported and output else None, errors


def run(stack, *options):
    return finish(start(stack, *options))


@pytest.mark.parametrize("options", [
    ("--devices", 20, "--records", 15),
    ("--devices", 7, "--records", 250, "--batch", 100),
    ("--devices", 3, "--records", 200, "--batch", 40, "--gzip"),
])
def test_all_is_well(stack, options):
    code, report, errors = run(stack, *options)
    assert (code, report["good"]) == (0, True), (report, errors)
    sent = options[1] * options[3]
    assert report["records"]["sent"] == report["records"]["acknowledged"] == sent
    assert report["stored"]["records"] == sent == stack.rows()
    assert {report["stored"][name]
            for name in ("lost", "twice", "refused_and_there", "changed")} == {0}
    latency = report["latency_ms"]
    rising = [latency[name] for name in ("min", "p50", "p95", "p99", "max")]
    assert rising == sorted(rising) and rising[0] > 0
    devices = stack.postgres.query("SELECT device_id, count(*)::int FROM logs GROUP BY 1")
    assert len(devices) == options[1] and {count for _, count in devices} == {options[3]}


def test_goals_that_are_not_met_are_told(stack):
    code, report, _ = run(stack, "--devices", 2, "--records", 10, "--goal-rate", 10**8)
    assert (code, report["good"]) == (1, False)
    assert report["goals"]["records_per_second"] == {"wanted": 10**8, "met": False}
    assert report["goals"]["p95_ms"]["met"] is True
    assert report["stored"]["lost"] == 0


def test_a_rate_is_kept(stack):
    """More than it is not asked for."""
    code, report, errors = run(stack, "--rate", 200, "--devices", 4, "--records", 150,
                               "--connections", 4, "--goal-rate", 10**6)
    assert report["records"]["acknowledged"] == 600, errors
    # Where the machine stands still at the end that is told.
    assert 2.9 <= report["seconds"] < 12
    met = 600 / report["seconds"] >= 0.99 * 200
    assert report["goals"]["records_per_second"] == {"wanted": 200, "met": met}
    assert code == (0 if met else 1), errors


def test_an_interrupt_ends_the_load(stack):
    process = start(stack, "--rate", 500, "--seconds", 1000)
    wait_until(lambda: stack.rows() > 50, 20, "some are stored")
    process.send_signal(signal.SIGINT)
    code, report, errors = finish(process)
    assert code == 0, (report, errors)
    assert report["records"]["acknowledged"] == stack.rows() == report["stored"]["records"]


def test_more_connections_than_a_process_has_files(stack):
    def files(soft, hard):
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    many = ("--connections", 100, "--devices", 100, "--records", 2)
    code, report, errors = finish(start(stack, *many, preexec_fn=files(64, 256)))
    assert (code, report["records"]["acknowledged"]) == (0, 200), (report, errors)
    code, report, errors = finish(start(stack, *many, preexec_fn=files(64, 64)))
    assert (code, report) == (2, None) and "ulimit" in errors


def test_a_report_goes_to_a_file(stack, tmp_path):
    path = tmp_path / "report.json"
    code, _, errors = finish(start(stack, "--records", 5, report=path), reported=False)
    assert code == 0, errors
    report = json.loads(path.read_text())
    assert report["good"] is True and report["records"]["sent"] == stack.rows() > 0


def test_a_report_that_cannot_be_written_is_told_before_the_load(stack, tmp_path):
    for path, told in ((tmp_path / "nowhere" / "report.json", "cannot write"),
                       ("/dev/full", "cannot write all of")):
        before = stack.rows()
        code, _, errors = finish(start(stack, "--records", 5, report=path), reported=False)
        assert code == 2 and f"{told} {path}" in errors
        assert (stack.rows() == before) is (told == "cannot write")


def tamper(stack, sql):
    """While the tool waits until all is stored, what is stored changes."""
    process = start(stack, "--devices", 4, "--records", 50, "--batch", 50)
    wait_until(lambda: stack.rows() == 200, 30, "all is stored")
    connection = stack.postgres.connect()
    connection.cursor().execute(sql)
    connection.close()
    return finish(process)


@pytest.mark.parametrize("sql, found", [
    ("DELETE FROM logs WHERE log_data->>'number' IN ('7', '8')", {"lost": 2}),
    ("INSERT INTO logs (id, created_at, device_id, log_level, message, log_data)"
     " SELECT id + 1000000, created_at, device_id, log_level, message, log_data FROM logs"
     " WHERE log_data->>'number' = '9'", {"twice": 1}),
    ("UPDATE logs SET message = message || '!' WHERE log_data->>'number' = '3'", {"changed": 1}),
    ("UPDATE logs SET log_data = log_data || '{\"user\": -1}'"
     " WHERE log_data->>'number' IN ('0', '1', '10')", {"changed": 3}),
    ("UPDATE logs SET log_data = log_data || '{\"more\": 1}' WHERE log_data->>'number' = '5'",
     {"changed": 1}),
])
def test_what_is_not_there_as_it_was_sent_is_found(stack, sql, found):
    code, report, errors = tamper(stack, sql)
    assert (code, report["good"]) == (1, False), errors
    told = {name: report["stored"][name] for name in ("lost", "twice", "changed")}
    assert told == {"lost": 0, "twice": 0, "changed": 0, **found}


def test_what_is_refused_is_told_apart_and_is_not_there(make_stack):
    stack = make_stack(nginx_edits=limited([f"$remote_addr zone=c:1m {SLOW}"],
                                           ["zone=c burst=200"]))
    stack.start()
    stack.wait_partitions()
    code, report, errors = run(stack, "--devices", 10, "--records", 60, "--batch", 20)
    assert code == 0, errors
    records = report["records"]
    assert records["refused"] > 0 and records["acknowledged"] >= 200
    assert records["refused"] + records["acknowledged"] == 600
    assert report["stored"]["records"] == records["acknowledged"] == stack.rows()
    assert list(report["requests"]["failures"]) == ["429 rate_limited"]


def test_a_batch_of_which_some_are_held_back_is_known_record_by_record(make_stack):
    stack = make_stack(nginx_edits=limited([f"$remote_addr zone=c:1m {SLOW}"],
                                           ["zone=c burst=130"]))
    stack.nginx.edit("sluice_batch atomic", "sluice_batch partial")
    stack.start()
    stack.wait_partitions()
    code, report, errors = run(stack, "--devices", 2, "--records", 100, "--batch", 100)
    assert code == 0, errors
    assert report["stored"]["records"] == report["records"]["acknowledged"] == stack.rows()
    assert 100 < stack.rows() < 200
    assert report["stored"]["refused_and_there"] == report["stored"]["lost"] == 0


def test_an_unknown_outcome_is_no_loss(stack):
    """The edge is killed amid the load: what had no answer may be there or not."""
    stack.allow(r"signal 9|exited on signal")
    process = start(stack, "--rate", 2000, "--seconds", 4, "--batch", 10)
    wait_until(lambda: stack.rows() > 500, 20, "some are stored")
    for pid in stack.nginx.worker_pids():
        os.kill(pid, signal.SIGKILL)
    code, report, errors = finish(process)
    assert code == 0, (report, errors)
    assert report["stored"]["lost"] == report["stored"]["twice"] == 0
    assert report["stored"]["refused_and_there"] == 0
    assert (report["stored"]["records"]
            == report["records"]["acknowledged"] + report["stored"]["unknown_and_there"])


def test_what_is_not_stored_in_time_is_not_taken_for_lost(stack):
    stack.loader.pause()
    code, report, _ = run(stack, "--devices", 2, "--records", 5, "--drain-seconds", 2)
    assert code == 1 and report["stored"] is None
    assert "not all stored after 2 s" in report["error"]
    stack.loader.resume()
    stack.wait_drained()


class Server:
    """Says what it is told to, a request at a time: None is the end of the connection."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while self.answers:
            connection = self.listener.accept()[0]
            with connection, connection.makefile("rb") as requests:
                while self.answers and self._take(requests):
                    answer = self.answers.pop(0)
                    if answer is None:
                        break
                    connection.sendall(answer)
                    if b"Connection: close" in answer:
                        break

    def _take(self, requests):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = requests.readline()
            if not line:
                return False
            head += line
        self.heads.append(head)
        length = [line.split()[1] for line in head.splitlines() if b"Content-Length:" in line]
        requests.read(int(length[0]) if length else 0)
        return True


def answer(status, body, *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


QUEUED = '{"status":"queued","received_at":"2026-01-01T00:00:00.000000Z"}'
LIMITED = answer("429 Too Many Requests", '{"code":"rate_limited"}')


def run_at(server, *options):
    return finish(start_at(server.port, "--no-check", "--connections", 1, "--devices", 1, *options))


def test_what_libcurl_sends_again_is_told():
    """Not so what only takes a connection of its own."""
    queued, ended = answer("200 OK", QUEUED), answer("200 OK", QUEUED, "Connection: close")
    code, report, errors = run_at(Server(queued, ended, ended, queued, None, queued), "--records", 4)
    assert code == 0, errors
    assert report["records"]["acknowledged"] == 4 and report["records"]["sent_twice"] == 1
    _, report, _ = run_at(Server(queued, queued, None, LIMITED), "--records", 2)
    assert (report["records"]["unknown"], report["records"]["refused"]) == (1, 0)


class Crowd:
    """Of each so many requests the first wait for each other; counts the connections of all."""

    def __init__(self, size, of_each):
        self.numbers = itertools.count()
        self.barrier = threading.Barrier(size, timeout=60)
        self.of_each = of_each
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            connection = self.listener.accept()[0]
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as requests:
            asked = 0
            while line := requests.readline():
                length = 0
                while (header := requests.readline()) != b"\r\n":
                    if header.startswith(b"Content-Length:"):
                        length = int(header.split()[1])
                requests.read(length)
                if line.startswith(b"POST"):
                    asked += 1
                    self.connections += asked == 1
                    if next(self.numbers) % self.of_each < self.barrier.parties:
                        self.barrier.wait()
                connection.sendall(answer("200 OK", QUEUED))


def test_connections_are_kept_while_few_of_them_are_used():
    """Or what is measured is how long it takes to connect."""
    server = Crowd(8, of_each=60)
    code, report, errors = finish(start_at(server.port, "--no-check", "--connections", 8, "--devices",
                                           1, "--records", 240, "--rate", 400))
    assert code in (0, 1) and report["records"]["acknowledged"] == 240, errors
    assert server.connections == 8


def test_who_is_refused_at_once_makes_nothing_look_quick():
    server = Server(answer("200 OK", "{}"), *[LIMITED] * 20)
    code, report, _ = run_at(server, "--records", 20)
    assert report["requests"]["failures"] == {"429 rate_limited": 20}
    assert code == 1 and report["goals"]["p95_ms"]["met"] is False
    assert report["latency_ms"] is None


def test_its_header_is_with_every_request():
    server = Server(*[answer("200 OK", QUEUED)] * 3)
    code, report, errors = run_at(server, "--records", 2, "--header", "Authorization: Bearer x")
    assert code == 0 and report["stored"] is None, errors
    assert [b"\r\nAuthorization: Bearer x\r\n" in head for head in server.heads] == [True] * 3


def tool(*options):
    return subprocess.run([BUILD / "t" / "stress" / "sluice-stress", *options],
                          capture_output=True, text=True, timeout=60)


def test_mistakes_are_told_in_a_line(free_port=9):
    for options, told in ((("--devices", "0"), "--devices"), (("--speed", "9"), "--speed"),
                          (("ftp://x",), "http"), (("http://a", "http://b"), "one too many"),
                          (("--rate",), "--rate"),
                          ((f"http://127.0.0.1:{free_port}",), "connect")):
        done = tool(*options)
        assert (done.returncode, done.stdout) == (2, ""), options
        assert done.stderr.startswith("error: ") and told in done.stderr, done.stderr
    done = tool("--help")
    assert done.returncode == 0 and "--drain-seconds" in done.stdout


def test_humans_get_a_table(stack):
    done = tool(f"http://127.0.0.1:{stack.nginx.port}", "--devices", "3", "--records", "20",
                "--goal-rate", "1", "--goal-p95", "60000")
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("60 sent: 60 acknowledged, 0 refused, 0 unknown", "60: 60 with 200", "p95", "met",
                 "every acknowledged record is there once"):
        assert part in done.stdout, done.stdout
