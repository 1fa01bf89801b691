"""sluiced import: another system's table, taken over once, also through kills."""

import datetime
import os
import random
import re
import signal
import subprocess
import time

import psycopg2
import pytest

from harness import frames
from harness.build import SLUICED
from harness.exact import check_counters, stored_messages
from harness.terminal import run_at_terminal
from harness.waiting import wait_until

TABLE = """CREATE TABLE logs (
    id SERIAL PRIMARY KEY, device_id VARCHAR(50) NOT NULL, log_level VARCHAR(20) NOT NULL,
    message TEXT NOT NULL, log_data JSONB, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"""


class Old:
    """The system that was there before: a database of its own."""

    def __init__(self, stack):
        self.stack = stack
        connection = stack.postgres.connect("postgres")
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE old")
        connection.close()
        self.dsn = f"host={stack.folder} dbname=old user=sluice"
        self.execute(TABLE)

    def execute(self, sql, *parameters):
        connection = self.stack.postgres.connect("old")
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            rows = cursor.fetchall() if cursor.description else None
        connection.close()
        return rows

    def add(self, message="m", device="d", level="INFO", data="{}", created="2024-11-14 10:30:00"):
        return self.execute(
            "INSERT INTO logs (device_id, log_level, message, log_data, created_at)"
            " VALUES (%s, %s, %s, %s, %s) RETURNING id", device, level, message, data, created)[0][0]

    def add_many(self, count):
        """In no order."""
        self.execute(
            "INSERT INTO logs (id, device_id, log_level, message, log_data, created_at)"
            " SELECT n, 'dev-' || n %% 100, (ARRAY['DEBUG','INFO','WARNING','ERROR','CRITICAL'])"
            "[1 + n %% 5], 'm' || n, jsonb_build_object('n', n), timestamp '2024-11-10'"
            " + n * interval '17 seconds' FROM generate_series(1, %s) AS n ORDER BY md5(n::text)",
            count)
        self.execute("SELECT setval('logs_id_seq', %s)", count)

    def run(self, *arguments, expected=0):
        done = self.stack.loader.run("import", "--from", self.dsn, *arguments)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def stack(make_stack):
    """Redis is not needed for it."""
    stack = make_stack()
    stack.postgres.start()
    return stack


@pytest.fixture
def old(stack):
    return Old(stack)


def query(stack, sql):
    return stack.postgres.query(sql)


def test_rows_become_what_they_were(stack, old):
    nasty = 'tab\t newline\n return\r backslash\\ quote" \\N \\. \u00e9\u4e2d\U0001f600'
    old.add(nasty, "pump-\u00e9", "warning", '{"b": [1, 12345678901234567890.10], "a": "x\\ty"}',
            "2023-01-02 03:04:05.678901")
    old.add("no data", data=None, level="Critical")
    assert old.run() == "2 records taken over, 0 refused and kept as dead letters\n"
    rows = query(stack, "SELECT message, device_id, log_level::text, log_data::text, created_at,"
                        " event_time FROM logs ORDER BY id")
    utc = datetime.timezone.utc
    assert rows == [
        (nasty, "pump-\u00e9", "WARNING", '{"a": "x\\ty", "b": [1, 12345678901234567890.10]}',
         datetime.datetime(2023, 1, 2, 3, 4, 5, 678901, utc), None),
        ("no data", "d", "CRITICAL", "{}", datetime.datetime(2024, 11, 14, 10, 30, tzinfo=utc),
         None)]
    check_counters(stack)
    assert query(stack, "SELECT DISTINCT slot FROM counters") == [("import",)]
    assert query(stack, "SELECT name, last_id, records, refused FROM imports") == [
        ("old.public.logs", 2, 2, 0)]


def test_run_again_it_takes_what_is_new(stack, old):
    old.add_many(5000)
    old.run()
    assert old.run().startswith("0 records")
    old.add("later")
    done = stack.loader.run("import", "--from", old.dsn)
    assert done.stdout.startswith("1 records")
    assert "going on behind id 5000, after 5,000 records" in done.stderr
    # It is the same table by another name.
    old.execute("ALTER TABLE logs RENAME TO \"old Logs\"")
    assert old.run("--table", '"old Logs"').startswith("0 records")
    # And this is another one.
    old.execute(TABLE)
    old.add("of another table")
    assert old.run("--table", "public.logs").startswith("1 records")
    assert stored_messages(stack) == {**{f"m{n}": 1 for n in range(1, 5001)}, "later": 1,
                                      "of another table": 1}
    check_counters(stack)


def test_ids_of_any_kind(stack, old):
    old.execute("ALTER TABLE logs ALTER id TYPE bigint")
    ids = [-(2**63) + 1, -5, 0, 7, 2**62, 2**63 - 1]
    for number in ids:
        old.execute("INSERT INTO logs VALUES (%s, 'd', 'INFO', %s, '{}', now())", number,
                    str(number))
    assert old.run().startswith(f"{len(ids)} records")
    assert [int(message) for (message,) in query(stack, "SELECT message FROM logs ORDER BY id")
            ] == ids


