"""What is owed outlives reloads and killed workers, and whoever sends too much harms nobody else."""

import os
import signal
import socket
import threading
import time

import pytest
from harness.limits import SLOW, assert_limited, left, limited, of_devices, records, send
from harness.process import processes_of_group
from harness.waiting import wait_until
from test_limits import counted, stored
from test_metrics import metrics

ZONE = f"$http_x_client zone=senders:64k {SLOW}"


def reloaded(stack, *edits):
    """Also the last of the old workers is gone then."""
    for old, new in edits:
        stack.nginx.edit(old, new)
    leaving = stack.nginx.reload()
    wait_until(lambda: not leaving & set(processes_of_group(stack.nginx.group)), 15, "they left")
    return stack.api()


def test_what_is_owed_is_kept(make_edge):
    stack = make_edge(*limited([ZONE], ["zone=senders burst=10"]), workers=2)
    assert send(stack.api(), records(8)).status == 200
    for _ in range(2):
        api = reloaded(stack)
    assert left(api) == 2
    assert counted(stack, "senders") == {"rate_limited": 1}
    api = reloaded(stack)
    assert_limited(send(api, records(1)), "senders")
    assert counted(stack, "senders") == {"rate_limited": 2}


def test_another_key_or_unit_is_refused_and_the_old_configuration_goes_on(make_edge):
    stack = make_edge(*limited([ZONE], ["zone=senders burst=10"]))
    stack.allow(r"\[emerg\].*sluice_limit_zone")
    assert send(stack.api(), records(8)).status == 200
    workers = stack.nginx.worker_pids()
    for number, other in enumerate((
            ZONE.replace("$http_x_client", "$http_x_other"),
            ZONE.replace("$http_x_client", "device_id"),
            ZONE.replace("rate=1r/m", "rate=1b/m")), 1):
        stack.nginx.conf_path.write_text(stack.nginx.conf.replace(ZONE, other))
        stack.nginx.signal(signal.SIGHUP)
        wait_until(lambda: stack.nginx.error_text().count("give the new one another name") == number,
                   5, "it says what to do")
        assert stack.nginx.worker_pids() == workers
    assert 'counts records of "$http_x_other" while previously' in stack.nginx.error_text()
    assert left(stack.api()) == 2
    assert_limited(send(reloaded(stack), records(1)), "senders")


def test_another_size_starts_anew(make_edge):
    stack = make_edge(*limited([ZONE], ["zone=senders burst=10"]))
    assert send(stack.api(), records(8)).status == 200
    api = reloaded(stack, ("zone=senders:64k", "zone=senders:128k"))
    assert left(api) == 10


def test_another_rate_goes_on_and_locks_nobody_out(make_edge):
    stack = make_edge(*limited([ZONE], ["zone=senders burst=100"]))
    assert send(stack.api(), records(100)).status == 200
    api = reloaded(stack, (ZONE, ZONE.replace(SLOW, "rate=15r/m")), ("burst=100;", "burst=2;"))
    answer = send(api, records(1))
    assert_limited(answer, "senders")
    assert answer.headers["Retry-After"] in ("3", "4")
    time.sleep(4.1)
    assert send(api, records(1)).status == 200
    assert_limited(send(api, records(2)), "senders")


def test_a_limit_added_and_taken_away(make_edge):
    stack = make_edge()
    for _ in range(2):
        assert send(stack.api(), records(50)).status == 200
        api = reloaded(stack, *limited([ZONE], ["zone=senders burst=10"]))
        assert left(api) == 10
        reloaded(stack, *((new, old) for old, new in limited([ZONE], ["zone=senders burst=10"])))


def test_workers_killed_at_any_moment_leave_nothing_behind(make_edge):
    """Under load on few keys and on many: whoever is left answers, and the limit holds."""
    stack = make_edge(*limited(
        ["$http_x_client zone=senders:64k rate=2000r/s", f"device_id zone=devices:64k {SLOW}"],
        ["zone=senders burst=2000", "zone=devices burst=3"]), workers=2)
    stack.allow(r"\[alert\] .*exited on signal 9")
    stopping = threading.Event()
    passed, refused = [], []

    def run(number):
        api = stack.api()
        sent = 0
        while not stopping.is_set():
            sent += 1
            devices = ["shared"] + [f"{number}-{sent}-{i}" for i in range(20)]
            try:
                answer = send(api, of_devices(devices if sent % 2 else devices[1:]))
            except (OSError, ValueError):
                continue
            except Exception as error:  # of http.client, that are no OSError
                assert "http" in type(error).__module__, error
                continue
            (passed if answer.status == 200 else refused).append(devices)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(25):
        time.sleep(0.1)
        os.kill(stack.nginx.worker_pids()[0], signal.SIGKILL)
        wait_until(lambda: len(stack.nginx.worker_pids()) == 2, 5, "there is another worker")
    stopping.set()
    for thread in threads:
        thread.join()
    assert len(passed) > 50
    api = stack.api()
    wait_until(lambda: api.get("/health/ready").status == 200, 10, "it takes POSTs")
    shared = sum(frame.rows.count(b"shared\t") for frame in stack.scripted.frames)
    assert shared <= 3, "what was charged stays so"
    wait_until(lambda: send(api, of_devices(["fresh"] * 3)).status == 200, 5)
    assert_limited(send(api, of_devices(["fresh"])), "devices")
    wait_until(lambda: metrics(api)[1]["sluice_edge_inflight_requests"] == 0, 5)


