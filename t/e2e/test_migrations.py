"""A database of an earlier version, with what it holds, brought up to date beside those who use it."""

import re
import threading

import pytest

from harness.build import ROOT
from harness.exact import wrong_sums
from harness.waiting import wait_until

DAYS = ["20241112", "20241113", "20241114"]
ROWS = 300


def apply_until(cursor, version):
    for path in sorted((ROOT / "sql").glob("[0-9]*.sql")):
        number = int(path.name[:3])
        if number <= version:
            cursor.execute(path.read_text())
            cursor.execute("INSERT INTO schema_migrations (version, name) VALUES (%s, %s)",
                           (number, path.stem))


def fill(cursor):
    for day in DAYS:
        cursor.execute(
            f"CREATE TABLE logs_{day} PARTITION OF logs FOR VALUES FROM ('{day}Z')"
            f" TO ('{day}Z'::timestamptz + interval '1 day')")
        cursor.execute(
            "INSERT INTO logs SELECT g, %s::timestamptz + g * interval '4 min', 'device-' || g %% 9,"
            " (enum_range(NULL::log_level))[1 + g %% 5], 'message', '{}'"
            " FROM generate_series(1, %s) AS g", (day + "Z", ROWS))
    cursor.execute(
        "INSERT INTO counters SELECT date_trunc('minute', created_at), log_level, 'slot-' || id % 3,"
        " count(*) FROM logs GROUP BY 1, 2, 3")


@pytest.fixture
def old(make_stack):
    """What version 4 has left: tables of one owner, and days of logs."""
    stack = make_stack()
    stack.redis.start()
    stack.postgres.start()
    postgres = stack.postgres
    connection = postgres.connect("postgres")
    cursor = connection.cursor()
    cursor.execute("DROP DATABASE sluice")
    connection.close()
    postgres.make_database()
    connection = postgres.connect()
    cursor = connection.cursor()
    cursor.execute("SET ROLE sluice_migrator; SET TimeZone = 'UTC'; CREATE TABLE schema_migrations"
                   " (version integer PRIMARY KEY, name text NOT NULL,"
                   " applied_at timestamptz NOT NULL DEFAULT now())")
    apply_until(cursor, 4)
    fill(cursor)
    yield stack, cursor
    connection.close()


def migrate(stack):
    done = stack.loader.run("migrate")
    assert done.returncode == 0, done.stderr


def indexes(stack, table):
    """Names and columns of the indexes that can be used."""
    return {name: re.search(r"\((.*)\)", definition)[1] for name, definition in
            stack.postgres.query(
                "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
                " WHERE indrelid = %s::regclass AND indisvalid", table)}


def index_files(stack, table):
    """Whoever builds an index anew gives it another file."""
    return dict(stack.postgres.query(
        "SELECT indexrelid::regclass::text, pg_relation_filenode(indexrelid) FROM pg_index"
        " WHERE indrelid = %s::regclass AND indisvalid", table))


PAGES = {"device_id, created_at, id, log_level", "log_level, created_at, id"}


def test_what_is_there_is_summed_and_indexed(old):
    stack, cursor = old
    migrate(stack)
    assert stack.postgres.value("SELECT sum(n) FROM counters_day") == len(DAYS) * ROWS
    assert stack.postgres.value("SELECT count(*) FROM counters_hour") > 24
    assert not wrong_sums(stack.postgres)
    assert stack.postgres.query(
        "SELECT device_id, last_seen FROM devices ORDER BY 1") == stack.postgres.query(
        "SELECT device_id, max(created_at) FROM logs GROUP BY 1 ORDER BY 1")
    for table in ("logs", *(f"logs_{day}" for day in DAYS)):
        assert set(indexes(stack, table).values()) == PAGES, table
    # A day that is made from now on has the same.
    cursor.execute("SELECT sluice_make_partition('logs', 20100)")
    name = cursor.fetchone()[0]
    assert set(indexes(stack, name).values()) == PAGES