def test_what_is_no_record_is_a_dead_letter(stack, old):
    old.execute("ALTER TABLE logs ALTER created_at TYPE timestamptz, ALTER message DROP NOT NULL,"
                " ALTER device_id TYPE text")
    good = [old.add("good", created="2024-11-14T10:30:00+02:00")]
    bad = {
        old.add("", level="INFO"): "message: empty",
        old.add(None): "message: empty",
        old.add(level="LOUD"): "unknown_level",
        old.add(device="x" * 51): "device_id: too_long",
        old.add(device="a\nb"): "control_character",
        old.add(data="[1]"): "log_data: wrong_type",
        old.add(created=None): "created_at: missing",
        old.add(created="infinity"): "created_at: missing, or not within",
        old.add(created="1969-12-31"): "created_at: missing, or not within",
        old.add(created="2100-01-01"): "created_at: missing, or not within",
        old.add(created="294276-12-31"): "created_at: missing, or not within",
    }
    good += [old.add("first day", created="1970-01-01Z"),
             old.add("last day", created="2099-12-31 23:59:59.999999Z")]
    said = old.run(expected=1)
    assert said == f"{len(good)} records taken over, {len(bad)} refused and kept as dead letters\n"
    assert set(stored_messages(stack)) == {"good", "first day", "last day"}
    letters = {int(stream_id.split("-")[1]): reason for stream_id, reason in query(
        stack, "SELECT stream_id, reason FROM dead_letters")}
    assert set(letters) == set(bad)
    for number, reason in bad.items():
        assert reason in letters[number], number
    check_counters(stack)
    assert old.run().startswith("0 records")
    # What is looked at says what it was.
    listed = stack.loader.run("dead-letters", "list").stdout
    (letter_id,) = [line.split()[0] for line in listed.splitlines() if "unknown_level" in line]
    assert "log_level = LOUD" in stack.loader.run("dead-letters", "show", letter_id).stdout


def test_rows_that_postgres_refuses(stack, old):
    connection = stack.postgres.connect()
    cursor = connection.cursor()
    cursor.execute("ALTER TABLE logs ADD CONSTRAINT no_bad CHECK (message <> 'm77')")
    old.add_many(300)
    assert old.run(expected=1).startswith("299 records taken over, 1 refused")
    assert query(stack, "SELECT sqlstate, position FROM dead_letters") == [("23514", 0)]
    check_counters(stack)
    cursor.execute("ALTER TABLE logs DROP CONSTRAINT no_bad")
    assert stack.loader.run("dead-letters", "replay", "--all").returncode == 0
    assert stored_messages(stack) == {f"m{n}": 1 for n in range(1, 301)}
    check_counters(stack)
    # What refuses everything is no reason to bury it all.
    cursor.execute("ALTER TABLE logs ADD CONSTRAINT nothing CHECK (false) NOT VALID")
    connection.close()
    old.add("another")
    done = stack.loader.run("import", "--from", old.dsn)
    assert done.returncode == 1 and "nothing" in done.stderr
    assert query(stack, "SELECT count(*) FROM dead_letters") == [(0,)]


def test_large_rows_do_not_come_in_thousands(stack, old):
    """As many of them as small ones are in a batch would be 200 MB, in each copy."""
    for count, message in ((3000, "'small ' || n"), (1000, "n || repeat('x', 200000)")):
        old.execute(f"INSERT INTO logs (device_id, log_level, message) SELECT 'd', 'INFO', {message}"
                    " FROM generate_series(1, %s) AS n", count)
    process = start_import(stack, old, asan_options=":quarantine_size_mb=1")
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, process.stderr.read()
    process.returncode = 0
    assert query(stack, "SELECT count(*) FROM logs") == [(4000,)]
    assert usage.ru_maxrss < 250 * 1024  # in KB


def start_import(stack, old, asan_options=""):
    stack.loader.before_start()
    environment = {**os.environ, **stack.loader.environment()}
    environment["ASAN_OPTIONS"] += asan_options
    return subprocess.Popen(
        [SLUICED, "import", "--from", old.dsn, "--config", stack.loader.conf_path],
        env=environment, cwd=stack.folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def connections(stack):
    return stack.postgres.value("SELECT count(*) FROM pg_stat_activity"
                                " WHERE application_name = 'sluiced-import'")


def test_killed_in_the_middle_it_goes_on(stack, old):
    count, kills = 60000, 6
    old.add_many(count)
    chance = random.Random(3)
    partly = 0
    for _ in range(kills):
        before = stack.rows()
        process = start_import(stack, old)
        wait_until(lambda: stack.rows() > before or process.poll() is not None, 20)
        time.sleep(chance.random() * 0.05)  # to be killed at any step; nothing depends on it
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: connections(stack) == 0, 10, "its transaction is over")
        partly += before < stack.rows() < count
        assert query(stack, "SELECT records, last_id FROM imports") == [(stack.rows(),) * 2]
    assert partly >= 3, "it was mostly done before it was killed"
    old.run()
    assert stored_messages(stack) == {f"m{n}": 1 for n in range(1, count + 1)}
    check_counters(stack)


