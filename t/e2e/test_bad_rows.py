"""Rows that Postgres refuses: the rest is stored once, they are kept as dead letters."""

import base64
import os
import uuid
from itertools import product

import psycopg2
import pytest

from harness.exact import check_sums
from harness.frames import add, frame, row
from harness.waiting import wait_until
from test_daemon_stops import ended, terminate

DEAD_LETTER = r"a record cannot be stored: kept in dead_letters"
REFUSES = r"postgres refuses, and will: nothing is acknowledged"

# What nothing that the edge lets through looks like, and what Postgres says to it.
POISONS = {
    "raw NUL": (row(b"a\0b"), "22021"),
    "NUL in JSON": (row(log_data=r'{"a":"\\u0000"}'), "22P05"),
    "lone surrogate": (row(log_data=r'{"a":"\\ud800"}'), "22P02"),
    "invalid UTF-8": (row(b"\xff"), "22021"),
    "number overflow": (row(log_data='{"a":1e400000}'), "22003"),
    "unknown level": (row(level="LOUD"), "22P02"),
    "bad time": (row(event_time="no time"), "22007"),
    "time out of range": (row(event_time="294277-01-01T00:00:00Z"), "22008"),
    "too few columns": (b"d\tINFO\tm\t{}", "22P04"),
    "too many columns": (row() + b"\t1", "22P04"),
    "no columns": (b"", "22P04"),
    "too deep": (row(log_data='{"a":' + "[" * 50000 + "]" * 50000 + "}"), "54001"),
    "no JSON": (row(log_data="{"), "22P02"),
    "null": (row(r"\N"), "23502"),
    "too long for the index": (row(device_id=base64.b64encode(os.urandom(6000))), "54000"),
    "end of data": (b"\\.", "22P04"),
    "end of data within": (row(r"a\.b"), "22P04"),
    "carriage return": (row("a\rb"), "22P04"),
    "only a carriage return more": (row() + b"\r", "22P04"),
    "backslash at the end": (b"d\tINFO\tm\t{}\\", "22P04"),
}
FRAMES, RECORDS = 3, 4
PLACES = {
    "first": [(0, 0)],
    "middle": [(1, 2)],
    "last": [(FRAMES - 1, RECORDS - 1)],
    "several": [(0, 3), (1, 0), (2, 1)],
    "all of a frame": [(1, position) for position in range(RECORDS)],
    "all": [(number, position) for number in range(FRAMES) for position in range(RECORDS)],
}


@pytest.fixture
def stack(make_stack):
    """Without nginx and the server: these tests write the stream themselves."""
    stack = make_stack()
    for part in (stack.redis, stack.postgres, stack.loader):
        part.launch()
    for part in (stack.redis, stack.postgres, stack.loader):
        part.wait_ready()
    # Until it has a group there is nothing to be drained.
    wait_until(lambda: stack.redis.client.exists("logs:stream"), 15, "the loader has made its group")
    return stack


def add_rows(stack, frames_rows, **options):
    """Adds frames of these rows; returns (stream id, frame) of each."""
    entries = [frame(rows, **options) for rows in frames_rows]
    return list(zip(add(stack.redis, entries), entries))


def stored(stack):
    """How many rows each message has."""
    return dict(stack.postgres.query("SELECT message, count(*) FROM logs GROUP BY message"))


def dead_letters(stack):
    """(stream id, position): (sqlstate, bytes, u, t in ms)"""
    rows = stack.postgres.query(
        "SELECT stream_id, position, sqlstate, row_bytes, u::text,"
        " round(extract(epoch FROM t) * 1000)::bigint FROM dead_letters"
    )
    letters = {
        (stream_id, position): (sqlstate, bytes(data), uuid.UUID(u).bytes, t)
        for stream_id, position, sqlstate, data, u, t in rows
    }
    assert len(letters) == len(rows), "a dead letter is there twice"
    return letters


def check_counters(stack):
    assert stack.postgres.value("SELECT coalesce(sum(n), 0) FROM counters") == stack.rows()
    assert not stack.postgres.query(
        "SELECT 1 FROM (SELECT date_trunc('minute', created_at) AS minute, log_level, count(*) AS n"
        "   FROM logs GROUP BY 1, 2) AS real"
        " FULL JOIN (SELECT minute, log_level, sum(n) AS n FROM counters GROUP BY 1, 2) AS counted"
        " USING (minute, log_level) WHERE real.n IS DISTINCT FROM counted.n"
    )
    check_sums(stack)


def logged(stack, text):
    return text in stack.loader.log_text()