def test_without_rows(old):
    stack, cursor = old
    cursor.execute("DELETE FROM logs; DELETE FROM counters")
    migrate(stack)
    assert stack.postgres.query("SELECT * FROM devices") == []
    assert not wrong_sums(stack.postgres)


def test_indexes_that_were_built_beforehand_are_taken(old):
    stack, cursor = old
    for day in DAYS:
        cursor.execute(f"CREATE INDEX CONCURRENTLY device_{day} ON logs_{day}"
                       ' (device_id COLLATE "C", created_at, id, log_level)')
        cursor.execute(f"CREATE INDEX CONCURRENTLY level_{day} ON logs_{day}"
                       " (log_level, created_at, id)")
    before = {day: index_files(stack, f"logs_{day}") for day in DAYS}
    migrate(stack)
    for day in DAYS:
        assert set(indexes(stack, f"logs_{day}").values()) == PAGES
        assert index_files(stack, f"logs_{day}") == {
            name: before[day][name] for name in (f"device_{day}", f"level_{day}")}
    assert not stack.postgres.value(
        "SELECT count(*) FROM pg_index WHERE indrelid = 'logs'::regclass AND NOT indisvalid")


def test_what_an_older_loader_stores_meanwhile_is_summed_too(old):
    """Its transaction is halfway when the migration comes, and is waited for."""
    stack, _ = old
    loader = stack.postgres.connect()
    loader.autocommit = False
    cursor = loader.cursor()
    cursor.execute("SET ROLE sluice_migrator; SET TimeZone = 'UTC'; INSERT INTO logs SELECT 1000,"
                   " '2024-11-14 12:00Z', 'late', 'INFO', 'm', '{}'")
    migrating = threading.Thread(target=migrate, args=(stack,))
    migrating.start()
    wait_until(lambda: stack.postgres.value(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), 10, "it waits")
    count = ("INSERT INTO counters VALUES ('2024-11-14 12:00Z', 'INFO', 'old-0', 1)"
             " ON CONFLICT (minute, log_level, slot) DO UPDATE SET n = counters.n + excluded.n")
    cursor.execute(count)
    loader.commit()
    migrating.join(30)
    assert stack.postgres.value("SELECT sum(n) FROM counters_day") == len(DAYS) * ROWS + 1
    # And after it.
    for _ in range(3):
        cursor.execute(count)
        loader.commit()
    assert not wrong_sums(stack.postgres)
    assert stack.postgres.value("SELECT n FROM counters_day WHERE slot = 'old-0'") == 4
    loader.close()


def test_sums_follow_whatever_is_done_to_the_counters(old):
    stack, cursor = old
    migrate(stack)
    cursor.execute("SET TimeZone = 'Asia/Kathmandu'")  # days are those of UTC
    for sql in (
            "INSERT INTO counters SELECT '2024-11-12Z'::timestamptz + g * interval '7 min',"
            " 'ERROR', 'slot-' || g % 4, g FROM generate_series(1, 500) AS g"
            " ON CONFLICT (minute, log_level, slot) DO UPDATE SET n = counters.n + excluded.n",
            "UPDATE counters SET n = n + 1 WHERE log_level <> 'DEBUG'",
            "UPDATE counters SET n = n * 3 - 1 WHERE slot = 'slot-3'",
            "UPDATE counters SET n = n WHERE false",
            "DELETE FROM counters WHERE minute >= '2024-11-13Z' AND minute < '2024-11-14Z'",
            "DELETE FROM counters WHERE slot = 'slot-1' AND log_level = 'INFO'",
            "INSERT INTO counters VALUES ('2024-11-13 23:59Z', 'INFO', 'slot-1', 5)",
            "DELETE FROM counters"):
        cursor.execute(sql)
        assert not wrong_sums(stack.postgres), sql
    assert stack.postgres.query("SELECT * FROM counters_hour UNION ALL TABLE counters_day") == []
