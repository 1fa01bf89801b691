"""sluiced dead-letters: looked at safely, stored again exactly once, removed."""

import os
import random
import re
import signal
import subprocess
import time
import uuid

import pytest

from harness import frames
from harness.build import SLUICED
from harness.exact import check_counters, stored_messages
from harness.terminal import run_at_terminal
from harness.waiting import wait_until

DEAD_LETTER = r"a record cannot be stored: kept in dead_letters"
LOST_STATE = r"redis lost state"
NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066\u200b\x7f\x08 \u00e4\u4e2d \\x41"


@pytest.fixture
def stack(make_stack):
    stack = make_stack().start_loading()
    stack.allow(DEAD_LETTER)
    return stack


def execute(stack, sql, *parameters):
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
    connection.close()


def refuse(stack, word):
    execute(stack, f"ALTER TABLE logs ADD CONSTRAINT no_{word} CHECK (message NOT LIKE '%{word}%')")


def allow(stack, word):
    execute(stack, f"ALTER TABLE logs DROP CONSTRAINT no_{word}")


def letters(stack):
    return dict(stack.postgres.query("SELECT id, sqlstate FROM dead_letters ORDER BY id"))


def run(stack, *arguments, expected=0):
    done = stack.loader.run("dead-letters", *arguments)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


def add_letter(stack, fields, stream_id="1731585600123-4", u=None, t_ms=1731585600123):
    """A whole entry, as the loader keeps it."""
    texts = [text if isinstance(text, bytes) else str(text).encode()
             for pair in fields.items() for text in pair]
    data = b"".join(b"%d:%s," % (len(text), text) for text in texts)
    return stack.postgres.value(
        "INSERT INTO dead_letters (t, u, position, stream_id, sqlstate, reason, row_bytes)"
        " VALUES (to_timestamp(%s / 1000.0), %s, -1, %s, '', 'old rules', %s) RETURNING id",
        t_ms, u or str(uuid.uuid4()), stream_id, data)


def plain(message="m"):
    return {"device_id": "d", "log_level": "info", "message": message, "log_data": '{"a": 1}'}


def test_rows_are_stored_again_as_they_would_have_been(stack):
    refuse(stack, "bad")
    refuse(stack, "worse")
    old_ms = 1700000000123
    frames.add(stack.redis, [
        frames.frame([frames.row("good"), frames.row("bad 1", level="ERROR",
                                                     log_data='{"n": 1}'),
                      frames.row("worse 2")], t_ms=old_ms),
        frames.frame([frames.row("bad 3", event_time="2024-01-01T00:00:00Z")])])
    stack.wait_drained()
    assert stored_messages(stack) == {"good": 1}
    assert list(letters(stack).values()) == ["23514"] * 3
    allow(stack, "bad")
    said = run(stack, "replay", "--all", expected=1)
    assert said == "2 stored again, 1 refused again and kept, 0 were stored before\n"
    assert stored_messages(stack) == {"good": 1, "bad 1": 1, "bad 3": 1}
    check_counters(stack)
    ((created_ms, level, data, device),) = stack.postgres.query(
        "SELECT (extract(epoch FROM created_at) * 1000)::bigint, log_level::text, log_data,"
        " device_id FROM logs WHERE message = 'bad 1'")
    assert (created_ms, level, data, device) == (old_ms, "ERROR", {"n": 1}, "d")
    assert stack.postgres.value("SELECT count(*) FROM logs WHERE event_time = '2024-01-01Z'") == 1
    assert stack.postgres.value("SELECT sum(n) FROM counters WHERE slot = 'replay'") == 2
    # The one that stays, with a reason of now.
    (left,) = letters(stack)
    execute(stack, "UPDATE dead_letters SET reason = 'old', sqlstate = 'XXXXX'")
    run(stack, "replay", str(left), expected=1)
    assert stack.postgres.query("SELECT id, sqlstate, reason ~ 'no_worse' FROM dead_letters") == [
        (left, "23514", True)]
    allow(stack, "worse")
    assert run(stack, "replay", str(left)).startswith("1 stored again")
    assert letters(stack) == {}
    assert stack.rows() == 4
    check_counters(stack)


def test_some_by_their_ids(stack):
    ids = [add_letter(stack, plain(f"m{n}")) for n in range(4)]
    run(stack, "replay", str(ids[1]), str(ids[3]), str(ids[1]))
    assert list(letters(stack)) == [ids[0], ids[2]]
    assert stored_messages(stack) == {"m1": 1, "m3": 1}
    said = stack.loader.run("dead-letters", "replay", str(ids[0]), "999999")
    assert said.returncode == 1 and "of these ids 1 are of no dead letter" in said.stderr
    assert list(letters(stack)) == [ids[2]]