def test_poison_is_kept_apart_wherever_it_stands(stack):
    stack.allow(DEAD_LETTER)
    expected = {}
    healthy = set()
    for (name, (poison, sqlstate)), (place, positions) in product(POISONS.items(), PLACES.items()):
        messages = [[f"{name}, {place}, {number} {position}" for position in range(RECORDS)]
                    for number in range(FRAMES)]
        healthy |= {messages[number][position] for number in range(FRAMES)
                    for position in range(RECORDS) if (number, position) not in positions}
        rows = [list(map(row, frame_messages)) for frame_messages in messages]
        for number, position in positions:
            rows[number][position] = poison
        entries = add_rows(stack, rows)
        for number, position in positions:
            stream_id, fields = entries[number]
            expected[(stream_id, position)] = (sqlstate, poison, fields["u"], fields["t"])
        stack.wait_drained()
    assert stored(stack) == dict.fromkeys(healthy, 1)
    letters = dead_letters(stack)
    assert {place: letter[0] for place, letter in letters.items()} == {
        place: letter[0] for place, letter in expected.items()
    }
    assert letters == expected
    check_counters(stack)
    assert stack.postgres.value("SELECT count(DISTINCT id) FROM logs") == len(healthy)


def test_bad_rows_among_many_take_few_copies(stack):
    stack.allow(DEAD_LETTER)
    rows = [[row(f"{number} {position}") for position in range(1000)] for number in range(5)]
    places = {(0, 0), (2, 500), (2, 501), (4, 999)}
    for number, position in places:
        rows[number][position] = POISONS["unknown level"][0]
    entries = add_rows(stack, rows)
    stack.wait_drained()
    assert stack.rows() == 5000 - len(places)
    assert set(dead_letters(stack)) == {(entries[number][0], position)
                                        for number, position in places}
    check_counters(stack)
    # Each piece of a careful batch that went in has an xid of its own.
    xids = stack.postgres.value("SELECT count(DISTINCT xmin::text) FROM logs")
    assert xids <= 3 * len(places) + 1


def test_rows_that_are_bad_only_together_are_all_stored(stack):
    """A line that ends in a backslash swallows the next; one that ends the data hides the rest."""
    at_noon = "2024-11-14T12:00:00Z"
    for number, tail in enumerate((b"\\", b"\\.")):
        entries = [[row(f"before {number}"), row(f"bad {number}", event_time=at_noon) + tail,
                    row(f"after {number}")], [row(f"next {number}")]]
        add_rows(stack, entries)
        stack.wait_drained()
    assert stored(stack) == {f"{name} {number}": 1 for number in range(2)
                             for name in ("before", "bad", "after", "next")}
    assert dead_letters(stack) == {}
    check_counters(stack)


def test_later_batches_flow_and_the_stream_is_trimmed(stack):
    stack.allow(DEAD_LETTER)
    for number in range(400):
        rows = [row(f"good {number}")]
        if number % 50 == 0:
            rows.append(POISONS["bad time"][0])
        add_rows(stack, [rows])
    stack.wait_drained()
    assert stack.rows() == 400
    assert len(dead_letters(stack)) == 8
    wait_until(lambda: stack.redis.stream_length() <= 128, 20, "the stream is trimmed")
    check_counters(stack)


def test_the_log_holds_nothing_of_the_records(stack):
    stack.allow(DEAD_LETTER)
    secret = "sesame-4711"
    bad = [row(level=secret), row(event_time=secret), row(log_data='{"a":' + secret),
           row("x\\n" + secret, level=secret), row(secret) + b"\t" + secret.encode()]
    add_rows(stack, [[row(secret)] + bad])
    stack.wait_drained()
    assert len(dead_letters(stack)) == 5
    assert logged(stack, "kept in dead_letters")
    assert not logged(stack, secret)
    reasons = [reason for (reason,) in stack.postgres.query("SELECT reason FROM dead_letters")]
    assert f'invalid input value for enum log_level: "{secret}"' in reasons


def test_a_long_reason_is_cut(stack):
    stack.allow(DEAD_LETTER)
    add_rows(stack, [[row(level="\u00e4" * 1000)]])
    stack.wait_drained()
    reason = stack.postgres.value("SELECT reason FROM dead_letters")
    assert len(reason.encode()) in (499, 500)
    assert reason.endswith("\u00e4")


def loader_waits_for_lock(stack):
    return stack.postgres.query(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sluiced-load'"
        " AND wait_event_type = 'Lock'"
    )


