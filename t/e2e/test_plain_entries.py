"""Entries of other producers, and entries that nobody can read."""

import datetime
import json
import os
import uuid

import pytest

from harness.frames import add, frame, netstrings, row
from harness.waiting import wait_until

DEAD_LETTER = r"a record cannot be stored: kept in dead_letters"
LOST_STATE = r"redis lost state"
LEFT = r"entries of a newer version stay|trimming is held up"


@pytest.fixture
def stack(make_stack):
    """Without nginx and the server: these tests write the stream themselves."""
    stack = make_stack()
    for part in (stack.redis, stack.postgres, stack.loader):
        part.launch()
    for part in (stack.redis, stack.postgres, stack.loader):
        part.wait_ready()
    wait_until(lambda: stack.redis.client.exists("logs:stream"), 15, "the loader has made its group")
    return stack


def plain(message="m", **fields):
    return {"device_id": "pump-7", "log_level": "INFO", "message": message, **fields}


def logs(stack):
    return stack.postgres.query(
        "SELECT message, device_id, log_level::text, log_data,"
        " round(extract(epoch FROM created_at) * 1000)::bigint, event_time FROM logs"
    )


def dead_letters(stack):
    """stream id: (position, reason, fields, t in ms, sqlstate)"""
    rows = stack.postgres.query(
        "SELECT stream_id, position, reason, row_bytes,"
        " round(extract(epoch FROM t) * 1000)::bigint, sqlstate FROM dead_letters"
    )
    assert len({one[0] for one in rows}) == len(rows), "a dead letter is there twice"
    return {
        stream_id: (position, reason, netstrings(bytes(data)), t, sqlstate)
        for stream_id, position, reason, data, t, sqlstate in rows
    }


def ms_of(entry_id):
    return int(entry_id.split("-")[0])


def texts(fields):
    """Names and values in turn, as bytes."""
    return [
        part if isinstance(part, bytes) else str(part).encode()
        for pair in fields.items() for part in pair
    ]


def test_a_plain_entry_is_stored_as_its_record(stack):
    nasty = 'tab\t newline\n return\r backslash\\ quote" \\N \\. \u00e9\u4e2d\U0001f600'
    data = {"n": 12345678901234567890123, "t": "a\tb\\n\n", "deep": [{"x": None}, True, 1.5e-7]}
    entry = plain(nasty, log_level="warning", log_data=json.dumps(data, indent=1),
                  created_at="2024-11-14T10:30:00.123456+00:00")
    (entry_id,) = add(stack.redis, [entry])
    stack.wait_drained()
    ((message, device, level, log_data, created_ms, event_time),) = logs(stack)
    assert (message, device, level) == (nasty, "pump-7", "WARNING")
    assert log_data == data
    assert created_ms == ms_of(entry_id)
    assert event_time == datetime.datetime(2024, 11, 14, 10, 30, 0, 123456, datetime.timezone.utc)
    assert stack.postgres.query("SELECT log_level::text, n FROM counters") == [("WARNING", 1)]
    assert stack.postgres.value("SELECT stream_id FROM ledger") == entry_id
    assert dead_letters(stack) == {}


def test_fields_may_come_in_any_order_and_among_others(stack):
    entries = [
        dict(reversed(list(plain("reversed", log_data="{}").items()))),
        {"v": "1.2.3", "source": b"\xff\0", **plain("with a version of its own"), "": ""},
        {**{f"extra {number}": "x" for number in range(100)}, **plain("behind a hundred")},
        plain("no data", log_data=""),
        plain("time of no sense", created_at="the day before"),
        plain("time without offset", created_at="2024-11-14T10:30:00"),
        plain(b"NUL \0 within"),
    ]
    add(stack.redis, entries)
    stack.wait_drained()
    found = {one[0]: one for one in logs(stack)}
    assert set(found) == {"reversed", "with a version of its own", "behind a hundred", "no data",
                          "time of no sense", "time without offset", "NUL \ufffd within"}
    assert found["time of no sense"][5] is None
    assert found["time without offset"][5].isoformat() == "2024-11-14T10:30:00+00:00"
    assert all(one[3] == {} for one in found.values())


