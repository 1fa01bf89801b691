"""Old days of logs are dropped if that is set, beside those who store and those who read."""

import collections
import threading
import time

import psycopg2
import pytest

from harness import frames
from harness.exact import check_sums
from harness.waiting import wait_for_a_day, wait_until

DAY_MS = 24 * 3600 * 1000
MARK = "sluice: to be dropped"


@pytest.fixture(autouse=True)
def same_day():
    wait_for_a_day()


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


def store_late(stack, days_ago):
    """One more record of that day, which need not be stored at once."""
    t_ms = int(time.time() * 1000) - days_ago * DAY_MS
    frames.add(stack.redis, [frames.frame([frames.row()], t_ms=t_ms)])


def exists(stack, name):
    return stack.postgres.value("SELECT count(*) FROM pg_class WHERE relname = %s", name)


def comment(stack, name):
    return stack.postgres.value("SELECT obj_description(%s::regclass, 'pg_class')", name)


def is_detaching(stack, name):
    return stack.postgres.value(
        "SELECT count(*) FROM pg_inherits WHERE inhdetachpending AND inhrelid = to_regclass(%s)",
        name)


def execute(stack, *statements):
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)
    connection.close()


def begin_to_read(stack, table="logs"):
    """A transaction that has read, and may again, until its connection is closed."""
    reader = stack.postgres.connect()
    reader.autocommit = False
    with reader.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
    return reader


def wait_logged(stack, text, timeout=15):
    wait_until(lambda: text in stack.loader.log_text(), timeout, f"the log says: {text}")


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

    rows = wait_until(agreed, 5, "the counters agree with the rows")
    check_sums(stack)
    return rows


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


def test_devices_are_forgotten_with_the_last_of_their_days(stack):
    now_ms = int(time.time() * 1000)
    seen = {"twice": (0, 9), "yesterday": (1,), "long ago": (9,)}
    frames.add(stack.redis, [
        frames.frame([frames.row(device_id=device)], t_ms=now_ms - days * DAY_MS)
        for device, times in seen.items() for days in times])
    devices = "SELECT array_agg(device_id ORDER BY device_id) FROM devices"
    wait_until(lambda: stack.postgres.value(devices) == sorted(seen), 15, "all are known")
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_until(lambda: stack.postgres.value(devices) == ["twice", "yesterday"], 15, "one is not")
    assert counted_rows(stack) == 2


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
    store_late(stack, 5)
    stack.wait_rows(11)
    assert counted_rows(stack) == 11


def test_a_day_is_not_dropped_while_somebody_reads_for_long(stack):
    store_days(stack, [0, 5])
    reader = begin_to_read(stack)
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_logged(stack, f'"a transaction holds {day_name(5)}"')
    assert day_name(5) in partitions(stack) and not is_detaching(stack, day_name(5))
    assert comment(stack, day_name(5)) is None
    store_late(stack, 5)
    stack.wait_rows(21)
    reader.close()
    start_with(stack)
    wait_until(lambda: not exists(stack, day_name(5)), 15, "the day is dropped")
    assert counted_rows(stack) == 10


def test_who_comes_while_a_day_is_dropped_waits_a_second_at_most(stack):
    """Readers who come and go, one beside the other: the lock is never free, and is not waited for
    longer than that."""
    store_days(stack, [0, 5])
    readers = collections.deque([begin_to_read(stack)])
    stack.loader.stop()
    stack.loader.settings["SLUICED_STORAGE_KEEP_DAYS"] = "2"
    stack.loader.start()
    longest, said = 0, 0

    def given_up():
        """Where the readers stood still in that second it has nothing to show: once more."""
        nonlocal longest, said
        before = time.monotonic()
        readers.append(begin_to_read(stack))
        longest = max(longest, time.monotonic() - before)
        readers.popleft().close()
        text = stack.loader.log_text()[said:]
        if "old logs are dropped later" not in text:
            return False
        if "canceling statement due to lock timeout" in text and longest > 0.5:
            return True
        said += len(text)
        start_with(stack)
        return False

    wait_until(given_up, 15, "the loader gives up for now")
    assert longest < 15
    assert day_name(5) in partitions(stack) and stack.rows() == 20
    readers.pop().close()
    start_with(stack)
    wait_until(lambda: not exists(stack, day_name(5)), 15, "the day is dropped")
    assert counted_rows(stack) == 10


def detach_halfway(stack, name):
    """As an operator would who is interrupted, or a loader before 005_roles that is killed."""
    reader = begin_to_read(stack)
    operator = stack.postgres.connect()

    def detach():
        with operator.cursor() as cursor, pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute(f"ALTER TABLE logs DETACH PARTITION {name} CONCURRENTLY")

    detaching = threading.Thread(target=detach)
    detaching.start()
    wait_until(lambda: is_detaching(stack, name), 15, "it has begun")
    operator.cancel()
    detaching.join()
    operator.close()
    reader.close()
    assert is_detaching(stack, name)


def test_what_an_older_version_has_begun_is_ended(stack):
    """Also by a loader that keeps everything; records of that day wait for it."""
    store_days(stack, [0, 5, 9])
    execute(stack, f"COMMENT ON TABLE {day_name(5)} IS '{MARK}'")
    detach_halfway(stack, day_name(5))
    store_late(stack, 5)
    start_with(stack)
    wait_until(lambda: "a day of logs is dropped" in stack.loader.log_text(), 10, "it is dropped")
    stack.wait_rows(21)
    assert day_name(5) in partitions(stack) and day_name(9) in partitions(stack)
    assert counted_rows(stack) == 21


