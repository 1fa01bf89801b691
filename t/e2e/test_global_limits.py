"""Limits that all edges of a Redis hold together."""

import os
import re
import signal
import threading
import time

import pytest
from harness.api import Api
from harness.limits import limited, records
from harness.redis_server import GLOBAL_LIMITS
from harness.waiting import wait_until

SLACK_S = 0.2
CLIENT = {"X-Client": "a"}


def global_limit(rate, burst, per="s"):
    return limited([f"$http_x_client zone=all:64k rate={rate}r/{per} scope=global"],
                   [f"zone=all burst={burst}"])


def gauge(port, name):
    api = Api(port)
    try:
        text = api.get("/metrics").body.decode()
    finally:
        api.close()
    return int(re.search(rf"^sluice_edge_limit_{name} (\d+)$", text, re.M).group(1))


def start_edges(make_stack, count, edits, workers=1):
    """Redis and so many edges that know each other; no loader, no Postgres."""
    stack = make_stack(nginx_edits=edits, workers=workers)
    stack.redis.grant("edge", GLOBAL_LIMITS)
    edges = [stack.nginx] + [stack.add_edge(workers) for _ in range(count - 1)]
    stack.redis.start()
    for edge in edges:
        edge.launch()
    for edge in edges:
        edge.wait_ready()
    for edge in edges:
        wait_until(lambda port=edge.port: gauge(port, "edges") == count, 10, f"{count} edges")
        wait_until(lambda port=edge.port: Api(port).post(
            "/api/logs/batch", records(1)).status == 200, 10, "POSTs are taken")
    return stack, edges


def hammer(edges, seconds, size=1):
    """A thread an edge sends as fast as it can; of the batches that were answered 200, when they
    were sent and when answered."""
    admitted, statuses = [], set()
    end = time.monotonic() + seconds

    def send(edge):
        api = Api(edge.port)
        while True:  # once at least
            begun = time.monotonic()
            status = api.post("/api/logs/batch", records(size), **CLIENT).status
            statuses.add(status)
            if status == 200:
                admitted.append((begun, time.monotonic()))
            if time.monotonic() >= end:
                break
        api.close()

    threads = [threading.Thread(target=send, args=(edge,)) for edge in edges]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses <= {200, 429}, statuses
    return admitted


def most_owed(times, rate, size):
    """The most by which what was certainly admitted within some time was ahead of the rate."""
    most = 0
    for first, _ in times:
        within = 0
        for last in sorted(answered for sent, answered in times if sent >= first):
            within += size
            most = max(most, within - (last - first) * rate)
    return most


@pytest.mark.alone
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_edges_hold_a_limit_together(make_stack, count):
    """Alone: it keeps the machine busy, and judges pace."""
    rate, burst, size, seconds = 40, 80, 2, 5
    _, edges = start_edges(make_stack, count, global_limit(rate, burst))
    times = hammer(edges, seconds, size)
    untold = burst / count + SLACK_S * rate
    lost = sum(gauge(edge.port, "call_failures_total") for edge in edges)
    bound = burst + SLACK_S * rate + (count - 1 + lost) * untold
    owed, total = most_owed(times, rate, size), size * len(times)
    print(f"{count} edges: {total} records in {seconds} s; at once {owed:.0f}, bound {bound:.0f}")
    assert owed <= bound
    assert total <= bound + rate * (seconds + 0.1)
    assert total >= burst + 0.8 * rate * (seconds - 1)


def commands(stack):
    stats = stack.redis.client.info("commandstats")
    return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0)
            for name in ("eval", "get", "set")}


