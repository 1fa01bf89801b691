"""Several that load: they share the work, and what one of them holds too long another one takes."""

import random
import signal
import threading

import pytest

from harness import frames
from harness.exact import Sent
from harness.waiting import wait_until
from harness.wire_proxy import Wires

HOUR_MS = 3600 * 1000


def add_many_times(stack, sent, count):
    """Each frame three times, all of them shuffled. Each tenth is a keyed request's, which has
    another time when it is sent again."""
    made = []
    for number in range(count):
        keyed = number % 10 == 0
        (frame,) = sent.frames(1, u=frames.keyed_id() if keyed else None)
        made += [{**frame, "t": frame["t"] - (again * HOUR_MS if keyed else 0)}
                 for again in range(3)]
    random.Random(1).shuffle(made)
    for first in range(0, len(made), 500):
        frames.add(stack.redis, made[first:first + 500])


def test_loaders_and_consumers_share_the_work(make_stack):
    stack = make_stack(load={"SLUICED_LOAD_CONSUMERS": "3", "SLUICED_LOAD_BATCH_ROWS": "100"})
    second = stack.add_loader()
    stack.start_loading()
    stack.loader.stop()
    sent = Sent(stack)
    add_many_times(stack, sent, 2000)
    for loader in (stack.loader, second):
        loader.launch()
    sent.check()
    slots = stack.postgres.query("SELECT slot FROM counters GROUP BY slot")
    assert len(slots) == 4, f"all consumers took part: {slots}"
    for loader in (stack.loader, second):
        assert "40P01" not in loader.log_text(), "they never wait for each other in a circle"


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
        def do(_link):
            self.first.signal(signal.SIGSTOP)
            return self.go_on.wait(60)

        fault = self.wires.arm(step, when, do)
        ids = self.sent.add(5) + self.sent.add(u=frames.keyed_id())
        assert fault.begun.wait(30)
        (consumer,) = self.stack.redis.client.xinfo_consumers("logs:stream", "log_workers")
        self.stack.redis.client.xclaim("logs:stream", "log_workers", consumer["name"], 0, ids,
                                       idle=2000, justid=True)
        self.second.start()

    def continue_first(self):
        if self.first.running:
            self.first.signal(signal.SIGCONT)
        self.go_on.set()

    def second_waits(self):
        """For the rows of the ledger, or the keys, that the first one has inserted."""
        wait_until(lambda: self.stack.postgres.query(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sluiced-load'"
            " AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO%'"), 15, "the second waits")


@pytest.fixture
def make_pair(make_stack):
    pairs = []

    def make(**settings):
        pairs.append(Pair(make_stack(load={"SLUICED_LOAD_CLAIM_IDLE_MS": "1000", **settings})))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.continue_first()
        pair.wires.close()


@pytest.mark.parametrize("step, when, end", [
    ("ledger", "after", "goes on"),
    ("COMMIT", "before", "goes on"),
    ("COPY data", "before", "is killed"),
])
def test_what_another_one_is_storing_is_waited_for(make_pair, step, when, end):
    pair = make_pair()
    pair.stand_still(step, when)
    pair.second_waits()
    if end == "is killed":
        pair.first.kill()
    pair.continue_first()
    pair.sent.check()


@pytest.mark.parametrize("step, when", [("ledger", "after"), ("COMMIT", "before"),
                                        ("COMMIT", "after"), ("XACK", "before")])
def test_who_stands_still_is_not_waited_for_for_ever(make_pair, step, when):
    """Postgres ends a transaction in which nothing happens, and the second loader goes on. The
    first one wakes up later and finds everything stored."""
    pair = make_pair(SLUICED_POSTGRES_TIMEOUT_MS="1000")
    pair.stand_still(step, when)
    wait_until(lambda: pair.stack.redis.pending() == 0, 30, "the second has stored everything")
    assert pair.stack.rows() == len(pair.sent.messages)
    pair.continue_first()
    pair.sent.add(3)
    pair.sent.check()