def test_killed_before_it_remembers_nothing_was_stored(stack, old):
    old.add_many(500)
    old.run()
    old.add("once")
    holder = psycopg2.connect(host=str(stack.folder), dbname="sluice", user="sluice")
    holder.cursor().execute("SELECT 1 FROM imports FOR UPDATE")
    process = start_import(stack, old)
    wait_until(lambda: stack.postgres.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluiced-import'"
        " AND wait_event_type = 'Lock' AND query LIKE 'UPDATE imports%%'"), 15, "it is at that step")
    process.kill()
    process.communicate()
    holder.rollback()
    holder.close()
    wait_until(lambda: connections(stack) == 0, 10, "its transaction is over")
    assert stack.rows() == 500
    old.run()
    assert stored_messages(stack)["once"] == 1
    check_counters(stack)


def test_two_at_once_are_told(stack, old):
    """Each row is stored once, by whichever is first."""
    old.add_many(20000)
    both = [start_import(stack, old) for _ in range(2)]
    ends = []
    for process in both:
        said, wrong = process.communicate(timeout=60)
        ends.append((process.returncode, "another import of old.public.logs is at work" in wrong))
    assert (0, False) in ends and set(ends) <= {(0, False), (1, True)}
    assert stored_messages(stack) == {f"m{n}": 1 for n in range(1, 20001)}
    check_counters(stack)


def test_beside_what_loads(make_stack):
    """The old stream's entries are read by a loader as they are."""
    stack = make_stack().start_loading()
    old = Old(stack)
    old.add_many(2000)
    frames.add(stack.redis, [frames.frame([frames.row(f"new {n}")]) for n in range(50)])
    frames.add(stack.redis, [{"device_id": "d", "log_level": "INFO", "message": "left in stream",
                              "log_data": "{}", "created_at": "2024-11-14T10:30:00"}])
    old.run()
    stack.wait_drained()
    assert stack.rows() == 2051
    assert stored_messages(stack)["left in stream"] == 1
    check_counters(stack)


def test_a_reader_without_rights_is_enough(stack, old):
    old.execute("CREATE ROLE reader LOGIN")
    old.execute("GRANT SELECT ON logs TO reader")
    old.add()
    old.dsn = old.dsn.replace("user=sluice", "user=reader")
    assert old.run().startswith("1 records")


def test_mistakes_are_told(stack, old):
    done = stack.loader.run("import")
    assert done.returncode == 2 and "--from DSN is wanted" in done.stderr
    for arguments, said in (
        (["--from", old.dsn, "--table", "nowhere"], 'relation "nowhere" does not exist'),
        (["--from", old.dsn, "--table", "logs; DROP TABLE logs"], "syntax error|invalid name"),
        (["--from", f"host={stack.folder} dbname=nowhere"], "the other system's postgres: "),
    ):
        done = stack.loader.run("import", *arguments)
        assert done.returncode == 1 and re.search(said, done.stderr), done.stderr
        assert done.stderr.count("\n") == 1
    assert old.execute("SELECT count(*) FROM logs") == [(0,)]
    old.execute("ALTER TABLE logs DROP COLUMN message")
    assert 'column "message" does not exist' in stack.loader.run("import", "--from", old.dsn).stderr
    stack.loader.settings["SLUICED_POSTGRES_DSN"] = f"host={stack.folder} dbname=postgres"
    assert "run sluiced migrate" in stack.loader.run("import", "--from", old.dsn).stderr
    with pytest.raises(psycopg2.Error):
        stack.postgres.connect("nowhere")


def test_what_was_taken_over_is_not_taken_over_from(stack, old):
    old.add()
    old.run()
    day = query(stack, "SELECT tableoid::regclass::text FROM logs")[0][0]
    own = stack.postgres.dsn + " user=sluice"
    for table in ("logs", day):
        done = stack.loader.run("import", "--from", own, "--table", table)
        assert done.returncode == 1 and f"public.{table} is Sluice's own: " in done.stderr
    assert query(stack, "SELECT count(*) FROM logs") == [(1,)]
    # A table of the other system may stand in the same database.
    query(stack, "CREATE SCHEMA before; " + TABLE.replace("TABLE logs", "TABLE before.logs") + ";"
          "INSERT INTO before.logs (device_id, log_level, message) VALUES ('d', 'INFO', 'm')"
          " RETURNING id")
    done = stack.loader.run("import", "--from", own, "--table", "before.logs")
    assert done.returncode == 0, done.stderr
    assert query(stack, "SELECT count(*) FROM logs") == [(2,)]


def test_progress_at_a_terminal(stack, old):
    old.add_many(30000)
    stack.loader.before_start()
    status, got = run_at_terminal(
        [SLUICED, "import", "--from", old.dsn, "--config", stack.loader.conf_path],
        {**os.environ, **stack.loader.environment()}, stack.folder)
    assert status == 0
    assert re.search(rb"\rids [\d,]+ of 30,000 \(\d+ %\), [\d,]+/s", got), got
    assert b"ids 30,000 of 30,000 (100 %)" in got
    assert b"30,000 records taken over" in got
