"""scripts/faults: a short run of it, that its faults are what they say, and that it would notice."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
import warnings

import pytest

from harness.api import Answer
from harness.build import ROOT
from harness.process import stat_of

sys.path.append(str(ROOT / "t" / "faults"))
from book import ACKNOWLEDGED, REFUSED, UNKNOWN, Book  # noqa: E402
from clients import Client  # noqa: E402
from network import HOST, Network, own_network  # noqa: E402
from power import Power  # noqa: E402
from reader import Reader  # noqa: E402
from tables import print_tables  # noqa: E402

FAULTS = ROOT / "scripts" / "faults"


def faults(*arguments, before=()):
    done = subprocess.run([*before, FAULTS, *arguments], capture_output=True, text=True, timeout=900,
                          check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing wrong" in done.stdout
    return done.stdout


@pytest.mark.alone
def test_whatever_fails_what_was_acknowledged_is_there_once():
    """This seed has one of each family among the first, if they can be made here."""
    said = faults("--seconds", "90", "--seed", "189576", "--durability", "always")
    for made, family in (("cut: |delay: |reset: |half open: ", "network"), ("disk of ", "disks")):
        assert re.search(rf"^ +1  ({made})|not made here: {family}", said, re.M), family
    assert re.search("^ +1  power of redis lost", said, re.M)
    for line in set(re.findall("not made here: .*", said)):
        warnings.warn(line)


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody takes rights away from one who has none")
def test_what_is_not_permitted_is_said():
    said = faults("--seconds", "2", "--durability", "always",
                  before=("setpriv", "--bounding-set", "-sys_admin"))
    for family in ("network .*", "disks full"):
        assert len(re.findall(f"not made here: {family}: .*not permitted", said)) == 2, family


class Ends(threading.Thread):
    """A network namespace is a thread's: there, both ends of connections, over a link."""

    def __init__(self, body):
        super().__init__()
        self.body, self.outcome = body, None

    def run(self):
        try:
            self.network = Network(own_network(), ["link", "other link"])
        except OSError as error:
            self.outcome = error
            return
        try:
            self.listener = socket.create_server((HOST, 7000))
            self.body(self)
        except Exception as failure:
            self.outcome = failure
        finally:
            self.network.close()

    def connected(self, link="link"):
        ends = socket.create_connection((self.network.address(link), 7000), 5), self.listener.accept()[0]
        for end in ends:
            end.settimeout(20)
        return ends

    def check(self):
        self.start()
        self.join()
        if isinstance(self.outcome, PermissionError):
            pytest.skip(f"no network namespace can be made: {self.outcome}")
        if self.outcome:
            raise self.outcome


def comes_through(sender, receiver, wait_s):
    """Whether something does; how long it takes the test tells."""
    sender.sendall(b"x")
    receiver.settimeout(wait_s)
    try:
        return receiver.recv(1) == b"x"
    except TimeoutError:
        return False


def cut(ends):
    here, there = ends.connected()
    others = ends.connected("other link")
    assert comes_through(here, there, 20) and comes_through(there, here, 20)
    ends.network.cut("link")
    assert comes_through(*others, 20)
    assert not comes_through(here, there, 0.3)
    with pytest.raises(TimeoutError):
        socket.create_connection((ends.network.address("link"), 7000), 0.3)
    ends.network.mend("link")
    there.settimeout(20)
    assert there.recv(1) == b"x"


def slow(ends):
    here, there = ends.connected()
    ends.network.slow_down("link", 0.3)
    comes_through(here, there, 20)
    begin = time.monotonic()
    assert comes_through(here, there, 20) and comes_through(there, here, 20)
    assert time.monotonic() - begin >= 0.6
    ends.network.mend("link")
    comes_through(here, there, 20)


def reset(ends):
    here, there = ends.connected()
    ends.network.reset("link")
    assert_refused(ends)
    here.sendall(b"x")
    for end in (here, there):
        with pytest.raises(ConnectionResetError):
            end.recv(1)
    ends.network.mend("link")
    assert comes_through(*ends.connected(), 20)


def assert_refused(ends):
    with pytest.raises(ConnectionRefusedError):
        ends.connected()


def half_open(ends):
    here, there = ends.connected()
    others = ends.connected("other link")
    ends.network.forget("link")
    assert comes_through(*ends.connected(), 20) and comes_through(*others, 20)
    assert not comes_through(here, there, 0.5)
    here.close()
    assert not comes_through(there, there, 0.5)


@pytest.mark.parametrize("body", [cut, slow, reset, half_open])
def test_links_that(body):
    Ends(body).check()


def test_runs_are_added_up(capsys):
    def run(durability, troubles=(), **faults_made):
        return {"durability": durability, "troubles": list(troubles), "faults": faults_made,
                "acknowledged": 1000, "unknown": 2, "lost": 3, "duplicated": 4}

    failed = {"durability": "none", "troubles": ["lost"], "faults": {"HUP": 1}}
    print_tables([{"runs": [run("always", HUP=2, USR2=1), failed], "not made here": {}},
                  {"runs": [run("always", ["bad"], HUP=4)], "not made here": {"disks": "not root"}}])
    said = capsys.readouterr().out.splitlines()
    assert [line.split() for line in said if line.startswith(("always", "none"))] == [
        ["always", "2", "1", "7", "2,000", "4", "6", "8"],
        ["none", "1", "1", "1", "0", "0", "0", "0"]]
    assert said[-3:] == ["       7  HUP", "       1  USR2", "  not made here: disks: not root"]


