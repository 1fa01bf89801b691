"""The loader loses a connection, or its life, before and after each step; nothing else is lost."""

import contextlib
import os
import signal
import time

import pytest
import redis

from harness.exact import Sent
from harness.frames import keyed_id
from harness.waiting import wait_until
from harness.wire_proxy import COPY_STEPS, PG_STEPS, REDIS_STEPS, Wires, cut, hang, kill

DAY_MS = 24 * 3600 * 1000
WHENS = ["before", "after"]
# The two that belong to the search for bad rows are in test_bad_rows.py.
PG_STEPS_HERE = [step for step in PG_STEPS if step not in ("dead letter", "undo rows")]
PG_STEPS_HERE += COPY_STEPS.values()


class Rounds:
    """Has each step come up, one after the other, with one loader that is watched."""

    def __init__(self, stack):
        self.stack = stack
        self.wires = Wires(stack, stack.loader)
        stack.start_loading()
        self.sent = Sent(stack)
        self.days = 0
        self.sent.add(3)
        stack.wait_drained()

    @property
    def redis(self):
        return self.stack.redis.client

    def leave_by_another(self):
        """Entries that a consumer read that is long gone."""
        ids = self.sent.add(4)
        self.redis.xreadgroup("log_workers", "gone", {"logs:stream": ">"}, count=len(ids))
        self.redis.xclaim("logs:stream", "log_workers", "gone", 0, ids, idle=3600 * 1000)

    def provoke(self, step):
        """What makes the loader take this step. XTRIM has something to free after some entries."""
        if step in ("XAUTOCLAIM", "XREADGROUP own", "ids"):
            self.stack.loader.kill()
            if step == "XAUTOCLAIM":
                self.leave_by_another()
            elif step == "XREADGROUP own":
                ids = self.sent.add(4)
                self.redis.xreadgroup("log_workers", self.consumer(), {"logs:stream": ">"},
                                      count=len(ids))
            self.stack.loader.launch()
        elif step == "XGROUP":
            # The loader is at once at its step: Redis may be killed before it has answered this.
            with contextlib.suppress(redis.ConnectionError):
                self.redis.xgroup_destroy("logs:stream", "log_workers")
        if step == "make partition":
            # Days that are not made ahead; the ledger of those that are long gone is not kept.
            self.days += 1
            self.sent.add(t_ms=int(time.time() * 1000) + (1 + self.days) * DAY_MS)
        self.sent.add(2)
        self.sent.add(u=keyed_id())
        self.sent.add(150 if step == "XTRIM" else 2, records=1)

    def consumer(self):
        (consumer,) = [name for name in (
            info["name"].decode() for info in
            self.redis.xinfo_consumers("logs:stream", "log_workers")) if name != "gone"]
        return consumer

    def run(self, step, when, part):
        """part is killed; without one the connection is cut."""
        fault = self.wires.arm(step, when, kill(part) if part else cut)
        self.provoke(step)
        fault.wait()
        if part:
            part.kill()
            part.start()
        self.sent.add_again()
        self.stack.wait_drained()


@pytest.fixture
def rounds(make_stack):
    stack = make_stack(load={"SLUICED_REDIS_TIMEOUT_MS": "1000",
                             "SLUICED_POSTGRES_TIMEOUT_MS": "1000"})
    stack.allow("redis lost state, or its group was set back")
    made = Rounds(stack)
    yield made
    made.wires.close()


@pytest.mark.parametrize("killed, steps", [
    (None, REDIS_STEPS + PG_STEPS_HERE),
    ("loader", REDIS_STEPS + PG_STEPS_HERE),
    ("redis", REDIS_STEPS),
    ("postgres", ["COMMIT"]),
], ids=["cut", "loader", "redis", "postgres"])
def test_each_step_before_and_after(rounds, killed, steps):
    part = killed and getattr(rounds.stack, killed)
    for step in steps:
        for when in WHENS:
            rounds.run(step, when, part)
    rounds.sent.check()


def test_who_does_not_answer_is_asked_again_on_another_connection(rounds):
    for step, when in (("XREADGROUP", "after"), ("XACK", "before")):
        fault = rounds.wires.arm(step, when, hang)
        rounds.provoke(step)
        fault.wait()
    rounds.sent.check()


def test_a_postgres_that_hangs_goes_on_in_the_end(rounds):
    """Before the loader gives it up, or later: then it commits what the loader stores again at the
    same time."""
    log = rounds.stack.loader.log_text
    stopped = []

    def stop_backend(link):
        os.kill(link.backend_pid, signal.SIGSTOP)
        stopped.append(link.backend_pid)
        return True

    for gives_up in (False, True):
        fault = rounds.wires.arm("COMMIT", "before", stop_backend)
        rounds.provoke("COMMIT")
        fault.wait()
        if gives_up:
            wait_until(lambda: "no answer in time" in log(), 30, "the loader gives up")
            wait_until(lambda: "statement timeout" in log(), 30, "the loader is at it again")
        os.kill(stopped.pop(), signal.SIGCONT)
        rounds.sent.check()
