"""Without Redis there is never a 200 and never a hang."""

import statistics
import time

from harness.waiting import wait_until

AT_ONCE_S = 1.0
TIMEOUT_S = 5  # sluice_timeout


def check_refused_at_once(api):
    """Each of several; the machine may stand still at one of them."""
    took = []
    for _ in range(20):
        begin = time.monotonic()
        answer = api.log()
        took.append(time.monotonic() - begin)
        assert answer.status == 503, answer
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert statistics.median(took) < AT_ONCE_S, took


def test_redis_killed_and_back(stack, api):
    assert api.log().status == 200
    stack.redis.kill()
    check_refused_at_once(api)
    stack.redis.start()
    wait_until(lambda: api.log().status == 200, 10, "POSTs are taken again")
    stack.wait_drained()
    assert stack.rows() >= 2


def test_redis_never_there(make_stack):
    stack = make_stack()
    stack.nginx.start()
    stack.allow(r"connect\(\) to unix:.*redis\.sock failed")
    check_refused_at_once(stack.api())


def test_redis_that_hangs_is_an_unknown_outcome_in_time(stack, api):
    assert api.log().status == 200
    stack.redis.pause()
    begin = time.monotonic()
    answer = api.log()
    took = time.monotonic() - begin
    assert answer.status == 503
    assert answer.json["code"] == "outcome_unknown"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert took < 2 * TIMEOUT_S, "sluice_timeout holds"
    stack.redis.resume()
    wait_until(lambda: api.log().status == 200, 10, "POSTs are taken again")


def test_full_redis_refuses_and_recovers(stack, api):
    used = stack.redis.client.info("memory")["used_memory"]
    stack.redis.client.config_set("maxmemory", used // 2)
    answer = api.log()
    assert answer.status == 503, answer
    assert int(answer.headers["Retry-After"]) >= 1
    stack.redis.client.config_set("maxmemory", 256 * 1024 * 1024)
    wait_until(lambda: api.log().status == 200, 10, "POSTs are taken again")
    stack.wait_drained()
