"""What the edge counts of queries: each client's once, by endpoint and by what the cache had."""

import threading
import time

from harness.scripted_server import answer, page
from harness.waiting import wait_until


def counted(api):
    """What is not zero: (endpoint, status): number, of hits and of misses."""
    found = {"hits": {}, "misses": {}}
    for line in api.get("/metrics").body.decode().splitlines():
        name, _, value = line.rpartition(" ")
        for family, numbers in found.items():
            if name.startswith(f"sluice_edge_cache_{family}_total{{") and value != "0":
                labels = dict(pair.split("=") for pair in name.partition("{")[2][:-1].split(","))
                numbers[labels["endpoint"].strip('"'), labels["status"].strip('"')] = int(value)
    return found["hits"], found["misses"]


def test_queries_are_counted_by_endpoint(make_reading):
    stack = make_reading(workers=2)
    api = stack.api()
    for target in ("/api/logs", "/api/logs/pump-7", "/api/logs?limit=5", "/api/logs?limit=5",
                   "/api/stats", "/api/hits", "/api/hits", "/api/hits?step=1h", "/api/logs/a/b"):
        assert api.get(target).status == 200
    assert api.request("HEAD", "/api/stats").status == 200
    assert counted(api) == ({("logs", "hit"): 1, ("hits", "hit"): 1, ("stats", "hit"): 1},
                            {("logs", "miss"): 4, ("hits", "miss"): 2, ("stats", "miss"): 1})


def test_what_asks_nothing_is_not_counted(make_reading):
    stack = make_reading(('"agent":"$log_agent"', '"agent":"$sluice_query"'))
    api = stack.api()
    assert api.log().status == 200
    assert api.request("PUT", "/api/logs").status == 405
    assert api.get("/nowhere").status == 404
    assert api.get("/health").status == 200
    assert api.get("/api/nothing").status == 200  # the scripted server knows everything
    assert counted(api) == ({}, {})


def test_every_status_is_counted(make_reading):
    """A renewal in the background is not a client's."""
    stack = make_reading(("proxy_cache pages;",
                          "proxy_cache pages; proxy_cache_revalidate on; proxy_cache_bypass $arg_x;"))
    stack.allow(r"connect\(\) to unix:.*serve\.sock failed")
    server, api = stack.scripted_server, stack.api()
    server.on_request = lambda asked: page("1", "max-age=60")
    assert [api.get("/api/hits").status for _ in range(2)] == [200, 200]
    server.on_request = lambda asked: page("1", "max-age=1", ETag='W/"1"')
    assert api.get("/api/stats").status == 200
    time.sleep(2.1)
    server.on_request = lambda asked: page("1", "max-age=1, stale-while-revalidate=60")
    assert api.get("/api/stats").headers["X-Cache-Status"] == "EXPIRED"
    time.sleep(2.1)
    renew = threading.Event()
    server.on_request = lambda asked: renew.wait(60) and page("1", "max-age=1", ETag='W/"1"')
    before = len(server.asked)
    assert api.get("/api/stats").headers["X-Cache-Status"] == "STALE"
    wait_until(lambda: len(server.asked) > before, 5, "it is being renewed")
    assert stack.api().get("/api/stats").headers["X-Cache-Status"] == "UPDATING"
    renew.set()
    assert api.get("/metrics").status == 200  # behind the renewal, on the same connection
    time.sleep(2.1)
    server.on_request = lambda asked: answer("", "304 Not Modified", Cache_Control="max-age=1")
    assert api.get("/api/stats").headers["X-Cache-Status"] == "REVALIDATED"
    server.on_request = lambda asked: page("1")
    assert api.get("/api/stats?x=1").headers["X-Cache-Status"] == "BYPASS"
    server.stop()
    assert api.get("/api/logs").status == 503
    assert counted(api) == (
        {("hits", "hit"): 1, ("stats", "stale"): 1, ("stats", "updating"): 1,
         ("stats", "revalidated"): 1},
        {("hits", "miss"): 1, ("stats", "miss"): 1, ("stats", "expired"): 1, ("stats", "bypass"): 1,
         ("logs", "miss"): 1})
