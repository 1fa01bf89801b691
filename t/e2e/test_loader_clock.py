"""Which partition a record belongs to is the frame's to say, whatever time it is for the loader."""

import time

from harness import frames
from harness.exact import Sent
from harness.waiting import wait_for_a_day, wait_until

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS


def partition_rows(stack, parent):
    """Of each partition that has any: its rows."""
    return dict(stack.postgres.query(
        f"SELECT tableoid::regclass::text, count(*) FROM {parent} GROUP BY 1"))


def partitions(stack):
    return {name for name, in stack.postgres.query(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger'::regclass")}


def name_of(form, t_ms):
    return time.strftime(form, time.gmtime(t_ms // 1000))


def around(instants):
    return [instant + offset for instant in instants for offset in (-1, 0, 1)]


def test_records_at_the_boundaries_of_partitions(make_stack):
    """And the same frames again, together and apart, as after a lost acknowledgement. The server's
    zone is not that of the partitions."""
    stack = make_stack()
    stack.postgres.conf = stack.postgres.conf.replace("'UTC'", "'Pacific/Auckland'")
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


def test_a_loader_whose_clock_is_off(make_stack):
    """It stores what it is given where it belongs, and forgets nothing that may come back."""
    stack = make_stack()
    wait_for_a_day(180)
    now_ms = time.time_ns() // 1000000
    sent = Sent(stack)
    # The ledger keeps 48 hours, as far as all clocks agree.
    made = sent.frames(20) + sent.frames(20, t_ms=now_ms - 30 * HOUR_MS)
    long_ago_ms = now_ms - 100 * HOUR_MS
    stack.loader.wall_clock = "-1d"
    stack.start_loading()
    frames.add(stack.redis, made)
    sent.add(t_ms=long_ago_ms)
    sent.check()
    for days_off in (-1, 1, 30, 0):
        stack.loader.stop()
        stack.loader.wall_clock = f"{days_off:+}d"
        stack.loader.start()
        wall = name_of("%Y-%m-%dT", now_ms + days_off * DAY_MS)
        wait_until(lambda: f'{{"time":"{wall}' in stack.loader.log_text(), 15, "it has that clock")
        # Behind its first batch it looks what the ledger need not know any more.
        sent.add()
        wait_until(lambda: name_of("ledger_%Y%m%d%H", long_ago_ms) not in partitions(stack), 15,
                   "the ledger is pruned")
        frames.add(stack.redis, made)
        sent.add(t_ms=long_ago_ms)
        sent.check()