@pytest.mark.alone
def test_who_is_over_the_limit_costs_redis_nothing(make_stack):
    """Alone: it keeps the machine busy, and judges pace."""
    stack, edges = start_edges(make_stack, 2, global_limit(1, 10, per="m"))
    assert hammer(edges, 1.5)
    before = commands(stack)
    assert before["set"] > 0
    begun = time.monotonic()
    assert hammer(edges, 2) == []
    took = time.monotonic() - begun
    after = commands(stack)
    assert after["get"] == before["get"] and after["set"] == before["set"]
    # an edge with nothing to tell says three times a second that it lives
    assert after["eval"] - before["eval"] <= len(edges) * (took * 3.4 + 2)
    answer = Api(edges[0].port).post("/api/logs/batch", records(1), **CLIENT)
    assert int(answer.headers["Retry-After"]) > 30
    keys = stack.redis.client.keys("logs:stream:*")
    assert all(re.fullmatch(rb"logs:stream:(edges|limit:all:[0-9a-f]{16})", key) for key in keys)
    for key in keys:
        assert stack.redis.client.pttl(key) > 0
    aof = b"".join(path.read_bytes()
                   for path in (stack.folder / "redis" / "appendonlydir").glob("*.incr.aof"))
    assert b"XADD" in aof and b"limit:all" not in aof and b":edges" not in aof


def wait_told(edge):
    """What it has let in: of the next two calls one begins from now on, and ends before the other."""
    calls = gauge(edge.port, "calls_total")
    wait_until(lambda: gauge(edge.port, "calls_total") >= calls + 2, 10, "it is told")


def test_what_one_edge_let_in_the_other_knows(make_stack):
    _, edges = start_edges(make_stack, 2, global_limit(1, 40, per="m"))
    first, second = (Api(edge.port) for edge in edges)
    for _ in range(2):
        # half of the burst may be untold
        assert first.post("/api/logs/batch", records(20), **CLIENT).status == 200
        wait_told(edges[0])
    assert first.post("/api/logs/batch", records(1), **CLIENT).status == 429
    # it learns when it tells
    assert second.post("/api/logs/batch", records(1), **CLIENT).status == 200
    wait_told(edges[1])
    answer = second.post("/api/logs/batch", records(1), **CLIENT)
    assert answer.status == 429 and answer.headers["RateLimit"].startswith('"all";r=0')
    assert second.post("/api/logs/batch", records(1), **{"X-Client": "b"}).status == 200
    # too much for two edges, but one of them may be on its way out
    large = second.post("/api/logs/batch", records(21), **{"X-Client": "b"})
    assert large.status == 429 and large.headers["Retry-After"] == "10"
    assert "more than the 20 that pass at once while others share it" in large.json["detail"]
    never = second.post("/api/logs/batch", records(41), **{"X-Client": "b"})
    assert never.status == 413 and "more than 40 at once can never pass" in never.json["detail"]


@pytest.mark.alone
def test_an_edge_that_does_not_hear_keeps_its_share(make_stack):
    """The script is refused, but frames are taken: so what is let in can be seen. Alone: it keeps
    the machine busy, and judges pace."""
    rate, burst = 20, 40
    stack, edges = start_edges(make_stack, 2, global_limit(rate, burst))
    stack.allow("redis refused edge eval")
    stack.redis.client.execute_command("ACL", "SETUSER", "edge", "-eval")
    for edge in edges:
        wait_until(lambda port=edge.port: gauge(port, "share") == 1, 5, "the share rules")
    assert "limits of all edges are kept as shares" in edges[0].error_text()
    seconds = 4
    for edge in edges:
        total = len(hammer([edge], seconds))
        share = burst / 2 + SLACK_S * rate + seconds * rate / 2
        print(f"alone: {total} records in {seconds} s, share {share:.0f}")
        assert 0.8 * share <= total <= share + 0.1 * rate
    assert all(gauge(edge.port, "call_failures_total") > 0 for edge in edges)
    stack.redis.client.execute_command("ACL", "SETUSER", "edge", "+eval")
    for edge in edges:
        wait_until(lambda port=edge.port: gauge(port, "share") == 0, 5, "all edges hear")


