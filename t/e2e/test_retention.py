"""Old days of logs are dropped if that is set, beside those who store and those who read."""

import time

import pytest

from harness import frames
from harness.waiting import wait_until

DAY_MS = 24 * 3600 * 1000


def day_name(days_ago):
    return time.strftime("logs_%Y%m%d", time.gmtime(time.time() - days_ago * 86400))


def partitions(stack):
    return [name for name, in stack.postgres.query(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'logs'::regclass ORDER BY relname")]


def store_days(stack, days_ago, records=10):
    now_ms = int(time.time() * 1000)
    frames.add(stack.redis, [
        frames.frame([frames.row(message=f"{days} days ago")] * records, t_ms=now_ms - days * DAY_MS)
        for days in days_ago
    ])
    stack.wait_rows(len(days_ago) * records)


def start_with(stack, **settings):
    """A round begins when the loader starts."""
    stack.loader.stop()
    stack.loader.settings.update(settings)
    stack.loader.start()


def counted_rows(stack):
    """Once the counters agree: those of a day go just behind its rows."""
    def agreed():
        rows, counted = stack.postgres.query(
            "SELECT (SELECT count(*) FROM logs), (SELECT sum(n) FROM counters)")[0]
        return rows == counted and rows

    return wait_until(agreed, 5, "the counters agree with the rows")


def test_nothing_is_dropped_unless_it_is_set(stack):
    store_days(stack, [0, 40, 400])
    start_with(stack)
    stack.api().log()
    stack.wait_rows(31)
    assert day_name(400) in partitions(stack)


def test_days_are_dropped_by_age(stack):
    store_days(stack, [0, 1, 2, 3, 9])
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_until(lambda: stack.rows() == 30, 15, "two days are gone")
    assert day_name(3) not in partitions(stack)
    assert day_name(2) in partitions(stack)
    assert counted_rows(stack) == 30


def test_days_are_dropped_by_size_and_the_newest_stays(stack):
    store_days(stack, [0, 1, 2], records=5000)
    start_with(stack, SLUICED_STORAGE_KEEP_MB="1")
    wait_until(lambda: day_name(2) not in partitions(stack), 15, "the oldest day is gone")
    assert day_name(0) in partitions(stack)
    assert counted_rows(stack) in (5000, 10000)


def test_a_record_of_a_dropped_day_is_stored_all_the_same(stack):
    store_days(stack, [0, 5])
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_until(lambda: stack.rows() == 10, 15, "the old day is gone")
    frames.add(stack.redis, [frames.frame([frames.row()], t_ms=int(time.time() * 1000) - 5 * DAY_MS)])
    stack.wait_rows(11)
    assert counted_rows(stack) == 11


def test_who_reads_is_waited_for_and_who_stores_does_not_wait(stack):
    stack.allow("old logs are dropped later")
    store_days(stack, [0, 5])
    reader = stack.postgres.connect()
    reader.autocommit = False
    cursor = reader.cursor()
    cursor.execute("SELECT count(*) FROM logs")
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_until(lambda: stack.postgres.value(
        "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"), 15, "the day is being detached")
    stack.api().log()
    stack.wait_rows(11)
    cursor.execute("SELECT count(*) FROM logs")
    assert cursor.fetchone()[0] == 11, "a new statement neither waits nor sees the day"
    reader.close()
    # What was begun is ended by the next round, of this loader or another one.
    start_with(stack)
    wait_until(lambda: day_name(5) not in partitions(stack), 15, "the day is detached")
    wait_until(lambda: not stack.postgres.value(
        "SELECT count(*) FROM pg_class WHERE relname = %s", day_name(5)), 15, "and dropped")
    assert counted_rows(stack) == 11


@pytest.mark.parametrize("mark, there", [("sluice: to be dropped", 0), ("our archive", 1)])
def test_a_detached_day_is_dropped_only_if_that_was_begun(stack, mark, there):
    store_days(stack, [0, 5, 6])
    name = day_name(6)
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE logs DETACH PARTITION {name}")
        cursor.execute(f"COMMENT ON TABLE {name} IS '{mark}'")
    connection.close()
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_until(lambda: day_name(5) not in partitions(stack), 15, "the next day is gone")
    assert stack.postgres.value("SELECT count(*) FROM pg_class WHERE relname = %s", name) == there


def test_a_clock_alone_drops_nothing(stack):
    """What counts is the newest record, if the server's clock is ahead of it; and an edge whose
    clock is ahead does not make today old."""
    store_days(stack, [0, 1, -1])
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="1")
    stack.api().log()
    stack.wait_rows(31)
    assert day_name(1) in partitions(stack)