class Abuser(threading.Thread):
    """A thousand requests a second, on one connection, one behind the other."""

    def __init__(self, port):
        super().__init__()
        self.stopping = threading.Event()
        self.sent = self.refused = self.passed = 0
        body = b'{"device_id":"abuser","log_level":"INFO","message":"m"}'
        self.request = (b"POST /api/log HTTP/1.1\r\nHost: x\r\nX-Client: abuser\r\n"
                        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                        % (len(body), body))
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=20)

    def run(self):
        begun = time.monotonic()
        while not self.stopping.is_set():
            self.connection.sendall(self.request * 20)
            self.sent += 20
            received = b""
            while received.count(b"HTTP/1.1 ") < 20 or not received.endswith(b"}"):
                piece = self.connection.recv(1 << 16)
                assert piece
                received += piece
            self.refused += received.count(b"HTTP/1.1 429 ")
            self.passed += received.count(b"HTTP/1.1 200 ")
            time.sleep(max(0, begun + self.sent / 1000 - time.monotonic()))
        self.connection.close()


class Good(threading.Thread):
    """Ten clients, each within its limit, on a connection of their own."""

    def __init__(self, stack, number, rounds):
        super().__init__()
        self.api = stack.api()
        self.number, self.rounds = number, rounds
        self.took, self.wrong = [], []

    def run(self):
        for _ in range(self.rounds):
            for client in range(10):
                begun = time.monotonic()
                answer = self.api.post(
                    "/api/log", records(1, f"good-{self.number}-{client}")[0],
                    **{"X-Client": f"{self.number}-{client}"})
                self.took.append(time.monotonic() - begun)
                if answer.status != 200:
                    self.wrong.append(answer)
                time.sleep(0.02)


def good_clients(stack, rounds=12):
    """A hundred of them. Returns the 99th percentile of their latency, in ms."""
    crowd = [Good(stack, number, rounds) for number in range(10)]
    for good in crowd:
        good.start()
    for good in crowd:
        good.join()
    assert not [good.wrong for good in crowd if good.wrong]
    took = sorted(took for good in crowd for took in good.took)
    return 1000 * took[len(took) * 99 // 100]


@pytest.mark.alone
def test_whoever_sends_too_much_harms_nobody_else(make_stack, capsys):
    """Alone: it compares latencies, and keeps the machine busy."""
    edits = limited(["$http_x_client zone=senders:64k rate=20r/s"], [])
    edits += [("            sluice log;", "            sluice log;\n"
               "            sluice_limit zone=senders burst=20;")]
    stack = make_stack(nginx_edits=edits).start()
    alone = good_clients(stack)
    abuser = Abuser(stack.nginx.port)
    abuser.start()
    beside = good_clients(stack)
    abuser.stopping.set()
    abuser.join()
    with capsys.disabled():
        print(f"\np99 of 100 good clients: {alone:.1f} ms alone, {beside:.1f} ms beside "
              f"{abuser.sent} requests of one, {abuser.refused} of them refused")
    assert abuser.sent == abuser.passed + abuser.refused
    assert abuser.refused > abuser.sent / 2
    assert beside < 20 * alone + 200
    stack.wait_rows(2 * 100 * 12 + abuser.passed)
    good = "SELECT count(*) FROM logs WHERE device_id LIKE 'good-%'"
    assert stack.postgres.value(good) == 2 * 100 * 12


@pytest.mark.alone
def test_the_shipped_limit(make_edge):
    """In force for both ways in, together. Alone: a slow machine lets more pass."""
    stack = make_edge(("rate=1000000000r/s;", "rate=10000r/s;"),
                      ("burst=1000000000;", "burst=20000;"))
    api = stack.api()
    answers = []
    begun = time.monotonic()
    while not answers or answers[-1].status == 200:
        answers.append(api.batch(records(1000)))
        assert len(answers) < 500
    took = time.monotonic() - begun
    answer = answers.pop()
    assert_limited(answer, "clients")
    assert answer.headers["Retry-After"] == "1"
    assert 20 <= len(answers) <= 20 + 10 * took + 1
    assert '"clients";q=20000;w=2;qu="records"' == answer.headers["RateLimit-Policy"]
    wait_until(lambda: stored(stack) == 1000 * len(answers), 5)
