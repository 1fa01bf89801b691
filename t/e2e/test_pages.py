"""Pages of logs: what is asked for is what is found, whichever way it is asked."""

import datetime
import json
import random

import pytest

from harness.stored import LEVELS, UTC, Log, Pages, rfc3339, store
from harness.waiting import wait_until

WORDS = ("pump", "Valve", "über", "100%", "a_b", "back\\slash", "OK")
DEVICES = ("pump-7", "a/b", "..", "stream", "ünï", "one log")
NEWEST = datetime.datetime.now(UTC).replace(microsecond=0) - datetime.timedelta(minutes=5)


def some_logs(count, days, seed):
    """Several in one moment, as those of a frame are, and days without any."""
    chance = random.Random(seed)
    logs = []
    moments = [NEWEST - datetime.timedelta(seconds=chance.choice((0, 1, 2, 5)) * 86400 * days / 5
                                           + chance.randrange(86400))
               for _ in range(count // 4)]
    for row_id in range(count):
        device = chance.choice(DEVICES[:-1])
        logs.append(Log(
            row_id + 1, chance.choice(moments) + datetime.timedelta(
                microseconds=chance.choice((0, 0, 0, 1000, 123456))),
            "one log" if row_id == 77 else device,
            chance.choices(LEVELS, (40, 40, 15, 4, 1))[0],
            " ".join(chance.choice(WORDS) for _ in range(3)),
            {"kind": chance.choice("xyz"), "list": [chance.randrange(3)], "deep": {"n": row_id}}))
    return logs


@pytest.fixture(scope="module")
def logs():
    return some_logs(4000, 10, 7)


@pytest.fixture
def pages(make_stack, logs):
    # Some pages are large.
    stack = make_stack(serve={"SLUICED_SERVE_QUERY_TIMEOUT_MS": "60000"})
    for part in (stack.redis, stack.postgres, stack.loader, stack.server):
        part.start()
    stack.wait_group()
    stack.wait_partitions()
    store(stack.postgres, logs)
    pages = Pages(stack.server)
    pages.stack = stack
    # Forwards only what is settled is shown.
    wait_until(lambda: pages.page(order="asc", limit=1)["data"], 10, "the horizon is known")
    yield pages
    pages.close()


def has(log, wanted):
    """The rules of a query, told a second time."""
    return (wanted.get("device_id", log.device_id) == log.device_id
            and log.log_level in wanted.get("level", log.log_level).upper().split(",")
            and LEVELS.index(log.log_level) >= LEVELS.index(wanted.get("min_level", "DEBUG"))
            and ("from_" not in wanted or rfc3339(log.created_at) >= wanted["from_"])
            and ("to" not in wanted or rfc3339(log.created_at) < wanted["to"])
            and wanted.get("q", "").lower() in log.message.lower()
            and contains(log.log_data, json.loads(wanted.get("contains", "{}"))))


def contains(data, wanted):
    if isinstance(wanted, dict):
        return all(key in data and contains(data[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return all(value in data for value in wanted)
    return data == wanted


def expected(logs, wanted):
    found = sorted((log for log in logs if has(log, wanted)), key=lambda log: log.place,
                   reverse=wanted.get("order") != "asc")
    return [log.id for log in found]


def some_question(chance, logs):
    wanted = {}
    if chance.random() < 0.5:
        wanted["device_id"] = chance.choice(DEVICES + ("nobody",))
    if chance.random() < 0.3:
        wanted["level"] = ",".join(chance.sample(LEVELS, chance.randrange(1, 4)))
    elif chance.random() < 0.2:
        wanted["min_level"] = chance.choice(LEVELS)
    for name in ("from_", "to"):
        if chance.random() < 0.3:
            wanted[name] = rfc3339(chance.choice(logs).created_at)
    if "from_" in wanted and "to" in wanted and wanted["from_"] >= wanted["to"]:
        del wanted["to"]
    if chance.random() < 0.3:
        wanted["q"] = chance.choice(WORDS + ("PUMP vALVE", "p", "nowhere", "%", "_", "\\"))
    if chance.random() < 0.3:
        wanted["contains"] = chance.choice(
            ('{"kind":"x"}', '{"list":[1]}', '{"deep":{"n":77}}', '{"no":1}', "{}"))
    if chance.random() < 0.4:
        wanted["order"] = "asc"
    return wanted


def test_whatever_is_asked_is_found_once_and_in_order(pages, logs):
    chance = random.Random(11)
    for _ in range(150):
        wanted = some_question(chance, logs)
        limit = chance.choice((1, 7, 100, 1000))
        if limit == 1 and len(expected(logs, wanted)) > 200:
            limit = 100
        assert pages.walk(limit=limit, **wanted) == expected(logs, wanted), wanted


def test_an_offset_leaves_out_as_many(pages, logs):
    for wanted in ({}, {"device_id": "pump-7"}, {"level": "ERROR", "order": "asc"}):
        whole = expected(logs, wanted)
        for offset in (1, 99, len(whole) - 1, len(whole), 100000):
            page = pages.page(offset=offset, limit=50, **wanted)
            assert [log["id"] for log in page["data"]] == whole[offset:offset + 50]


def test_a_walk_can_turn_round(pages, logs):
    """The place is the row's, whichever way one goes on from it."""
    first = pages.page(limit=50)
    back = pages.page(limit=1000, order="asc", cursor=first["next_cursor"])
    assert [log["id"] for log in back["data"]] == expected(logs, {})[:49][::-1]


def test_relative_times_stand_still_during_a_walk(pages, logs):
    """A walk that begins with from=-1h ends where it would have ended then."""
    now = datetime.datetime.now(UTC)
    store(pages.stack.postgres, [Log(100000 - age, now - datetime.timedelta(seconds=age), "late")
                                 for age in range(1, 121)])

    def ids(**more):
        return pages.walk(device_id="late", from_="-2m", limit=30, **more)

    page = pages.page(device_id="late", from_="-2m", limit=3)
    seen = [log["id"] for log in page["data"]]
    there = ids()
    wait_until(lambda: len(ids()) <= len(there) - 3, 20, "time has gone on")
    seen += ids(cursor=page["next_cursor"])
    assert seen == sorted(seen, reverse=True) and set(there) <= set(seen)


def test_a_walk_backwards_while_logs_arrive_sees_what_was_there(pages, logs):
    chance = random.Random(3)
    there = expected(logs, {"device_id": "pump-7"})
    cursor, seen, new_id = {}, [], 200001
    while True:
        page = pages.page(device_id="pump-7", limit=40, **cursor)
        seen += [log["id"] for log in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        # Before, amid, and behind where the walk is.
        moments = [chance.choice(logs).created_at for _ in range(20)]
        store(pages.stack.postgres, [Log(new_id + n, moment) for n, moment in enumerate(moments)])
        new_id += 20
    assert [row_id for row_id in seen if row_id < 200001] == there
    assert len(set(seen)) == len(seen)


def test_the_shape_is_that_of_the_api(pages):
    log = pages.page(device_id="one log")["data"][0]
    assert list(log) == ["id", "device_id", "log_level", "message", "log_data", "created_at"]
    page = pages.page(device_id="one log")
    assert list(page) == ["source", "total", "data", "next_cursor"]
    assert page["source"] == "database"
    assert pages.ask("/api/logs/one%20log").json["data"] == [log]
    head = pages.ask("/api/logs/one%20log", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert pages.page(device_id="nobody") == {
        "source": "database", "total": 0, "data": [], "next_cursor": None}


def test_a_page_of_large_logs_ends_sooner(pages):
    """Numbers are shown with all their digits: what was sent as 6 bytes comes back as 310."""
    large = json.dumps({"numbers": [0]}).replace("0", ",".join(["1e308"] * 20000))
    now = datetime.datetime.now(UTC)
    store(pages.stack.postgres, [Log(300001, now, "large")])
    connection = pages.stack.postgres.connect()
    connection.cursor().execute(
        "INSERT INTO logs SELECT 300001 + g, %s - g * interval '1 s', 'large', 'INFO', 'm', %s::jsonb"
        " FROM generate_series(1, 40) AS g", (now, large))
    connection.close()
    for more in ({}, {"q": "M"}, {"offset": 1}):
        answer = pages.ask("/api/logs", device_id="large", limit=50, **more)
        assert answer.status == 200 and len(answer.body) < 24 << 20
        assert 3 <= answer.json["total"] < 10 and answer.json["next_cursor"]
    page, seen = pages.page(device_id="large", limit=50), []
    while page["next_cursor"]:
        seen += [log["id"] for log in page["data"]]
        page = pages.page(device_id="large", limit=50, cursor=page["next_cursor"])
    seen += [log["id"] for log in page["data"]]
    assert seen == list(range(300001, 300042))
    export = pages.ask("/api/logs", device_id="large", format="ndjson")
    assert [json.loads(line)["id"] for line in export.body.splitlines()] == seen


MISTAKES = (
    ("/api/logs?limit=0", "limit", "bad_parameter"),
    ("/api/logs?limit=5&limit=5", "limit", "duplicate_parameter"),
    ("/api/logs?since=5", "since", "unknown_parameter"),
    ("/api/logs?from=yesterday", "from", "bad_parameter"),
    ("/api/logs?contains=[]", "contains", "bad_parameter"),
    ("/api/logs?contains=%7B%22a%22:%22%5Cu0000%22%7D", "contains", "bad_parameter"),
    ("/api/logs?cursor=AAAA", "cursor", "bad_parameter"),
    ("/api/logs?q=x&offset=1", "offset", "bad_parameter"),
    ("/api/logs/x?device_id=y", "device_id", "duplicate_parameter"),
    ("/api/logs/%ff", "device_id", "bad_parameter"),
    ("/api/hits?step=7m", "step", "bad_parameter"),
    ("/api/hits?from=2020-01-01&step=1m", "step", "bad_parameter"),
    ("/api/stats?x=1", "x", "unknown_parameter"),
)


def test_what_is_wrong_is_named(pages):
    for target, parameter, code in MISTAKES:
        answer = pages.ask(target)
        assert answer.status == 400, target
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Cache-Control"] == "max-age=10"
        problem = answer.json
        assert (problem["code"], problem["parameter"], problem["status"]) == (code, parameter, 400)
        assert problem["detail"]


def test_other_paths_are_nothing(pages):
    for path in ("/", "/api/logs/", "/api/logs/a/b", "/api", "/api/stats/"):
        answer = pages.ask(path)
        assert (answer.status, answer.json["code"]) == (404, "not_found")