def test_poison_stays_poison(stack):
    """Whatever bytes they are made of, and the healthy one between them is stored."""
    poisons = [frames.row(b"a\0b"), frames.row(level="LOUD"), b"", b"\\.", b"a\\", frames.row("\r"),
               frames.row() + b"\t1", frames.row(b"\xff"), b"d\tINFO\tm\t{}\t\\N\nd"]
    for number, data in enumerate(poisons + [frames.row("healthy")]):
        execute(stack, "INSERT INTO dead_letters (t, u, position, stream_id, sqlstate, reason,"
                " row_bytes) VALUES (now(), gen_random_uuid(), %s, '1-1', 'old', 'old', %s)",
                number, data)
    said = run(stack, "replay", "--all", expected=1)
    assert said.startswith(f"1 stored again, {len(poisons)} refused again")
    assert stored_messages(stack) == {"healthy": 1}
    assert all(re.fullmatch("2[0-9A-Z]{4}", state) for state in letters(stack).values())
    check_counters(stack)


def test_if_all_is_refused_it_is_not_the_letters(stack):
    execute(stack, "ALTER TABLE logs ADD CONSTRAINT nothing CHECK (false) NOT VALID")
    add_letter(stack, plain())
    done = stack.loader.run("dead-letters", "replay", "--all")
    assert done.returncode == 1 and "nothing" in done.stderr
    assert list(letters(stack).values()) == [""]
    assert stack.postgres.value("SELECT reason FROM dead_letters") == "old rules"
    assert stack.postgres.value("SELECT count(*) FROM ledger") == 0


def test_a_whole_entry_that_meets_the_rules_by_now(stack):
    """Should Redis bring it back, the loader knows it."""
    stack.allow(LOST_STATE)
    entry = plain("once")
    (stream_id,) = frames.add(stack.redis, [entry])
    stack.wait_drained()
    ((u, t_ms),) = stack.postgres.query(
        "SELECT u::text, (extract(epoch FROM t) * 1000)::bigint FROM ledger")
    # As if older rules had refused it.
    execute(stack, "DELETE FROM logs; DELETE FROM ledger; DELETE FROM counters")
    add_letter(stack, entry, stream_id, u, t_ms)
    run(stack, "replay", "--all")
    assert stored_messages(stack) == {"once": 1}
    assert stack.postgres.query("SELECT u::text, stream_id, n FROM ledger") == [(u, stream_id, 1)]
    first = stack.postgres.value("SELECT first_row_id FROM ledger")
    assert stack.postgres.value("SELECT id FROM logs") == first
    stack.redis.client.delete("logs:stream")
    stack.wait_group()
    stack.redis.client.xadd("logs:stream", entry, id=stream_id)
    stack.wait_drained()
    assert stored_messages(stack) == {"once": 1}
    assert letters(stack) == {}
    # And one that was stored since it died.
    add_letter(stack, entry, stream_id, u, t_ms)
    assert run(stack, "replay", "--all").endswith("0 refused again and kept, 1 were stored before\n")
    assert letters(stack) == {}
    assert stored_messages(stack) == {"once": 1}
    check_counters(stack)


def test_a_whole_entry_that_does_not(stack):
    add_letter(stack, {**plain(), "log_level": "LOUD"})
    add_letter(stack, frames.frame([frames.row()]))
    cut = add_letter(stack, plain())
    execute(stack, "UPDATE dead_letters SET row_bytes = substr(row_bytes, 1, 30) WHERE id = %s", cut)
    refuse(stack, "bad")
    add_letter(stack, plain("bad"))
    run(stack, "replay", "--all", expected=1)
    reasons = [reason for (reason,) in stack.postgres.query(
        "SELECT reason FROM dead_letters ORDER BY id")]
    assert "unknown_level" in reasons[0]
    assert "a frame, and no plain entry" in reasons[1]
    assert "bytes were cut" in reasons[2]
    assert "no_bad" in reasons[3]
    assert stack.rows() == 0
    # Nothing says that they are stored.
    assert stack.postgres.value("SELECT count(*) FROM ledger") == 0
    allow(stack, "bad")
    assert run(stack, "replay", "--all", expected=1).startswith("1 stored again, 3 refused")


def add_many(stack, count):
    execute(stack, "INSERT INTO dead_letters (t, u, position, stream_id, sqlstate, reason, row_bytes)"
            " SELECT now() - n %% 3 * interval '1 day', gen_random_uuid(), n %% 7, '1-1', '', '',"
            " convert_to(E'd\\tINFO\\tm' || n || E'\\t{}\\t\\\\N', 'UTF8')"
            " FROM generate_series(1, %s) AS n", count)


