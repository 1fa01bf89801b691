"""What the promises rest on is watched, at the start and all the time: below what is asked for nothing
is taken, or stored, and the log says why, again each minute."""

import re

import pytest

from harness import frames
from harness.scripted_redis import ANSWERS, INFO, SETTINGS, bulk
from harness.waiting import wait_until
from test_daemon_metrics import read, wait_page

LESS_REDIS = "redis is less durable than redis.durability"
OFF = "postgres would lose committed records in a crash"
LESS = re.compile(r'\[error\].*Redis is less durable than "sluice_durability fsync", POSTs are refused: (.*)')
REPLICA = b"*5\r\n" + bulk(b"slave") + bulk(b"h") + b":1\r\n" + bulk(b"connected") + b":1\r\n"
WAYS = {
    "appendonly is off": (b"appendonly", b"no"),
    "appendfsync is lower": (b"appendfsync", b"everysec"),
    "no-appendfsync-on-rewrite is on": (b"no-appendfsync-on-rewrite", b"yes"),
    "its maxmemory-policy may evict": (b"maxmemory-policy", b"volatile-lru"),
    "its last write to the AOF failed": (b"INFO", bulk(INFO.replace(b":ok", b":err"))),
    "it is not a master": (b"ROLE", REPLICA),
}


def complaints(stack):
    return LESS.findall(stack.nginx.error_text())


@pytest.mark.parametrize("why", WAYS)
def test_a_redis_that_gives_less_is_refused_with_one_line(make_edge, why):
    stack = make_edge(workers=2)
    name, value = WAYS[why]
    given, before = ((stack.scripted.settings, SETTINGS[name]) if name in SETTINGS
                     else (stack.scripted.answers, ANSWERS[name]))
    api = stack.api()
    assert api.log().status == 200
    for times, what in ((1, "switched while it runs"), (2, "found at the start")):
        if times == 2:
            stack.nginx.stop()
            api.close()
        given[name] = value
        if times == 2:
            stack.nginx.start()
        wait_until(lambda: api.log().json.get("code") == "durability_below_minimum", 30, what)
        assert api.get("/health/ready").status == 503
        # It is known to all before it is said.
        wait_until(lambda: len(complaints(stack)) >= times, 5, f"it is said: {what}")
        assert len(complaints(stack)) == times, what
        assert complaints(stack)[-1].startswith(why), what
        given[name] = before
        wait_until(lambda: api.log().status == 200, 30, "POSTs are taken again")


