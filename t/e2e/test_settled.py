"""The settled horizon: forwards, nothing is shown that something could still come in front of; and
only what is settled is said to be good for long."""

import datetime
import threading
import time

import pytest

from harness.stored import UTC, Log, Pages, rfc3339, store
from harness.waiting import wait_until

SETTLED = "max-age=3600"


def ago(seconds):
    return datetime.datetime.now(UTC) - datetime.timedelta(seconds=seconds)


@pytest.fixture
def stack(make_stack):
    stack = make_stack()
    for part in (stack.redis, stack.postgres, stack.loader, stack.server):
        part.start()
    stack.wait_group()
    stack.wait_partitions()
    return stack


@pytest.fixture
def pages(stack):
    pages = Pages(stack.server)
    yield pages
    pages.close()


def settled_to(pages):
    text = pages.page(order="asc", limit=1)["settled_to"]
    return text and datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_an_idle_stream_is_settled_up_to_a_while_ago(pages):
    known = wait_until(lambda: settled_to(pages), 10, "the horizon is known")
    wait_until(lambda: 9 < (ago(0) - settled_to(pages)).total_seconds() < 14, 5, "a while ago")
    wait_until(lambda: settled_to(pages) > known + datetime.timedelta(seconds=2), 10,
               "it goes on by itself")


def test_what_waits_in_the_stream_holds_it_up(stack, pages):
    wait_until(lambda: settled_to(pages), 10, "the horizon is known")
    client = stack.redis.client
    lock = stack.postgres.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")
    entry = client.xadd("logs:stream", {"device_id": "d", "log_level": "INFO", "message": "m",
                                        "log_data": "{}", "created_at": "2024-01-01T00:00:00"})
    added_ms = int(entry.split(b"-" if isinstance(entry, bytes) else "-")[0])
    # Long enough for the horizon to pass the entry if nothing held it.
    horizon = datetime.datetime.fromtimestamp(added_ms / 1000 - 10, UTC)
    wait_until(lambda: settled_to(pages) == horizon, 20, "it has come to the entry")
    until = time.monotonic() + 3
    wait_until(lambda: time.monotonic() > until, 5, "some seconds more")
    assert settled_to(pages) == horizon
    lock.rollback()
    lock.close()
    stack.wait_drained()
    wait_until(lambda: settled_to(pages) > horizon, 10, "it goes on")


def test_a_walk_forwards_waits_at_the_horizon_and_goes_on(stack, pages):
    wait_until(lambda: settled_to(pages), 10, "the horizon is known")
    # The last ones are settled in ten seconds.
    store(stack.postgres, [Log(n, ago(60 - n / 10)) for n in range(1, 11)]
          + [Log(n, ago(8 - n / 5)) for n in range(11, 41)])
    page = pages.page(order="asc")
    seen = [log["id"] for log in page["data"]]
    assert seen[:10] == list(range(1, 11)) and len(seen) < 40
    assert page["next_cursor"] is not None
    # One that comes late, as from an edge that waited for Redis, is in front of nothing seen.
    store(stack.postgres, [Log(99, ago(9))])

    def walk_on():
        nonlocal page
        page = pages.page(order="asc", cursor=page["next_cursor"])
        seen.extend(log["id"] for log in page["data"])
        return len(seen) >= 41

    wait_until(walk_on, 30, "all has settled")
    assert sorted(seen) == list(range(1, 41)) + [99]
    assert pages.page(order="asc", cursor=page["next_cursor"])["data"] == []


def test_a_walk_forwards_to_a_settled_time_ends(stack, pages):
    store(stack.postgres, [Log(n, ago(120 - n)) for n in range(1, 11)])
    wait_until(lambda: settled_to(pages), 10, "the horizon is known")
    page = pages.page(order="asc", to=rfc3339(ago(60)))
    assert len(page["data"]) == 10 and page["next_cursor"] is None


def test_without_redis_nothing_is_shown_forwards(make_stack):
    stack = make_stack()
    stack.postgres.start()
    stack.server.start()
    store(stack.postgres, [Log(1, ago(60))])
    pages = Pages(stack.server)
    page = pages.page(order="asc")
    assert (page["data"], page["settled_to"]) == ([], None)
    # The same place, so that the walk goes on once Redis is there.
    assert pages.page(order="asc", cursor=page["next_cursor"])["data"] == []
    assert pages.page()["total"] == 1
    stack.redis.start()
    stack.loader.start()
    wait_until(lambda: pages.page(order="asc", cursor=page["next_cursor"])["total"] == 1, 15,
               "it is settled")
    pages.close()


def test_only_settled_pages_are_good_for_long(stack, pages):
    store(stack.postgres, [Log(n, ago(7200 - n)) for n in range(1, 31)])
    wait_until(lambda: settled_to(pages), 10, "the horizon is known")

    def control(**parameters):
        answer = pages.ask("/api/logs", **parameters)
        assert answer.status == 200 and answer.headers["ETag"].startswith('W/"')
        return answer.headers["Cache-Control"]

    past, soon = rfc3339(ago(60)), rfc3339(ago(-60))
    cursor = pages.page(limit=10)["next_cursor"]
    forwards = pages.page(order="asc", limit=10)["next_cursor"]
    for parameters in ({"to": past}, {"cursor": cursor}, {"cursor": cursor, "from_": "-1d"},
                       {"order": "asc", "limit": 10}, {"order": "asc", "to": past},
                       {"order": "asc", "limit": 10, "cursor": forwards}):
        assert control(**parameters) == SETTLED, parameters
    for parameters in ({}, {"limit": 10}, {"to": soon}, {"to": "-1m"}, {"from_": "-1d", "to": past},
                       {"order": "asc"}, {"order": "asc", "to": soon},
                       {"order": "asc", "limit": 10, "from_": "-3h"}):
        assert control(**parameters).startswith("max-age=1,"), parameters


def test_a_tag_follows_what_is_shown(stack, pages):
    store(stack.postgres, [Log(1, ago(60))])
    first = pages.ask("/api/logs").headers["ETag"]
    assert pages.ask("/api/logs").headers["ETag"] == first
    store(stack.postgres, [Log(2, ago(59))])
    assert pages.ask("/api/logs").headers["ETag"] != first
