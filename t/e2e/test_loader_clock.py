"""Which partition a record belongs to is the frame's to say, whatever time it is for the loader."""

import time

import pytest

from harness import frames
from harness.exact import Sent
from harness.waiting import wait_until

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS


def partition_rows(stack, parent):
    """Of each partition that has any: its rows."""
    rows = stack.postgres.query(f"SELECT tableoid::regclass::text, count(*) FROM {parent} GROUP BY 1")
    return dict(rows)


def name_of(form, t_ms):
    return time.strftime(form, time.gmtime(t_ms // 1000))


def around(instants):
    return [instant + offset for instant in instants for offset in (-1, 0, 1)]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland"])
def test_records_at_the_boundaries_of_partitions(make_stack, zone):
    """And the same frames again, together and apart, as after a lost acknowledgement."""
    stack = make_stack()
    stack.postgres.conf = stack.postgres.conf.replace("timezone = 'UTC'", f"timezone = '{zone}'")
    stack.start_loading()
    midnight = time.time_ns() // 1000000 // DAY_MS * DAY_MS
    times = around([midnight, midnight + DAY_MS, midnight + HOUR_MS, midnight - HOUR_MS,
                    midnight - 12 * HOUR_MS])
    sent = Sent(stack)
    made = [frame for t_ms in times for frame in sent.frames(1, t_ms=t_ms)]
    frames.add(stack.redis, made + made[::-1])
    stack.wait_drained()
    for frame in made:
        frames.add(stack.redis, [frame])
    sent.check()
    days = {name_of("logs_%Y%m%d", t_ms) for t_ms in times}
    hours = {name_of("ledger_%Y%m%d%H", t_ms) for t_ms in times}
    assert partition_rows(stack, "logs") == {
        day: 3 * sum(name_of("logs_%Y%m%d", t_ms) == day for t_ms in times) for day in days}
    assert partition_rows(stack, "ledger") == {
        hour: sum(name_of("ledger_%Y%m%d%H", t_ms) == hour for t_ms in times) for hour in hours}


@pytest.mark.parametrize("days_off", [-1, 1, 30])
def test_a_loader_whose_clock_is_off(make_stack, days_off):
    """It stores what it is given where it belongs, and forgets nothing that may come back."""
    stack = make_stack()
    stack.loader.wall_clock = f"{days_off:+}d"
    stack.start_loading()
    now_ms = time.time_ns() // 1000000
    assert stack.loader.log_text().startswith(name_of("%Y-%m-%dT", now_ms + days_off * DAY_MS))
    sent = Sent(stack)
    sent.add(t_ms=now_ms - 100 * HOUR_MS)
    # The ledger keeps 48 hours.
    made = sent.frames(20) + sent.frames(20, t_ms=now_ms - 30 * HOUR_MS)
    frames.add(stack.redis, made)
    sent.check()
    for clock in (stack.loader.wall_clock, None):
        stack.loader.stop()
        stack.loader.wall_clock = clock
        stack.loader.start()
        # Behind its first batch it looks what the ledger need not know any more.
        sent.add()
        wait_until(lambda: "ledger pruned" in stack.loader.log_text(), 15, "the ledger is pruned")
        frames.add(stack.redis, made)
        sent.check()
