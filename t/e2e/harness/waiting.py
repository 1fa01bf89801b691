"""Waiting for conditions: the only way a test lets time pass. And ports to wait on."""

import contextlib
import socket
import time


# A busy machine takes several times as long: whether something happens in time is measured, by the
# test that wants to know.
PATIENCE = 4


def wait_until(condition, timeout=10, what=None):
    """Calls condition until it returns something true, which is returned; fails when it has not
    after several times the timeout, which is ample on an idle machine."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            what = what or getattr(condition, "__name__", "the condition")
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def wait_for_a_day(seconds=60):
    """Until today, in UTC, lasts that much longer: for who says more than once what day it is."""
    wait_until(lambda: time.time() % 86400 < 86400 - seconds, seconds, "the next day")


_held = []


def free_port():
    """A port that nobody else is given until the test ends: it stays bound here, but not listened
    on, so that a server, which sets SO_REUSEADDR as all do, can have it, also again and again."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    return holder.getsockname()[1]


@contextlib.contextmanager
def released_ports():
    """At its end the ports that were asked for meanwhile are anybody's again."""
    before = len(_held)
    try:
        yield
    finally:
        for holder in _held[before:]:
            holder.close()
        del _held[before:]
