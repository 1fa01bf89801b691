"""The way of a log: POST, stream, Postgres, query, cache."""

import json
import re

from harness.waiting import wait_until

RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
MESSAGE_ID = re.compile(r"^\d{13}-\d+-\d+$")
RECORD = '{"device_id":"d","log_level":"INFO","message":"m"}'


def page_with(api, device_id, total):
    """The page of a device once it has so many rows."""

    def page():
        answer = api.logs(device_id)
        return answer if answer.status == 200 and answer.json["total"] == total else None

    return wait_until(page, 15, f"{device_id} has {total} rows")


def test_post_is_answered_in_the_shape_of_the_api(api):
    answer = api.log()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json
    assert set(body) == {"status", "message_id", "received_at"}
    assert body["status"] == "queued"
    assert MESSAGE_ID.match(body["message_id"])
    assert RFC3339.match(body["received_at"])


def test_record_arrives_byte_for_byte(stack, api):
    message = 'tab\t newline\n return\r backslash\\ quote" \\N \\. null? \u00e9\u4e2d\U0001f600\x7f'
    log_data = {"n": 12345678901234567890123, "t": "a\tb\\n\n", "deep": [{"x": None}, True, 1.5e-7]}
    answer = api.log("sensor \u00e4/1", "warning", message, log_data=log_data)
    assert answer.status == 200
    stack.wait_rows(1)
    row = stack.postgres.query(
        "SELECT device_id, log_level::text, message, log_data::text, event_time FROM logs"
    )[0]
    assert row[0] == "sensor \u00e4/1"
    assert row[1] == "WARNING"
    assert row[2] == message
    assert json.loads(row[3]) == log_data
    assert '"n": 12345678901234567890123' in row[3]
    assert row[4] is None


def test_numbers_keep_their_text(stack, api):
    body = (
        b'{"device_id":"d","log_level":"INFO","message":"m",'
        b'"log_data":{"a":1.000000000000000005,"b":18446744073709551616,"c":-0.10}}'
    )
    assert api.post("/api/log", body).status == 200
    stack.wait_rows(1)
    text = stack.postgres.value("SELECT log_data::text FROM logs")
    assert text == '{"a": 1.000000000000000005, "b": 18446744073709551616, "c": -0.10}'


def test_a_condition_does_not_hide_that_a_record_is_stored(stack, api):
    """nginx would make a 412 or a 304 of the 200."""
    conditions = ({"If-Match": '"x"'}, {"If-None-Match": "*"},
                  {"If-Unmodified-Since": "Mon, 01 Jan 1990 00:00:00 GMT"})
    for condition in conditions:
        answer = api.post("/api/log", RECORD, **condition)
        assert (answer.status, answer.json["status"]) == (200, "queued"), condition
    stack.wait_rows(len(conditions))


def test_created_at_is_the_time_it_was_received(stack, api):
    received_at = api.log().json["received_at"]
    stack.wait_rows(1)
    apart = stack.postgres.value(
        "SELECT abs(extract(epoch FROM created_at - %s::timestamptz)) FROM logs", received_at
    )
    assert apart < 0.001


def test_own_timestamp_is_kept_as_event_time(stack, api):
    assert api.log(timestamp="2024-11-14T10:30:00.5+02:00").status == 200
    stack.wait_rows(1)
    assert stack.postgres.value("SELECT event_time = '2024-11-14T08:30:00.5Z' FROM logs")


def test_query_gives_newest_first(stack, api):
    for number in range(5):
        assert api.log("pump-7", message=f"number {number}").status == 200
    assert api.log("other").status == 200
    page = page_with(api, "pump-7", 5).json
    assert set(page) == {"total", "source", "data", "next_cursor"}
    assert [row["message"] for row in page["data"]] == [f"number {n}" for n in (4, 3, 2, 1, 0)]
    row = page["data"][0]
    assert set(row) == {"id", "device_id", "log_level", "message", "log_data", "created_at"}
    assert row["device_id"] == "pump-7"
    assert row["log_level"] == "INFO"
    assert row["log_data"] == {}
    assert RFC3339.match(row["created_at"])


def test_query_takes_limit_offset_and_level(stack, api):
    for number in range(6):
        level = "ERROR" if number % 2 else "INFO"
        assert api.log("pump-7", level, f"number {number}").status == 200
    stack.wait_rows(6)

    def messages(query):
        answer = api.logs("pump-7", query)
        assert answer.status == 200, answer
        return [row["message"] for row in answer.json["data"]]

    assert messages("?limit=2&offset=1") == ["number 4", "number 3"]
    assert messages("?level=error") == ["number 5", "number 3", "number 1"]


def test_query_refuses_what_it_does_not_know(api):
    for query in ("?limit=0", "?limit=1001", "?limit=x", "?level=LOUD", "?nonsense=1"):
        answer = api.logs("pump-7", query)
        assert answer.status in (400, 422), (query, answer)
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_source_of_a_page_is_true(stack, api):
    message = 'says "source":"database" too'
    assert api.log("pump-7", message=message).status == 200
    stack.wait_rows(1)

    def first_then_second():
        """Two answers for the same page, the second while the first is fresh."""
        first, second = api.logs("pump-7"), api.logs("pump-7")
        if second.headers["X-Cache-Status"] != "HIT":
            return None
        return first, second

    _, hit = wait_until(first_then_second, 10, "a page comes from the cache")
    assert hit.json["source"] == "cache"
    assert hit.json["data"][0]["message"] == message

    miss = api.logs("pump-7", "?limit=7")
    assert miss.headers["X-Cache-Status"] == "MISS"
    assert miss.json["source"] == "database"
    assert miss.json["data"][0]["message"] == message


def test_cached_page_becomes_fresh_again(stack, api):
    assert api.log("pump-7", message="one").status == 200
    page_with(api, "pump-7", 1)
    assert api.log("pump-7", message="two").status == 200
    page_with(api, "pump-7", 2)


def test_cached_page_is_served_while_the_server_is_away(stack, api):
    stack.allow(r"connect\(\) to unix:.*serve\.sock failed")
    assert api.log("pump-7").status == 200
    fresh = page_with(api, "pump-7", 1)
    stack.server.kill()
    stale = wait_until(
        lambda: (a := api.logs("pump-7")).headers["X-Cache-Status"] == "STALE" and a, 10, "STALE"
    )
    assert stale.status == 200
    assert stale.json["source"] == "cache"
    assert stale.json["data"] == fresh.json["data"]

    unknown = api.logs("never-asked-before")
    assert unknown.status == 503
    assert unknown.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(unknown.headers["Retry-After"]) <= 60
    assert api.log("pump-7").status == 200, "ingest does not need the server"

    stack.server.start()
    page_with(api, "pump-7", 2)