def start_replay(stack):
    stack.loader.before_start()
    return subprocess.Popen(
        [SLUICED, "dead-letters", "replay", "--all", "--config", stack.loader.conf_path],
        env={**os.environ, **stack.loader.environment()}, cwd=stack.folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_in_the_middle_nothing_is_lost_or_there_twice(stack):
    count, kills = 40000, 6
    add_many(stack, count)
    chance = random.Random(7)
    for _ in range(kills):
        before = stack.rows()
        process = start_replay(stack)
        wait_until(lambda: stack.rows() > before or process.poll() is not None, 20)
        time.sleep(chance.random() * 0.05)  # to be killed at any step; nothing depends on it
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: stack.postgres.value(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'sluiced-dead-letters'") == 0, 10, "its transaction is over")
        assert stack.rows() + len(letters(stack)) == count
    assert letters(stack), "it was done before it was killed"
    # Two at once, for the rest.
    both = [start_replay(stack), start_replay(stack)]
    for process in both:
        said, wrong = process.communicate(timeout=120)
        assert process.returncode == 0, (said, wrong)
    assert letters(stack) == {}
    assert stored_messages(stack) == {f"m{n}": 1 for n in range(1, count + 1)}
    check_counters(stack)


def test_killed_before_it_removes_nothing_was_stored(stack):
    add_many(stack, 10)
    execute(stack, "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_advisory_xact_lock(77); RETURN OLD; END'")
    execute(stack, "CREATE TRIGGER wait BEFORE DELETE ON dead_letters FOR EACH ROW"
            " EXECUTE FUNCTION wait()")
    holder = stack.postgres.connect()
    holder.cursor().execute("SELECT pg_advisory_lock(77)")
    process = start_replay(stack)
    wait_until(lambda: stack.postgres.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluiced-dead-letters'"
        " AND wait_event_type = 'Lock' AND query LIKE 'DELETE FROM dead_letters%%'"), 15,
        "it is at that step")
    process.kill()
    process.communicate()
    holder.close()
    wait_until(lambda: not stack.postgres.value(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'sluiced-dead-letters'"), 10, "its transaction is over")
    assert stack.rows() == 0 and len(letters(stack)) == 10
    run(stack, "replay", "--all")
    assert stored_messages(stack) == {f"m{n}": 1 for n in range(1, 11)}
    check_counters(stack)


def test_what_is_shown_cannot_drive_the_terminal(stack):
    row_id = stack.postgres.value(
        "INSERT INTO dead_letters (t, u, position, stream_id, sqlstate, reason, row_bytes)"
        " VALUES (now(), gen_random_uuid(), 3, '1-2', '22P02', %s, %s) RETURNING id",
        f"invalid: {NASTY}", frames.row(NASTY + "\n", device_id=b"\xff\x9b"))
    entry_id = add_letter(stack, {f"k{NASTY}": NASTY, "message": b"\x00\xc2\x9b"})
    environment = {**os.environ, **stack.loader.environment(), "LC_ALL": "C.UTF-8"}
    for verb in (["list"], ["show", str(row_id), str(entry_id)], ["replay", "--all"]):
        status, got = run_at_terminal(
            [SLUICED, "dead-letters", *verb, "--config", stack.loader.conf_path], environment,
            stack.folder)
        assert status == (1 if verb[0] == "replay" else 0), got
        text = got.decode()  # all of it is UTF-8
        left = text.replace("\r\n", "").replace("\r", "") if verb[0] == "replay" else \
            text.replace("\r\n", "")
        bad = [c for c in left if not c.isprintable()]
        assert not bad, (verb, bad)
        if verb[0] != "replay":
            assert "\\x1b[2J" in text and "\u00e4\u4e2d" in text and "\\\\x41" in text
    # To another terminal bytes beyond ASCII may be controls.
    _, got = run_at_terminal(
        [SLUICED, "dead-letters", "show", str(row_id), "--config", stack.loader.conf_path],
        {**environment, "LC_ALL": "C"}, stack.folder)
    assert got.isascii() and b"\\xc3\\xa4" in got


def test_show_tells_all(stack):
    refuse(stack, "bad")
    ((stream_id, entry),) = zip(frames.add(stack.redis, one := [frames.frame(
        [frames.row(), frames.row("bad\\ttab", event_time="2024-01-01T00:00:00Z")],
        t_ms=1731585600123)]), one)
    stack.wait_drained()
    (letter_id,) = letters(stack)
    said = run(stack, "show", str(letter_id))
    lines = [line.strip() for line in said.splitlines()]
    assert f"message     {stream_id}-1" in said
    assert "received    2024-11-14T12:00:00.123000Z" in said
    assert f"frame       {uuid.UUID(bytes=entry['u'])}" in said
    assert "sqlstate    23514" in said and "no_bad" in said
    assert "device_id = d" in lines and "message = bad\\\\ttab" in lines
    assert "event_time = 2024-01-01T00:00:00Z" in lines
    assert stack.loader.run("dead-letters", "show", "424242").returncode == 1
    listed = run(stack, "list").splitlines()
    assert listed[0].split() == ["ID", "DIED", "MESSAGE", "SQLSTATE", "BYTES", "REASON"]
    assert listed[1].split()[0] == str(letter_id) and f"{stream_id}-1" in listed[1]
    assert len(listed) == 2


def test_lists_are_limited(stack):
    assert run(stack, "list") == "There are no dead letters.\n"
    add_many(stack, 30)
    execute(stack, "UPDATE dead_letters SET created_at = '2024-01-01T00:00:00Z' WHERE id % 2 = 0")
    assert len(run(stack, "list").splitlines()) == 22
    said = run(stack, "list", "--limit", "5").splitlines()
    assert said[-1] == "25 more are older: --limit shows more"
    assert [int(line.split()[0]) for line in said[1:-1]] == sorted(letters(stack))[:-6:-1]
    assert len(run(stack, "list", "--since", "2024-01-01T00:00:01Z").splitlines()) == 16
    assert len(run(stack, "list", "--since", "2024-01-01T01:00:00+01:00",
                   "--limit", "100").splitlines()) == 31


def test_purge(stack):
    add_many(stack, 10)
    execute(stack, "UPDATE dead_letters SET created_at = now() - interval '40 days' WHERE id <= 4")
    ids = sorted(letters(stack))
    said = stack.loader.run("dead-letters", "purge", "--older-than", "30")
    assert said.returncode == 2 and "--yes" in said.stderr
    environment = {**os.environ, **stack.loader.environment()}
    command = [SLUICED, "dead-letters", "purge", "--older-than", "30", "--config",
               stack.loader.conf_path]
    status, got = run_at_terminal(command, environment, stack.folder, b"n\n")
    assert status == 1 and b"Remove 4 dead letters for good?" in got
    assert len(letters(stack)) == 10
    status, got = run_at_terminal(command, environment, stack.folder, b"y\n")
    assert status == 0 and b"4 removed" in got
    assert sorted(letters(stack)) == ids[4:]
    assert run(stack, "purge", str(ids[4]), str(ids[5]), "--yes") == "2 removed\n"
    assert run(stack, "purge", str(ids[4]), "--yes", expected=1) == "0 removed\n"
    assert run(stack, "purge", "--older-than", "0", "--yes") == "4 removed\n"
    assert stack.rows() == 0


@pytest.mark.parametrize(("arguments", "line"), [
    ([], "list, show, replay or purge is wanted"),
    (["replya"], "unknown replya: did you mean replay?"),
    (["replay"], "replay wants ids of dead letters, or --all"),
    (["replay", "1", "--all"], "replay wants ids of dead letters, or --all"),
    (["purge"], "purge wants ids of dead letters, or --older-than"),
    (["show"], "show wants ids of dead letters"),
    (["show", "seven"], "the id seven must be a whole number"),
    (["list", "5"], "list takes no ids"),
    (["list", "--yes"], "list does not take --yes"),
    (["list", "--since", "yesterday"], "--since wants a time such as 2024-11-14T10:30:00Z"),
    (["purge", "--older-than", "-1"], "--older-than must be a whole number, 0 to 36500"),
])
@pytest.mark.xdist_group("stack_without_parts")
def test_mistakes(stack_without_parts, arguments, line):
    done = stack_without_parts.run("dead-letters", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"sluiced: dead-letters: {line}")
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def stack_without_parts(template):
    from harness.stack import Stack

    stack = Stack(template)
    stack.postgres.start()
    yield stack.loader
    stack.postgres.stop()
    stack.remove()


def test_progress_at_a_terminal(stack):
    add_many(stack, 3000)
    status, got = run_at_terminal(
        [SLUICED, "dead-letters", "replay", "--all", "--config", stack.loader.conf_path],
        {**os.environ, **stack.loader.environment()}, stack.folder)
    assert status == 0
    assert re.search(rb"\rdead letters [\d,]+ of 3,000 \(\d+ %\), [\d,]+/s", got), got
    assert b"dead letters 3,000 of 3,000 (100 %)" in got
    assert b"3,000 stored again" in got


def test_postgres_that_is_away(stack):
    stack.postgres.stop()
    done = stack.loader.run("dead-letters", "list")
    assert done.returncode == 1 and done.stderr.startswith("sluiced: dead-letters: postgres: ")
    assert done.stderr.count("\n") == 1
    stack.postgres.start()