@pytest.mark.parametrize("table", ["dead_letters", "counters"])
@pytest.mark.parametrize("end", ["kill", "terminate", "cancel"])
def test_an_end_in_the_middle_makes_nothing_twice(stack, table, end):
    """Whether the loader is killed, its connection cut, or its statement cancelled."""
    stack.allow(DEAD_LETTER)
    rows = [[row(f"{number} {position}") for position in range(10)] for number in range(3)]
    poison = POISONS["unknown level"][0]
    rows[0][0] = rows[1][5] = rows[2][9] = poison
    lock = psycopg2.connect(host=str(stack.folder), dbname="sluice", user="sluice")
    with lock.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        entries = add_rows(stack, rows)
        wait_until(lambda: loader_waits_for_lock(stack), 15, "the loader waits for the lock")
        if end == "kill":
            stack.loader.kill()
        else:
            stack.postgres.query(
                f"SELECT pg_{end}_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'sluiced-load'"
            )
            wait_until(lambda: logged(stack, "postgres failed, trying again"), 15)
    lock.close()
    if end == "kill":
        stack.loader.start()
    stack.wait_drained()
    assert set(dead_letters(stack)) == {(entries[0][0], 0), (entries[1][0], 5), (entries[2][0], 9)}
    assert stack.rows() == 27
    assert set(stored(stack).values()) == {1}
    check_counters(stack)


def test_killed_again_and_again_while_it_searches(stack):
    stack.allow(DEAD_LETTER)
    poison = POISONS["unknown level"][0]
    sent, letters = set(), set()
    for attempt in range(8):
        rows = [[row(f"{attempt} {number} {position}") for position in range(50)]
                for number in range(4)]
        sent |= {f"{attempt} {number} {position}" for number in range(4) for position in range(50)
                 if position % 5}
        for number in range(4):
            rows[number][::5] = [poison] * 10
        before = len(dead_letters(stack))
        entries = add_rows(stack, rows)
        letters |= {(entries[number][0], position) for number in range(4)
                    for position in range(0, 50, 5)}
        wait_until(
            lambda: stack.postgres.query(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sluiced-load'"
                " AND (query LIKE %s OR query LIKE %s)", "%SAVEPOINT%", "%dead_letters%"
            ) or len(dead_letters(stack)) > before, 15, "it searches",
        )
        stack.loader.kill()
        stack.loader.start()
    stack.wait_drained()
    assert set(dead_letters(stack)) == letters
    assert stored(stack) == dict.fromkeys(sent, 1)
    check_counters(stack)