def test_the_same_record_twice_is_two_records(stack):
    add(stack.redis, [plain("again")] * 3)
    stack.wait_drained()
    assert [one[0] for one in logs(stack)] == ["again"] * 3


def test_an_entry_that_comes_back_is_stored_once(stack):
    """As after a failover or the replay of an older append-only file."""
    stack.allow(DEAD_LETTER)
    stack.allow(LOST_STATE)
    entries = {"1731585600000-1": plain("good"), "1731585600000-2": plain("bad", log_level="LOUD"),
               "1731585600000-3": {"no": "sense"}}
    for _ in range(2):
        for entry_id, fields in entries.items():
            stack.redis.client.xadd("logs:stream", fields, id=entry_id)
        stack.wait_drained()
        stack.redis.client.delete("logs:stream")
        wait_until(lambda: stack.redis.client.exists("logs:stream"), 15, "the group is made again")
    assert [one[0] for one in logs(stack)] == ["good"]
    assert set(dead_letters(stack)) == {"1731585600000-2", "1731585600000-3"}
    # Ids that were issued again for something else are something else.
    stack.redis.client.xadd("logs:stream", plain("other"), id="1731585600000-1")
    stack.wait_drained()
    assert sorted(one[0] for one in logs(stack)) == ["good", "other"]


def test_entries_with_odd_ids_are_stored_within_the_bounds(stack):
    for entry_id in ("0-1", "5-5", "9223372036854775807-1", "18446744073709551615-1"):
        stack.redis.client.xadd("logs:stream", plain(f"at {entry_id}"), id=entry_id)
    stack.wait_rows(4)
    assert {ms for *_, ms, _ in logs(stack)} == {1577836800000, 4102444799999}


BAD_ENTRIES = {
    "log_level: unknown_level": plain(log_level="LOUD"),
    "device_id: too_long": plain(device_id="d" * 51),
    "device_id: control_character": plain(device_id="a\nb"),
    "device_id: empty": plain(device_id=""),
    "message: missing": {"device_id": "d", "log_level": "INFO"},
    "message: invalid_utf8": plain(b"\xff"),
    "log_data: malformed_json": plain(log_data="{} {}"),
    "log_data: wrong_type": plain(log_data="[]"),
    "log_data: lone_surrogate": plain(log_data=r'{"a":"\ud800"}'),
    "log_data: number_out_of_range": plain(log_data='{"a":1e400000}'),
    "log_data: too_deep": plain(log_data='{"a":' + "[" * 100 + "]" * 100 + "}"),
    "record_too_large": plain("x" * 300000),
    "neither a whole frame": {"what": b"is\0this\n"},
}


def test_entries_that_break_a_rule_become_dead_letters(stack):
    stack.allow(DEAD_LETTER)
    entries = [part for bad in BAD_ENTRIES.values() for part in (bad, plain("good"))]
    ids = add(stack.redis, entries)
    stack.wait_drained()
    assert stack.rows() == len(BAD_ENTRIES)
    letters = dead_letters(stack)
    assert len(letters) == len(BAD_ENTRIES)
    for entry_id, (reason, fields) in zip(ids[::2], BAD_ENTRIES.items()):
        position, why, kept, t, sqlstate = letters[entry_id]
        assert why.startswith(reason), why
        assert kept == texts(fields)
        assert (position, t, sqlstate) == (-1, ms_of(entry_id), "")
    assert stack.postgres.value("SELECT sum(n) FROM counters") == stack.rows()


DAMAGES = {
    "too few rows": {"n": 3},
    "too many rows": {"n": 1},
    "no rows": {"n": 0},
    "no number": {"n": "x"},
    "short id": {"u": b"short"},
    "no time": {"t": "noon"},
    "no newline": {"r": row()},
    "empty": {"r": ""},
    "another field": {"x": "y"},
}