SWITCHES = {
    "appendonly is off": (("CONFIG", "SET", "appendonly", "no"), ("CONFIG", "SET", "appendonly", "yes")),
    "its maxmemory-policy may evict": (("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
                                       ("CONFIG", "SET", "maxmemory-policy", "noeviction")),
    "it is not a master": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
}


@pytest.mark.parametrize("why", SWITCHES)
def test_a_redis_that_is_switched_while_it_runs(stack, api, why):
    """Refused by the edge; the loader complains, and stores what is there."""
    stack.allow(LESS_REDIS)
    less, well = SWITCHES[why]
    stored = 0

    def post():
        nonlocal stored
        answer = api.log()
        stored += answer.status == 200
        return answer

    assert post().status == 200
    stack.redis.client.execute_command(*less)
    wait_until(lambda: post().status == 503 and complaints(stack), 30, "it is refused, and said")
    assert complaints(stack)[-1].startswith(why)
    wait_page(stack, lambda page: page("redis_durability") < page("redis_durability_required"),
              "the loader tells")
    (event,) = stack.loader.events(LESS_REDIS)
    assert event["level"] == "ERROR" and event["asked"] == "fsync" and event["why"].startswith(why)
    if why != "it is not a master":
        add_record(stack)
        stored += 1
        stack.wait_rows(stored)
    stack.redis.client.execute_command(*well)
    wait_until(lambda: post().status == 200, 30, "POSTs are taken again")
    wait_page(stack, lambda page: page("redis_durability") == 3, "the loader tells")
    assert len(stack.loader.events("redis is as durable as it must be again")) == 1
    stack.wait_rows(stored)


def test_an_append_only_file_that_is_not_written_yet_is_none(stack, api):
    """Redis rewrites it when it is switched on; what it takes meanwhile would not outlive it."""
    stack.allow(LESS_REDIS)
    client = stack.redis.client
    assert api.log().status == 200
    client.config_set("appendonly", "no")
    wait_until(lambda: api.log().status == 503, 30, "the edge has seen it")
    # Of the stream and of what the loader tells.
    client.config_set("rdb-key-save-delay", 2000000)
    client.config_set("appendonly", "yes")
    refused = 0

    def is_written():
        nonlocal refused
        answer = api.log()
        if not client.info("persistence")["aof_rewrite_in_progress"]:
            return True
        assert answer.json.get("code") == "durability_below_minimum"
        refused += 1
        return False

    wait_until(is_written, 30, "it is written")
    assert refused > 5
    wait_until(lambda: api.log().status == 200, 30, "POSTs are taken again")


def test_a_loader_is_content_with_what_is_asked_of_redis(make_stack):
    stack = make_stack(load={"SLUICED_REDIS_DURABILITY": "everysec"})
    stack.redis.conf = stack.redis.conf.replace("appendfsync always", "appendfsync everysec")
    stack.nginx.edit("sluice_durability fsync;", "sluice_durability everysec;")
    stack.start()
    wait_page(stack, lambda page: page("redis_durability") == 2, "it is told")
    assert read(stack)("redis_durability_required") == 2
    assert stack.api().log().status == 200
    stack.wait_rows(1)
    assert stack.loader.events(LESS_REDIS) == []


def test_a_redis_that_is_found_with_less_is_complained_of_and_emptied(make_stack):
    stack = make_stack()
    stack.allow(LESS_REDIS)
    stack.redis.conf = stack.redis.conf.replace("appendonly yes", "appendonly no")
    stack.start_loading()
    add_record(stack)
    stack.wait_rows(1)
    wait_until(lambda: stack.loader.events(LESS_REDIS), 30, "it complains")
    assert stack.loader.events(LESS_REDIS)[0]["why"] == "appendonly is off"


def set_postgres(stack, name, value):
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER SYSTEM SET {name} = {value}")
        cursor.execute("SELECT pg_reload_conf()")
    connection.close()
    wait_until(lambda: stack.postgres.value(f"SHOW {name}") == value, 15, f"{name} is {value}")


def add_record(stack):
    frames.add(stack.redis, [frames.frame([frames.row()])])


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_postgres_that_is_found_without_it_stores_nothing(stack, name):
    stack.allow(OFF)
    wait_page(stack, lambda page: page("postgres_setting", setting=name) == 1, "it is on")
    stack.loader.stop()
    set_postgres(stack, name, "off")
    stack.loader.start()
    wait_page(stack, lambda page: page("postgres_setting", setting=name) == 0, "it is told")
    assert read(stack)("postgres_setting_required", setting=name) == 1
    add_record(stack)
    wait_page(stack, lambda page: page("postgres_retries_total", **{"class": "lost"}) > 3, "it waits")
    assert stack.rows() == 0
    (event,) = stack.loader.events(OFF)
    assert (event["level"], event["off"]) == ("ERROR", name)
    assert f"postgres.durability is fsync, but off is {name}" in stack.loader.log_text()
    # It goes on without a restart.
    set_postgres(stack, name, "on")
    stack.wait_rows(1)
    wait_page(stack, lambda page: page("postgres_setting", setting=name) == 1, "it is on again")
    assert len(stack.loader.events("postgres is as durable as it must be again")) == 1


def test_a_postgres_without_it_is_what_was_asked_for(make_stack):
    stack = make_stack(load={"SLUICED_POSTGRES_DURABILITY": "memory"}).start()
    stack.loader.stop()
    for name in ("fsync", "full_page_writes"):
        set_postgres(stack, name, "off")
    stack.loader.start()
    add_record(stack)
    stack.wait_rows(1)
    wait_page(stack, lambda page: page("postgres_setting", setting="fsync") == 0, "it is told")
    assert read(stack)("postgres_setting_required", setting="fsync") == 0
    assert stack.loader.events(OFF) == []


def test_commits_are_synchronous_whatever_the_role_is_set_to(stack):
    """What a transaction is set to when it stores its counts, the last that it does."""
    connection = stack.postgres.connect()
    with connection.cursor() as cursor:
        cursor.execute("ALTER ROLE sluice_loader SET synchronous_commit = off")
        cursor.execute("CREATE TABLE seen (setting text); GRANT INSERT ON seen TO public")
        cursor.execute("CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO"
                       " seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$")
        cursor.execute("CREATE TRIGGER see AFTER INSERT OR UPDATE ON counters EXECUTE FUNCTION see()")
    connection.close()
    stack.loader.stop()
    stack.loader.start()
    add_record(stack)
    stack.wait_rows(1)
    assert set(stack.postgres.query("SELECT setting FROM seen")) == {("on",)}


def test_what_is_switched_off_while_it_runs_is_said_each_minute(stack, api):
    """Redis, of which nothing is taken any more, and Postgres, where storing goes on."""
    stack.allow(f"{OFF}|{LESS_REDIS}")
    assert api.log().status == 200
    stack.wait_drained()
    set_postgres(stack, "fsync", "off")
    stack.redis.client.config_set("appendfsync", "everysec")
    wait_until(lambda: stack.loader.events(OFF), 30, "Postgres is complained of")
    add_record(stack)
    stack.wait_rows(2)
    wait_until(lambda: len(stack.loader.events(OFF)) == len(stack.loader.events(LESS_REDIS)) ==
               len(complaints(stack)) == 2, 80, "both are complained of again")
    set_postgres(stack, "fsync", "on")
    stack.redis.client.config_set("appendfsync", "always")
    wait_page(stack, lambda page: page("postgres_setting", setting="fsync") == 1, "it is on again")
    wait_until(lambda: api.log().status == 200, 30, "POSTs are taken again")