def told(*outcomes):
    book = Book()
    records = [{"device_id": "d", "log_level": "INFO", "message": f"m{n}", "log_data": {"n": n}}
               for n in range(len(outcomes))]
    book.sent(records)
    for record, outcome in zip(records, outcomes):
        if outcome:
            book.told([record], outcome)
    return book


@pytest.mark.parametrize("rows, wrong", [
    ([("m0", '{"n": 0}')], {}),
    ([("m0", '{"n": 0}'), ("m2", '{"n": 2.0}')], {}),
    ([], {"lost": ["m0"]}),
    ([("m0", '{"n": 0}'), ("m0", '{"n": 0}')], {"twice": ["m0"]}),
    ([("m0", '{"n": 0}'), ("m2", '{"n": 2}'), ("m2", '{"n": 2}')], {"twice": ["m2"]}),
    ([("m0", '{"n": 0}'), ("m1", '{"n": 1}')], {"refused, and there": ["m1"]}),
    ([("m0", '{"n": 5}')], {"changed": ["m0"]}),
    ([("m0", '{"n": 0}', "other")], {"changed": ["m0"]}),
    ([("m0", '{"n": 0}', "d", "DEBUG")], {"changed": ["m0"]}),
    ([("m0", '{"n": 0}'), ("m7", "{}")], {"strange": ["m7"]}),
])
def test_what_is_not_as_it_was_told_is_found(rows, wrong):
    def row(message, log_data, device="d", level="INFO"):
        return device, level, message, log_data

    assert told(ACKNOWLEDGED, REFUSED, None).judge([row(*some) for some in rows]) == wrong


def test_clients_take_no_answer_for_what_it_is_not():
    client = Client(("127.0.0.1", 9), Book(), 1)
    answers = [Answer(200, {}, b"{}"), Answer(503, {}, b'{"code":"shed"}'),
               Answer(503, {}, b'{"code":"outcome_unknown"}'), Answer(422, {}, b'{"code":"empty"}')]
    client.api.post = lambda *_, **__: answers.pop(0)
    record = [{"message": "m"}]
    assert [client.post(record) for _ in range(3)] == [ACKNOWLEDGED, REFUSED, UNKNOWN]
    with pytest.raises(AssertionError, match="422"):
        client.post(record)


def test_who_reads_is_shown_what_was_sent_or_told_that_nothing_is():
    reader = Reader(("127.0.0.1", 9), told(ACKNOWLEDGED), 1)
    row = {"device_id": "d", "log_level": "INFO", "message": "m0", "log_data": {"n": 0}}
    reader.look([row])
    assert reader.rows_shown == 1
    for wrong in ([row, row], [{**row, "log_level": "DEBUG"}], [{**row, "message": "m1"}]):
        with pytest.raises(AssertionError):
            reader.look(wrong)
    answers = [Answer(503, {}, b'{"code":"timeout"}'), Answer(500, {}, b"")]
    reader.api.get = lambda _: answers.pop(0)
    reader.read("/api/stats")
    with pytest.raises(AssertionError, match="500"):
        reader.read("/api/stats")


def test_all_of_postgres_stands_still(make_stack):
    postgres = make_stack().postgres.start()
    with contextlib.closing(postgres.connect()) as connection:
        postgres.pause()
        assert {stat_of(pid)[0] for pid in postgres.children()} == {"T"}
        postgres.resume()
        connection.cursor().execute("SELECT 1")


@pytest.mark.parametrize("wall_clock", [None, "+1d"])
def test_with_the_power_goes_what_redis_had_not_synced(make_stack, wall_clock):
    redis = make_stack().redis
    power = Power(redis)
    redis.wall_clock = wall_clock
    redis.start()
    redis.client.set("synced", 1)
    redis.client.config_set("appendfsync", "no")
    redis.client.set("only written", 1)
    assert power.lose() == len(b"*3\r\n$3\r\nSET\r\n$12\r\nonly written\r\n$1\r\n1\r\n")
    redis.start()
    assert redis.client.keys() == [b"synced"]
    redis.client.set("synced, too", 1)
    assert power.lose() == 0
    redis.start()
    assert redis.client.exists("synced, too")


def test_what_may_be_lost_is_bounded_in_time():
    book = told(ACKNOWLEDGED, ACKNOWLEDGED)
    book.outcomes = {"m0": (ACKNOWLEDGED, 10), "m1": (ACKNOWLEDGED, 20)}
    assert book.known_outside(["m0", "m1"], [(5, 9), (19, 21)]) == ["m0"]
    assert book.known_outside(["m0", "m1"], []) == ["m0", "m1"]