def test_damaged_frames_become_dead_letters_and_hold_up_nothing(stack):
    stack.allow(DEAD_LETTER)
    damaged = [frame([row("lost"), row("lost")], **fields) for fields in DAMAGES.values()]
    damaged.append(dict(reversed(list(frame([row("lost")]).items()))))
    entries = [part for bad in damaged for part in (bad, frame([row("good")]))]
    ids = add(stack.redis, entries)
    for number in range(300):
        add(stack.redis, [frame([row(f"later {number}")])])
    stack.wait_drained()
    letters = dead_letters(stack)
    assert set(letters) == set(ids[::2])
    for entry_id, fields in zip(ids[::2], damaged):
        assert letters[entry_id][2] == texts(fields)
    assert stack.rows() == len(damaged) + 300
    wait_until(lambda: stack.redis.stream_length() <= 128, 20, "the stream is trimmed")


def test_a_newer_version_stays_and_the_rest_flows(stack):
    stack.allow(LEFT)
    newer, _ = add(stack.redis, [frame([row("from the future")], v="2"), plain("of today")])
    stack.wait_rows(1)
    wait_until(lambda: "newer version" in stack.loader.log_text(), 15, "the loader says so")
    wait_until(lambda: stack.redis.pending() == 1, 15, "all others are acknowledged")
    assert [one[0] for one in logs(stack)] == ["of today"]
    assert stack.redis.client.xrange("logs:stream", newer, newer)
    assert dead_letters(stack) == {}


def test_many_plain_entries_flow_and_are_trimmed(stack):
    for part in range(10):
        add(stack.redis, [plain(f"{part} {number}") for number in range(500)])
    stack.wait_drained()
    assert stack.postgres.value("SELECT count(DISTINCT message) FROM logs") == 5000
    assert stack.rows() == 5000
    assert stack.postgres.value("SELECT sum(n) FROM counters") == 5000
    assert stack.postgres.value("SELECT count(*) FROM idempotency") == 0
    wait_until(lambda: stack.redis.stream_length() <= 128, 20, "the stream is trimmed")


def test_killed_while_plain_entries_flow(stack):
    stack.allow(DEAD_LETTER)
    sent = []
    for part in range(6):
        sent += [f"{part} {number}" for number in range(300)]
        entries = [plain(message) for message in sent[-300:]]
        entries[::50] = [plain("bad", log_level="LOUD")] * 6
        before = stack.rows()
        add(stack.redis, entries)
        wait_until(lambda: stack.rows() > before, 15, "more rows are stored")
        stack.loader.kill()
        stack.loader.start()
    stack.wait_drained()
    bad = {f"{part} {number}" for part in range(6) for number in range(0, 300, 50)}
    assert sorted(one[0] for one in logs(stack)) == sorted(set(sent) - bad)
    assert len(dead_letters(stack)) == 36
    assert stack.postgres.value("SELECT sum(n) FROM counters") == stack.rows()


def test_an_entry_larger_than_any_record_is_kept_in_part(stack):
    stack.allow(DEAD_LETTER)
    add(stack.redis, [{"what": os.urandom(17 * 1024 * 1024)}, plain("behind it")])
    stack.wait_drained()
    assert [one[0] for one in logs(stack)] == ["behind it"]
    reason, size = stack.postgres.query("SELECT reason, length(row_bytes) FROM dead_letters")[0]
    assert reason.endswith("(bytes are cut)")
    assert size == 16 * 1024 * 1024


def test_ids_of_plain_entries_rise_with_time(stack):
    """So that the ledger's index grows at its end."""
    ids = add(stack.redis, [plain(str(number)) for number in range(3)])
    stack.wait_drained()
    rows = stack.postgres.query("SELECT u::text, stream_id FROM ledger")
    for u, stream_id in rows:
        assert uuid.UUID(u).version == 7
        assert uuid.UUID(u).int >> 80 == ms_of(stream_id)
    assert {stream_id for _, stream_id in rows} == set(ids)