def test_redis_stands_still_and_nothing_hangs(make_stack):
    stack, edges = start_edges(make_stack, 2, global_limit(20, 20))
    stack.redis.pause()
    for edge in edges:
        wait_until(lambda port=edge.port: gauge(port, "share") == 1, 5, "the share rules")
        api = Api(edge.port)
        begun = time.monotonic()
        # what is not stored is given back: not one of them is over the limit
        for _ in range(3):
            assert api.post("/api/logs/batch", records(10), **CLIENT).status == 503
        assert time.monotonic() - begun < 20
        assert gauge(edge.port, "edges") == 2
        wait_until(lambda edge=edge: "a reply about limits is overdue" in edge.error_text(), 5)
    stack.redis.resume()
    for edge in edges:
        wait_until(lambda port=edge.port: gauge(port, "share") == 0, 10, "all edges hear")
        wait_until(lambda port=edge.port: Api(port).post(
            "/api/logs/batch", records(1)).status == 200, 10, "POSTs are taken")
    assert hammer(edges, 1)


def test_edges_come_and_go(make_stack):
    stack, edges = start_edges(make_stack, 3, global_limit(10, 10))
    edges[1].kill()
    stopping = time.monotonic()
    edges[2].stop()
    gone = time.monotonic()
    wait_until(lambda: gauge(edges[0].port, "edges") == 1, 30, "the dead are forgotten")
    assert time.monotonic() - stopping > 8
    assert time.monotonic() - gone < 20
    edges[2].start()
    wait_until(lambda: gauge(edges[0].port, "edges") == 2, 10, "the new one is seen")


def telling_workers(stack):
    """Who has told something in the last second. One that was late once has told something, too."""
    return {int(client["name"].rpartition("-")[2])
            for client in stack.redis.client.client_list()
            if client["cmd"] == "eval" and int(client["idle"]) < 2}


def test_another_worker_tells_when_one_is_killed(make_stack):
    stack, edges = start_edges(make_stack, 1, global_limit(20, 20), workers=2)
    stack.allow(r"exited on signal 9")
    for _ in range(3):
        [teller] = wait_until(lambda: len(found := telling_workers(stack)) == 1 and found, 5,
                              "one tells")
        os.kill(teller, signal.SIGKILL)
        wait_until(lambda old=teller: telling_workers(stack) - {old}, 5, "another tells")
        told = gauge(edges[0].port, "told_keys_total")
        key = {"X-Client": f"after {teller}"}
        wait_until(lambda key=key: api_status(edges[0].port, key) == 429, 5, "a limit is reached")
        wait_until(lambda told=told: gauge(edges[0].port, "told_keys_total") > told, 5)
        assert gauge(edges[0].port, "share") == 0


def api_status(port, headers):
    api = Api(port)
    try:
        return api.post("/api/logs/batch", records(5), **headers).status
    except OSError:
        return None
    finally:
        api.close()


def is_spent(port):
    """Not only until more may be told."""
    answer = Api(port).post("/api/logs/batch", records(1), **CLIENT)
    return answer.status == 429 and int(answer.headers["Retry-After"]) > 1


def test_a_reload_hands_the_telling_over(make_stack):
    stack, edges = start_edges(make_stack, 2, global_limit(1, 20, per="m"))
    assert hammer(edges, 1.5)
    wait_until(lambda: is_spent(edges[0].port), 10, "the limit is reached")
    for _ in range(3):
        old = edges[0].reload()
        wait_until(lambda old=old: telling_workers(stack).isdisjoint(old), 5, "a new worker tells")
        assert gauge(edges[0].port, "share") == 0 and gauge(edges[0].port, "edges") == 2
        assert api_status(edges[0].port, CLIENT) == 429
    wait_until(lambda: not edges[0].leaving_worker_pids(), 10, "old workers leave")
    # the zone is kept, so it is no new edge
    assert stack.redis.client.zcard("logs:stream:edges") == 2
