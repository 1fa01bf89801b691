"""Queries through the cache, with the server itself behind it."""

import itertools
import threading
import time
import urllib.parse

from harness.api import Api
from harness.waiting import wait_until

GONE = r"connect\(\) to unix:.*serve\.sock failed|sluiced.*prematurely|recv\(\) failed"
# What only the answer to it has.
OWN = {"/api/logs": "data", "/api/logs/pump-7?limit=5": "data", "/api/logs?q=flows": "data",
       "/api/stats": "recent_devices", "/api/hits": "hits"}
TARGETS = tuple(OWN)


def with_rows(stack, count=5):
    api = stack.api()
    for number in range(count):
        assert api.log("pump-7", message=f"it flows {number}").status == 200
    stack.wait_drained()
    return api


def hit(api, target):
    """A page from the cache, of which there may only be one for a second or two."""
    return wait_until(lambda: (a := api.get(target)).headers["X-Cache-Status"] == "HIT" and a, 10,
                      f"{target} comes from the cache")


def test_a_page_from_the_cache_is_the_page(stack):
    api = with_rows(stack)
    for target in TARGETS:
        wait_until(lambda target=target: api.get(target).json["source"] == "database", 10, target)
        fresh, cached = api.get(target), hit(api, target)
        assert cached.json["source"] == "cache"
        assert {**cached.json, "source": ""} == {**fresh.json, "source": ""}
        assert len(cached.body) == len(fresh.body) == int(cached.headers["Content-Length"])
        assert cached.headers["Content-Type"] == fresh.headers["Content-Type"] == "application/json"


def test_a_page_that_is_known_is_not_sent_again(stack):
    api = with_rows(stack)
    settled = "/api/logs/pump-7?to=2024-01-01T00:00:00Z"
    wait_until(lambda: api.get(settled).headers["Cache-Control"] == "max-age=3600", 20,
               "it is settled")
    page = hit(api, settled)
    for target in (settled, settled + "&limit=7"):
        tag = api.get(target).headers["ETag"]
        assert tag.startswith('W/"')
        same = api.get(target, **{"If-None-Match": tag})
        assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
    other = api.get(settled, **{"If-None-Match": 'W/"other"'})
    assert (other.status, other.body) == (200, page.body)


def test_what_is_wrong_is_told_and_hardly_cached(stack):
    """A query that is wrong stays so, for some seconds at least; what is nowhere is not kept."""
    api = stack.api()
    for target, status in (("/api/logs?limit=0", 400), ("/api/logs?limit=5&limit=5", 400),
                           ("/api/logs/a/b", 404), ("/api/nothing", 404), ("/api/stats/", 404)):
        for again in range(2):
            answered = api.get(target)
            assert answered.status == status, (target, answered)
            assert answered.headers["Content-Type"] == "application/problem+json"
            kept = again and status == 400
            assert answered.headers["X-Cache-Status"] == ("HIT" if kept else "MISS")
    assert len([path for path in (stack.folder / "cache").rglob("*") if path.is_file()]) == 2


def test_devices_named_like_parts_of_the_api(stack):
    api = stack.api()
    devices = ("batch", "stats", "hits", "..", ".", "a/b", "a/../b", "a?b=c&d", "\u00e4 #%41", "logs")
    for device in devices:
        assert api.log(device, message=device).status == 200
    stack.wait_drained()
    for device in devices:
        target = "/api/logs?device_id=" + urllib.parse.quote(device, safe="")
        rows = wait_until(lambda target=target: api.get(target).json["data"], 10, device)
        assert [row["message"] for row in rows] == [device]


def test_the_server_is_restarted_under_load(stack):
    """Whoever asks for what is cached does not notice."""
    stack.allow(GONE)
    api = with_rows(stack)
    for target in TARGETS:
        hit(api, target)
    done, answers = threading.Event(), []

    def load():
        for target in itertools.cycle(TARGETS):
            if done.is_set():
                return
            client = Api(stack.nginx.port)
            answers.append((target, client.get(target)))
            client.close()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for stop in (stack.server.stop, stack.server.kill, stack.server.stop):
        stop()
        time.sleep(1)
        stack.server.start()
        time.sleep(1)
    done.set()
    for thread in threads:
        thread.join()
    assert {answered.status for _, answered in answers} == {200}
    assert len(answers) > 200
    statuses = {answered.headers["X-Cache-Status"] for _, answered in answers}
    assert "HIT" in statuses and "STALE" in statuses
    for target, answered in answers:
        fresh = answered.headers["X-Cache-Status"] in ("MISS", "EXPIRED")
        assert answered.json["source"] == ("database" if fresh else "cache")
        assert OWN[target] in answered.json


def test_without_postgres_what_is_cached_is_served(make_stack):
    stack = make_stack(load={"SLUICED_LOG_LEVEL": "error"}).start()
    stack.allow(GONE)
    stack.allow("postgres|Postgres|connection")
    api = with_rows(stack)
    before = {target: hit(api, target).json for target in TARGETS}
    stack.postgres.kill()
    time.sleep(2.5)
    for target, page in before.items():
        answered = api.get(target)
        assert (answered.status, answered.json) == (200, page), target
        assert answered.headers["X-Cache-Status"] in ("STALE", "UPDATING", "HIT")
    other = api.get("/api/logs/another")
    assert other.status == 503
    assert other.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(other.headers["Retry-After"]) <= 60
    stack.postgres.start()
    wait_until(lambda: api.get("/api/logs/another").status == 200, 20, "it is asked again")
