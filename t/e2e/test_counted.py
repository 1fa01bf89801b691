"""Stats and hits: from counters, exact, whatever the size of the tables."""

import datetime
import random

from harness.stored import LEVELS, UTC, Log, Pages, rfc3339, store
from harness.waiting import wait_until

NOW = datetime.datetime.now(UTC)


def start(make_stack):
    stack = make_stack()
    for part in (stack.redis, stack.postgres, stack.loader, stack.server):
        part.start()
    stack.wait_group()
    stack.wait_partitions()
    return stack


def some_logs(count):
    chance = random.Random(5)
    return [Log(row_id + 1, NOW - datetime.timedelta(seconds=chance.choice(
        (60, 3600, 86400, 9 * 86400)) * chance.random()), log_level=chance.choice(LEVELS))
        for row_id in range(count)]


def floor(time, seconds):
    return datetime.datetime.fromtimestamp(time.timestamp() // seconds * seconds, UTC)


def test_an_empty_database_has_nothing(make_stack):
    pages = Pages(start(make_stack).server)
    assert pages.ask("/api/stats").json == {
        "source": "database", "total_logs": 0, "logs_by_level": dict.fromkeys(LEVELS, 0),
        "recent_devices": [], "last_seen": {}}
    hits = pages.ask("/api/hits").json
    assert hits["total"] == 0 and hits["step"] == "1m" and 60 <= len(hits["hits"]) <= 61
    pages.close()


def test_stats_and_hits_are_exact(make_stack):
    stack = start(make_stack)
    logs = some_logs(3000)
    store(stack.postgres, logs)
    pages = Pages(stack.server)
    stats = pages.ask("/api/stats").json
    assert stats["total_logs"] == 3000 and tuple(stats["logs_by_level"]) == LEVELS
    assert stats["logs_by_level"] == {
        level: sum(log.log_level == level for log in logs) for level in LEVELS}

    for step, seconds in (("1m", 60), ("15m", 900), ("1h", 3600), ("6h", 21600), ("1d", 86400)):
        for wanted in ({}, {"level": "ERROR"}, {"min_level": "WARNING"}):
            begin = NOW - datetime.timedelta(seconds=seconds * 40 + 17)
            hits = pages.ask("/api/hits", from_=rfc3339(begin), to=rfc3339(NOW), step=step,
                             **wanted).json
            first, end = floor(begin, seconds), floor(
                NOW + datetime.timedelta(seconds=seconds, microseconds=-1), seconds)
            assert (hits["from"], hits["to"]) == (rfc3339(first), rfc3339(end))
            counted = {}
            for log in logs:
                level = LEVELS.index(log.log_level)
                if first <= log.created_at < end and (
                        "level" not in wanted or level == 3) and (
                        "min_level" not in wanted or level >= 2):
                    levels = counted.setdefault(rfc3339(floor(log.created_at, seconds)), {})
                    levels[log.log_level] = levels.get(log.log_level, 0) + 1
            assert len(hits["hits"]) in (41, 42)
            for hit in hits["hits"]:
                assert hit["logs_by_level"] == counted.get(hit["time"], {}), (step, wanted)
                assert hit["total"] == sum(hit["logs_by_level"].values())
            assert hits["total"] == sum(sum(levels.values()) for levels in counted.values()) > 0
    pages.close()


def test_a_step_that_suits_is_chosen(make_stack):
    pages = Pages(start(make_stack).server)
    for begin, step in (("-30m", "1m"), ("-1d", "15m"), ("-7d", "2h"), ("-90d", "1d")):
        hits = pages.ask("/api/hits", from_=begin).json
        assert hits["step"] == step and len(hits["hits"]) <= 122
    refused = pages.ask("/api/hits", from_="2001-01-01")
    assert (refused.status, refused.json["parameter"]) == (400, "from")
    pages.close()


def test_what_is_posted_is_counted_and_its_devices_are_named(stack, api):
    for number in range(12):
        assert api.log(f"device-{number}", LEVELS[number % 5]).status == 200
    stack.wait_rows(12)
    stats = wait_until(lambda: (found := api.get("/api/stats").json)["total_logs"] == 12
                       and "device-11" in found["recent_devices"] and found, 20, "all is counted")
    assert stats["logs_by_level"] == {
        "DEBUG": 3, "INFO": 3, "WARNING": 2, "ERROR": 2, "CRITICAL": 2}
    # Some may have been received in one millisecond.
    assert len(stats["recent_devices"]) == 10
    assert set(stats["recent_devices"]) < {f"device-{number}" for number in range(12)}
    assert list(stats["last_seen"]) == stats["recent_devices"]
    assert list(stats["last_seen"].values()) == sorted(stats["last_seen"].values(), reverse=True)
    hits = wait_until(lambda: (found := api.get("/api/hits?from=-5m").json)["total"] == 12
                      and found, 10, "hits")
    assert sum(hit["logs_by_level"].get("DEBUG", 0) for hit in hits["hits"]) == 3