# What an operator may do to the schema: broken by, mended by.
BREAKAGES = {
    "column gone": ("ALTER TABLE logs RENAME COLUMN message TO message_away",
                    "ALTER TABLE logs RENAME COLUMN message_away TO message"),
    "table gone": ("ALTER TABLE logs RENAME TO logs_away", "ALTER TABLE logs_away RENAME TO logs"),
    "dead letters gone": ("ALTER TABLE dead_letters RENAME TO away",
                          "ALTER TABLE away RENAME TO dead_letters"),
    "counters gone": ("ALTER TABLE counters RENAME TO away", "ALTER TABLE away RENAME TO counters"),
    "another column": ("ALTER TABLE logs ADD COLUMN tenant text NOT NULL DEFAULT '';"
                       "ALTER TABLE logs ALTER COLUMN tenant DROP DEFAULT",
                       "ALTER TABLE logs DROP COLUMN tenant"),
    "narrower column": ("ALTER TABLE logs ALTER COLUMN message TYPE varchar(10)",
                        "ALTER TABLE logs ALTER COLUMN message TYPE text"),
    "constraint": ("ALTER TABLE logs ADD CONSTRAINT never CHECK (false) NOT VALID",
                   "ALTER TABLE logs DROP CONSTRAINT never"),
    "level gone": ("ALTER TYPE log_level RENAME VALUE 'CRITICAL' TO 'FATAL'",
                   "ALTER TYPE log_level RENAME VALUE 'FATAL' TO 'CRITICAL'"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_schema_stops_the_loader_and_loses_nothing(stack, name):
    stack.allow(DEAD_LETTER)
    stack.allow(REFUSES)
    broken_by, mended_by = BREAKAGES[name]
    add_rows(stack, [[row("before")]])
    stack.wait_drained()
    stack.postgres.connect().cursor().execute(broken_by)
    rows = [row(f"meanwhile {number}, and longer", level="CRITICAL") for number in range(5)]
    entries = add_rows(stack, [rows, [row("one more"), POISONS["bad time"][0]]])
    wait_until(lambda: logged(stack, "nothing is acknowledged"), 20, "the loader says so")
    # It may have said so of partitions to come, which it makes each hour.
    wait_until(lambda: stack.redis.pending() > 0, 20, "the entries are read")
    if name != "dead letters gone":
        assert dead_letters(stack) == {}
    # Asked for health every second, it is there, and so is Redis' record of it.
    wait_until(lambda: stack.redis.client.hget("logs:stream:loader", "postgres") == b"up", 5)
    stack.postgres.connect().cursor().execute(mended_by)
    stack.wait_drained()
    expected = {"before", "one more"} | {f"meanwhile {number}, and longer" for number in range(5)}
    assert stored(stack) == dict.fromkeys(expected, 1)
    assert set(dead_letters(stack)) == {(entries[1][0], 1)}
    check_counters(stack)


def test_a_stopped_loader_leaves_a_broken_schema_alone(stack):
    stack.allow(REFUSES)
    broken_by, mended_by = BREAKAGES["column gone"]
    stack.postgres.connect().cursor().execute(broken_by)
    add_rows(stack, [[row("kept")]])
    wait_until(lambda: logged(stack, "nothing is acknowledged"), 20, "the loader says so")
    stack.loader.stop()
    assert stack.redis.pending() == 1
    stack.postgres.connect().cursor().execute(mended_by)
    stack.loader.start()
    stack.wait_drained()
    assert stored(stack) == {"kept": 1}


@pytest.mark.parametrize("right", ["INSERT ON logs", "INSERT ON ledger", "INSERT ON dead_letters",
                                   "INSERT ON counters", "USAGE ON SEQUENCE log_id_blocks",
                                   "EXECUTE ON FUNCTION sluice_make_partition(text, bigint)"])
def test_a_revoked_right_stops_the_loader_and_loses_nothing(make_stack, right):
    stack = make_stack()
    stack.allow(DEAD_LETTER)
    stack.allow(REFUSES)
    stack.redis.start()
    stack.postgres.start()
    cursor = stack.postgres.connect().cursor()
    cursor.execute(f"REVOKE {right} FROM sluice_loader")
    stack.loader.start()
    wait_until(lambda: stack.redis.client.exists("logs:stream"), 15)
    entries = add_rows(stack, [[row("kept"), POISONS["bad time"][0]]])
    wait_until(lambda: logged(stack, "nothing is acknowledged"), 20, "the loader says so")
    assert logged(stack, "42501")
    # It may have said so before it read: partitions of days to come are made at the start.
    wait_until(lambda: stack.redis.pending() == 1, 20, "the entry is read")
    assert stack.rows() == 0 and dead_letters(stack) == {}
    cursor.execute(f"GRANT {right} TO sluice_loader")
    stack.wait_drained()
    assert stored(stack) == {"kept": 1}
    assert set(dead_letters(stack)) == {(entries[0][0], 1)}


def test_a_violated_constraint_is_a_bad_row(stack):
    """Not a missing partition, though both have the same SQLSTATE."""
    stack.allow(DEAD_LETTER)
    add_rows(stack, [[row("first")]])
    stack.wait_drained()
    stack.postgres.connect().cursor().execute(
        "ALTER TABLE logs ADD CONSTRAINT polite CHECK (message <> 'damn')"
    )
    entries = add_rows(stack, [[row("good"), row("damn"), row("fine")]])
    stack.wait_drained()
    assert stored(stack) == {"first": 1, "good": 1, "fine": 1}
    (letter,) = dead_letters(stack).items()
    assert letter[0] == (entries[0][0], 1)
    assert letter[1][0] == "23514"


def test_a_dropped_partition_is_made_again(stack):
    t_ms = 1731585600000
    for number in range(2):
        add_rows(stack, [[row(f"number {number}")]], t_ms=t_ms + number)
        stack.wait_drained()
        assert stack.postgres.value("SELECT count(*) FROM logs_20241114") == 1
        stack.postgres.connect().cursor().execute("DROP TABLE logs_20241114")
    assert dead_letters(stack) == {}


def test_a_loader_that_is_stopped_while_it_searches_leaves_in_time(stack):
    stack.allow(DEAD_LETTER)
    stack.allow(r"stopped without waiting")
    rows = [[POISONS["unknown level"][0]] * 1000 for _ in range(8)]
    rows[7][0] = row("the only one")
    add_rows(stack, rows)
    wait_until(lambda: logged(stack, "looking for them"), 15, "it searches")
    ended(stack.loader, terminate(stack.loader))
    stack.loader.kill()
    stack.loader.start()
    stack.wait_drained(120)
    assert stored(stack) == {"the only one": 1}
    assert len(dead_letters(stack)) == 7999
    check_counters(stack)
