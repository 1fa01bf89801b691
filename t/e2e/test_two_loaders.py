"""Several that load: they share the work, and what one of them holds too long another one takes."""

import random
import signal
import threading
import time
import uuid

import psycopg2
import pytest

from harness import frames
from harness.exact import Sent
from harness.waiting import wait_until
from harness.wire_proxy import Wires

HOUR_MS = 3600 * 1000
FIRST = "first"


def add_each_three_times(stack, sent, count, keyed):
    """At once and not in one order, so that those who load meet the same frames at the same time.
    A keyed request has another time when it is sent again."""
    made = []
    for _ in range(count):
        (frame,) = sent.frames(1, records=1, u=frames.keyed_id() if keyed else None)
        made += [{**frame, "t": frame["t"] - (again * HOUR_MS if keyed else 0)}
                 for again in range(3)]
    random.Random(1).shuffle(made)
    frames.add(stack.redis, made)


def test_loaders_and_consumers_share_the_work(make_stack):
    stack = make_stack(load={"SLUICED_LOAD_CONSUMERS": "3"})
    second = stack.add_loader()
    stack.start_loading()
    second.start()
    sent = Sent(stack)

    def all_take_part():
        for number in range(5):
            add_each_three_times(stack, sent, 400, keyed=number == 0)
        return len(stack.postgres.query("SELECT slot FROM counters GROUP BY slot")) == 4

    wait_until(all_take_part, 30, "all consumers have stored something")
    sent.check()
    assert "40P01" not in stack.loader.log_text() + second.log_text()


def waiting_backends(stack):
    return stack.postgres.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluiced-load'"
        " AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO%'")


def test_the_same_frames_in_opposite_orders_are_no_deadlock(make_stack):
    """While the first loader waits for the middle one of three frames, the second one comes."""
    stack = make_stack()
    second = stack.add_loader()
    stack.start_loading()
    sent = Sent(stack)
    sent.add()
    stack.wait_drained()
    now_ms = time.time_ns() // 1000000
    three = [sent.frames(1, t_ms=now_ms, u=bytes([byte] * 16))[0] for byte in (0x00, 0x77, 0xff)]
    holder = psycopg2.connect(host=str(stack.folder), dbname="sluice", user="sluice")
    with holder.cursor() as cursor:
        cursor.execute("INSERT INTO ledger VALUES (to_timestamp(%s / 1000.0), %s, '', 1, 1)",
                       (now_ms, str(uuid.UUID(bytes=three[1]["u"]))))
    frames.add(stack.redis, three)
    wait_until(lambda: waiting_backends(stack) == 1, 15, "the first one waits")
    stack.loader.pause()
    second.start()
    frames.add(stack.redis, three[::-1])
    wait_until(lambda: waiting_backends(stack) == 2, 15, "the second one waits")
    holder.rollback()
    holder.close()
    stack.loader.resume()
    sent.check()
    assert "40P01" not in stack.loader.log_text() + second.log_text()


class Pair:
    """The first loader stands still at a step of a batch; the second one may claim that at once."""

    def __init__(self, stack):
        self.stack = stack
        self.first = stack.loader
        self.second = stack.add_loader(**stack.loader.settings)
        self.wires = Wires(stack, self.first)
        stack.start_loading()
        self.sent = Sent(stack)
        self.go_on = threading.Event()

    def stand_still(self, step, when):
        self.second.stop()
        # What the first one woke up with is done when this is, which comes behind it: else it could
        # meet the fault with that, and stand still before it has read anything.
        self.sent.add()
        self.stack.wait_drained()
        self.go_on.clear()

        def do(_link):
            self.first.signal(signal.SIGSTOP)
            return self.go_on.wait(60)

        fault = self.wires.arm(step, when, do)
        ids = self.sent.add(5) + self.sent.add(u=frames.keyed_id())
        assert fault.begun.wait(30)
        self.stack.redis.client.xclaim("logs:stream", "log_workers", FIRST + "-0", 0, ids,
                                       idle=2000, justid=True)
        # It claims when it starts.
        self.second.start()

    def continue_first(self):
        if self.first.running:
            self.first.signal(signal.SIGCONT)
        self.go_on.set()


@pytest.fixture
def make_pair(make_stack):
    pairs = []

    def make(**settings):
        pairs.append(Pair(make_stack(load={
            "SLUICED_LOAD_NAME": FIRST, "SLUICED_LOAD_CLAIM_IDLE_MS": "1000", **settings})))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.continue_first()
        pair.wires.close()


def test_what_another_one_is_storing_is_waited_for(make_pair):
    pair = make_pair()
    for step, when, is_killed in (("ledger", "after", False), ("COMMIT", "before", False),
                                  ("COPY data", "before", True)):
        pair.stand_still(step, when)
        wait_until(lambda: waiting_backends(pair.stack), 15, "the second one waits")
        if is_killed:
            pair.first.kill()
        pair.continue_first()
        pair.sent.check()


def test_who_stands_still_is_not_waited_for_for_ever(make_pair):
    """Postgres ends a transaction in which nothing happens, and the second loader goes on. The
    first one wakes up later and finds everything stored."""
    pair = make_pair(SLUICED_POSTGRES_TIMEOUT_MS="1000")
    for step, when in (("ledger", "after"), ("COMMIT", "before"), ("COMMIT", "after"),
                       ("XACK", "before")):
        pair.stand_still(step, when)
        wait_until(lambda: pair.stack.redis.pending() == 0, 30, "the second has stored everything")
        assert pair.stack.rows() == len(pair.sent.messages)
        pair.continue_first()
        pair.sent.add(3)
        pair.sent.check()
