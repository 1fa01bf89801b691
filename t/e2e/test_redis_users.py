"""Each part of Sluice logs in to Redis as a user who may run what that part runs, on the keys of the
stream, and nothing else."""

import pytest
import redis

from harness.redis_server import GLOBAL_LIMITS

# Of all that Redis knows; a right that is given to one of them has to be given here, too.
MAY = {
    "edge": {"xadd", "xlen", "hmget", "role", "info", "config|get", "client|setname"},
    "loader": {"xgroup|create", "xreadgroup", "xautoclaim", "xack", "xinfo|stream", "xinfo|groups",
               "xpending", "xtrim", "xrange", "xrevrange", "eval", "time", "hset", "hgetall", "hdel",
               "pexpire", "info", "config|get", "client|setname"},
    "reader": {"multi", "exec", "time", "xpending", "xinfo|stream", "xinfo|groups", "xread", "xrange",
               "client|setname"},
}
# Redis lets everybody log in, and go.
ANYBODY = {"auth", "hello", "quit", "reset"}


@pytest.fixture
def server(make_stack):
    """Redis, with a record."""
    stack = make_stack()
    stack.allow("redis refused")
    stack.redis.start()
    stack.redis.client.xadd("logs:stream", {"a": "secret"})
    return stack.redis


def all_commands(server):
    """And subcommands, each with how many words it takes at least."""
    found = {}
    for name, about in server.new_client(decode_responses=True).command().items():
        parts = about["subcommands"] or [(name, about["arity"])]
        found.update({part[0]: abs(part[1]) for part in parts})
    return found


def allowed(server, user):
    client = server.new_client(decode_responses=True)
    found = set()
    for name, count in all_commands(server).items():
        words = name.split("|")
        words += ["logs:stream"] * (count - len(words))
        if "to run" not in client.acl_dryrun(user, *words):
            found.add(name)
    return found


@pytest.mark.parametrize("user", MAY)
def test_all_that_each_may_run(server, user):
    assert allowed(server, user) == MAY[user] | ANYBODY


def test_what_limits_of_all_edges_take_besides(server):
    server.stop()
    server.grant("edge", GLOBAL_LIMITS)
    server.start()
    besides = set(GLOBAL_LIMITS.replace("+", "").split())
    assert allowed(server, "edge") == MAY["edge"] | besides | ANYBODY


@pytest.mark.parametrize(("user", "words"), [
    ("edge", "XADD other * a b"),
    ("edge", "XADD logs:streams * a b"),
    ("edge", "HMGET other a"),
    ("edge", "XRANGE logs:stream - +"),
    ("edge", "XREAD STREAMS logs:stream 0"),
    ("edge", "XREVRANGE logs:stream + -"),
    ("edge", "XTRIM logs:stream MAXLEN 0"),
    ("edge", "XDEL logs:stream 1-1"),
    ("edge", "DEL logs:stream"),
    ("edge", "KEYS *"),
    ("edge", "CONFIG SET appendfsync no"),
    ("edge", "FLUSHALL"),
    ("edge", "EVAL 'return 1' 0"),
    ("edge", "ACL LIST"),
    ("edge", "MONITOR"),
    ("loader", "XRANGE other - +"),
    ("loader", "HGETALL other"),
    ("loader", "XADD logs:stream * a b"),
    ("loader", "DEL logs:stream"),
    ("loader", "CONFIG SET appendfsync no"),
    ("loader", "FLUSHALL"),
    ("loader", "XGROUP DESTROY logs:stream log_workers"),
    ("reader", "XINFO STREAM other"),
    ("reader", "XPENDING logs:stream:loader log_workers"),
    ("reader", "XRANGE other - +"),
    ("reader", "XREAD STREAMS other 0"),
    ("reader", "XREVRANGE logs:stream + -"),
    ("reader", "XACK logs:stream log_workers 1-1"),
    ("reader", "CONFIG GET *"),
    ("reader", "INFO"),
    ("reader", "KEYS *"),
])
def test_what_each_is_refused(server, user, words):
    client = server.new_client(username=user, password=f"{user}-secret")
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*words.split())
    assert server.stream_length() == 1


@pytest.mark.parametrize("script", [
    "redis.call('DEL', 'logs:stream')",
    "redis.call('FLUSHALL')",
    "redis.call('XRANGE', 'other', '-', '+')",
])
def test_a_script_may_what_its_user_may(server, script):
    client = server.new_client(username="loader", password="loader-secret")
    with pytest.raises(redis.exceptions.ResponseError, match="The user executing the script can't"):
        client.eval(f"return {script}", 0)
    assert server.stream_length() == 1


@pytest.mark.parametrize("login", [
    {"username": None, "password": None},
    {"username": "default", "password": ""},
    {"username": "edge", "password": ""},
    {"username": "reader", "password": "loader-secret"},
])
def test_nobody_gets_in_without_a_password_of_its_own(server, login):
    client = server.new_client(**login)
    with pytest.raises(redis.exceptions.RedisError, match="WRONGPASS|Authentication required"):
        client.ping()
