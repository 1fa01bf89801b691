"""Redis behind TCP, users, passwords and other databases."""

import pytest
from harness.redis_server import GLOBAL_LIMITS
from harness.waiting import free_port, wait_until


@pytest.fixture
def secured(make_stack):
    """Redis on TCP, and another database."""
    stack = make_stack()
    port = free_port()
    stack.redis.conf = stack.redis.conf.replace("\nport 0\n", f"\nport {port}\n")
    stack.redis.conf = stack.redis.conf.replace("databases 1", "databases 4")
    assert f"port {port}" in stack.redis.conf and "databases 4" in stack.redis.conf
    stack.redis.grant("edge", "+select")
    stack.redis.grant("loader", "+select")
    stack.redis.grant("reader", "+select")
    stack.nginx.edit(f'"unix://edge@{stack.redis.socket_path}"',
                     f"redis://edge@127.0.0.1:{port}/2")
    stack.loader.settings["SLUICED_REDIS_URL"] = f"redis://loader@127.0.0.1:{port}/2"
    stack.server.settings["SLUICED_REDIS_READER_URL"] = f"redis://reader@127.0.0.1:{port}/2"
    stack.redis.client = stack.redis.new_client(db=2)
    return stack


def test_users_with_few_rights_are_enough(secured):
    secured.start()
    api = secured.api()
    for _ in range(10):
        assert api.log().status == 200
    secured.wait_rows(10)
    names = {client["name"] for client in secured.redis.client.client_list()}
    assert any(name.startswith("sluice-edge-") for name in names), names


def test_global_limits_need_a_few_more(secured):
    zone = "sluice_limit_zone $http_x_client zone=all:64k rate=1r/m scope=global;"
    secured.nginx.edit("    sluice_zone sluice:512k;", f"    sluice_zone sluice:512k;\n{zone}")
    secured.nginx.edit("sluice log;", "sluice log; sluice_limit zone=all burst=3;")
    secured.redis.grant("edge", GLOBAL_LIMITS)
    secured.start()
    api = secured.api()
    record = {"device_id": "d", "log_level": "INFO", "message": "m"}
    statuses = [api.post("/api/log", record, **{"X-Client": "a"}).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    wait_until(lambda: secured.redis.client.keys("logs:stream:limit:all:*"), 5, "it is told")
    assert "limits of all edges" not in secured.nginx.error_text()


def test_a_wrong_password_is_told_and_recovers(secured):
    secured.allow("refused the login|redis refused edge AUTH")
    secured.redis.start()
    secured.redis.client.acl_setuser("edge", enabled=True, passwords=["-edge-secret", "+other"])
    secured.nginx.start()
    api = secured.api()
    assert wait_until(lambda: api.log(), 5).json["code"] == "redis_unavailable"
    wait_until(lambda: "Redis refused the login: WRONGPASS" in secured.nginx.error_text(), 5)
    assert "edge-secret" not in secured.nginx.error_text()
    secured.redis.client.acl_setuser("edge", enabled=True, passwords=["-other", "+edge-secret"])
    wait_until(lambda: api.log().status == 200, 10, "POSTs are taken")


def test_a_user_who_may_not_ask_is_not_trusted(secured):
    """Without CONFIG GET nobody knows how durable Redis is."""
    secured.redis.start()
    secured.allow("redis refused edge config")
    secured.redis.client.execute_command("ACL", "SETUSER", "edge", "-config|get")
    secured.nginx.start()
    api = secured.api()
    wait_until(lambda: api.log().json["code"] == "durability_below_minimum", 5)
    assert "does not tell how durable it is" in secured.nginx.error_text()
    assert api.health().json["status"] == "unhealthy"