@pytest.mark.parametrize("mark, there", [(MARK, 0), ("our archive", 1)])
def test_a_detached_day_is_dropped_only_if_that_was_begun(stack, mark, there):
    store_days(stack, [0, 5, 6])
    name = day_name(6)
    execute(stack, f"ALTER TABLE logs DETACH PARTITION {name}",
            f"COMMENT ON TABLE {name} IS '{mark}'")
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_until(lambda: day_name(5) not in partitions(stack), 15, "the next day is gone")
    assert exists(stack, name) == there


def test_a_late_record_of_an_archived_day_gets_a_table_of_its_own(stack):
    store_days(stack, [0, 5])
    name = day_name(5)
    execute(stack, f"ALTER TABLE logs DETACH PARTITION {name}")
    store_late(stack, 5)
    stack.wait_rows(11)
    assert f"{name}_2" in partitions(stack)
    execute(stack, f"ALTER TABLE logs DETACH PARTITION {name}_2")
    start_with(stack)
    store_late(stack, 5)
    stack.wait_rows(11)
    assert f"{name}_3" in partitions(stack)
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_until(lambda: not exists(stack, f"{name}_3"), 15, "the late record's table is dropped")
    assert exists(stack, name) and exists(stack, f"{name}_2")
    assert stack.postgres.value(f"SELECT count(*) FROM {name}") == 10


def test_a_late_record_waits_for_its_detached_day_to_be_dropped(stack):
    store_days(stack, [0, 5])
    name = day_name(5)
    execute(stack, f"ALTER TABLE logs DETACH PARTITION {name}",
            f"COMMENT ON TABLE {name} IS '{MARK}'")
    reader = begin_to_read(stack, name)
    start_with(stack)
    wait_logged(stack, "old logs are dropped later")
    store_late(stack, 5)
    wait_logged(stack, f"{name} is being dropped")
    reader.close()
    start_with(stack)
    stack.wait_rows(11)
    assert name in partitions(stack)
    assert counted_rows(stack) == 11


def test_what_others_detach_is_not_touched(stack):
    store_days(stack, [0, 5, 6])
    detach_halfway(stack, day_name(6))
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_until(lambda: not exists(stack, day_name(5)), 15, "the other day is dropped")
    assert is_detaching(stack, day_name(6)) and exists(stack, day_name(6))


def test_a_mark_alone_drops_no_day(stack):
    """An older version has left one on a day, which somebody then detaches to keep it elsewhere."""
    store_days(stack, [0, 1])
    # Behind its first batch it prunes, and would miss the functions.
    stack.loader.stop()
    name = day_name(1)
    execute(stack, f"COMMENT ON TABLE {name} IS '{MARK}'",
            "DELETE FROM schema_migrations WHERE version = 5",
            "DROP FUNCTION sluice_make_partition, sluice_drop_day, sluice_forget_frames,"
            " sluice_forget_keys")
    assert stack.loader.run("migrate").returncode == 0
    assert comment(stack, name) is None
    execute(stack, f"ALTER TABLE logs DETACH PARTITION {name}")
    start_with(stack)
    stack.api().log()
    stack.wait_rows(11)
    assert exists(stack, name)


def test_the_newest_day_cannot_be_dropped(stack):
    """Whatever a loader asks for."""
    store_days(stack, [0, 1])
    connection = psycopg2.connect(f"{stack.postgres.dsn} user=sluice_loader")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for name, why in ((day_name(0), "is the newest day"), (day_name(3), "is no day"),
                          ("logs", "is no day"), ("counters", "is no day")):
            with pytest.raises(psycopg2.Error, match=why):
                cursor.execute("SELECT sluice_drop_day(%s)", (name,))
        cursor.execute("SELECT sluice_drop_day(%s)", (day_name(1),))
    connection.close()
    assert stack.rows() == 10 and counted_rows(stack) == 10


def test_a_migration_does_not_keep_days_from_being_dropped(stack):
    store_days(stack, [0, 5])
    migration = stack.postgres.connect()
    with migration.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7306930287321604098)")
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="2")
    wait_until(lambda: not exists(stack, day_name(5)), 15, "the day is dropped")
    migration.close()


def test_a_loader_stops_between_two_days(stack):
    """Each takes a second here."""
    execute(stack, "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql"
                   " AS $$ BEGIN PERFORM pg_sleep(1) FROM pg_event_trigger_dropped_objects()"
                   " WHERE original AND object_name LIKE 'logs%'; END $$",
            "CREATE EVENT TRIGGER slow ON sql_drop WHEN TAG IN ('DROP TABLE')"
            " EXECUTE FUNCTION slow()")
    store_days(stack, range(20))
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="1")
    wait_logged(stack, "a day of logs is dropped")
    stack.loader.stop()
    assert "without waiting" not in stack.loader.log_text()
    assert len(partitions(stack)) > 8


def test_a_clock_alone_drops_nothing(stack):
    """What counts is the newest record, if the server's clock is ahead of it; and an edge whose
    clock is ahead does not make today old."""
    store_days(stack, [0, 1, -1])
    start_with(stack, SLUICED_STORAGE_KEEP_DAYS="1")
    stack.api().log()
    stack.wait_rows(31)
    assert day_name(1) in partitions(stack)
