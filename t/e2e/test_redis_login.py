"""Redis behind TCP, users, passwords and other databases."""

import pytest
import redis
from harness.waiting import free_port, wait_until

# The least that the edge and the loader need; the README's rights.
EDGE = "+xadd +client|setname +config|get +info +role +hmget +xlen +select ~logs:stream*"
# And what limits with scope=global take.
GLOBAL = "+eval +time +get +set +zadd +zremrangebyscore +zcard +pexpire"
LOADER = "+@stream +select +client|setname +hset +hgetall +hdel +pexpire +time +eval ~logs:stream*"


@pytest.fixture
def secured(make_stack):
    """Redis on TCP with a user each, whose passwords are in files."""
    stack = make_stack()
    port = free_port()
    stack.redis.conf = stack.redis.conf.replace("\nport 0\n", f"\nport {port}\n")
    stack.redis.conf = stack.redis.conf.replace("databases 1", "databases 4")
    assert f"port {port}" in stack.redis.conf and "databases 4" in stack.redis.conf
    stack.redis.conf += f"user edge on >edge-secret {EDGE}\nuser loader on >loader-secret {LOADER}\n"
    for name in ("edge", "loader"):
        (stack.folder / f"{name}.password").write_text(f"{name}-secret\n")
    stack.nginx.edit(f'sluice_redis "unix://{stack.folder}/redis.sock"',
                     f'sluice_redis redis://edge@127.0.0.1:{port}/2 '
                     f'password_file={stack.folder}/edge.password')
    stack.loader.settings["SLUICED_REDIS_URL"] = f"redis://loader@127.0.0.1:{port}/2"
    stack.loader.settings["SLUICED_REDIS_PASSWORD_FILE"] = f"{stack.folder}/loader.password"
    stack.redis.client = redis.Redis(unix_socket_path=str(stack.redis.socket_path), db=2)
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
    secured.redis.conf = secured.redis.conf.replace(EDGE, f"{EDGE} {GLOBAL}")
    secured.start()
    api = secured.api()
    record = {"device_id": "d", "log_level": "INFO", "message": "m"}
    statuses = [api.post("/api/log", record, **{"X-Client": "a"}).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    wait_until(lambda: secured.redis.client.keys("logs:stream:limit:all:*"), 5, "it is told")
    assert "limits of all edges" not in secured.nginx.error_text()


def test_a_wrong_password_is_told_and_recovers(secured):
    secured.allow("refused the login")
    secured.redis.start()
    secured.redis.client.acl_setuser("edge", enabled=True, passwords=["-edge-secret", "+other"])
    secured.nginx.start()
    api = secured.api()
    assert wait_until(lambda: api.log(), 5).json["code"] == "redis_unavailable"
    text = secured.nginx.error_text()
    assert "Redis refused the login: WRONGPASS" in text
    assert "secret" not in text
    secured.redis.client.acl_setuser("edge", enabled=True, passwords=["-other", "+edge-secret"])
    wait_until(lambda: api.log().status == 200, 10, "POSTs are taken")


def test_a_user_who_may_not_ask_is_not_trusted(secured):
    """Without CONFIG GET nobody knows how durable Redis is."""
    secured.redis.start()
    secured.redis.client.execute_command("ACL", "SETUSER", "edge", "-config|get")
    secured.nginx.start()
    api = secured.api()
    wait_until(lambda: api.log().json["code"] == "durability_below_minimum", 5)
    assert "does not tell how durable it is" in secured.nginx.error_text()
    assert api.health().json["status"] == "unhealthy"
