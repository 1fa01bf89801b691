"""GET /health tells the real state."""

from harness.waiting import wait_until
from test_way import RFC3339


def test_health_of_a_well_system(api):
    """Each worker tells the others what Redis says as it connects: the later one may have asked before."""
    answer = wait_until(lambda: (found := api.health()).json["status"] != "degraded" and found, 5,
                        "what was asked last is known")
    assert answer.status == 200
    body = answer.json
    assert set(body) == {"status", "instance", "checks", "durability", "timestamp"}
    assert body["status"] == "healthy"
    assert body["instance"]
    assert body["checks"] == {"redis": "ok", "postgres": "ok"}
    assert body["durability"] == "fsync"
    assert RFC3339.match(body["timestamp"])


def test_live_and_ready(api):
    assert api.get("/health/live").status == 200
    assert api.get("/health/ready").status == 200


def test_head_is_answered_like_get(api):
    for path in ("/health", "/health/live", "/health/ready"):
        answer = api.request("HEAD", path)
        assert (answer.status, answer.body) == (200, b"")


def test_redis_away_is_unhealthy(stack, api):
    stack.redis.kill()
    stack.wait_health("unhealthy")
    answer = api.health()
    assert answer.status == 503
    assert answer.json["checks"]["redis"] == "failed"
    assert api.get("/health/ready").status == 503
    assert api.get("/health/live").status == 200
    stack.redis.start()
    stack.wait_healthy()


def test_postgres_away_is_degraded(stack, api):
    stack.postgres.kill()
    stack.wait_health("degraded")
    answer = api.health()
    assert answer.status == 200
    assert answer.json["checks"] == {"redis": "ok", "postgres": "failed"}
    assert api.get("/health/ready").status == 200
    stack.postgres.start()
    stack.wait_healthy()


def test_loader_away_leaves_postgres_unknown(stack, api):
    stack.loader.kill()
    stack.wait_health("degraded")
    assert api.health().json["checks"]["postgres"] == "unknown"
    stack.loader.start()
    stack.wait_healthy()


def test_durability_below_what_is_asked_refuses_posts(stack, api):
    stack.allow("redis is less durable")
    stack.redis.client.config_set("appendfsync", "everysec")
    stack.wait_health("unhealthy")
    answer = api.log()
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert api.health().json["durability"] == "everysec"
    stack.redis.client.config_set("appendfsync", "always")
    stack.wait_healthy()
    assert api.log().status == 200
