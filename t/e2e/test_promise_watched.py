"""What the promises rest on is watched, at the start and all the time: below what is asked for nothing
is taken, or stored, and the log says why, again each minute."""

import re

import pytest

from harness import frames
from harness.scripted_redis import ANSWERS, INFO, SETTINGS, bulk
from harness.waiting import wait_until
from test_daemon_metrics import read, wait_page

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
        assert len(complaints(stack)) == times, what
        assert complaints(stack)[-1].startswith(why), what
        given[name] = before
        wait_until(lambda: api.log().status == 200, 30, "POSTs are taken again")


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
    stack.allow(OFF)
    assert api.log().status == 200
    stack.wait_drained()
    set_postgres(stack, "fsync", "off")
    stack.redis.client.config_set("appendfsync", "everysec")
    wait_until(lambda: stack.loader.events(OFF), 30, "Postgres is complained of")
    add_record(stack)
    stack.wait_rows(2)
    wait_until(lambda: len(stack.loader.events(OFF)) == 2 and len(complaints(stack)) == 2, 80,
               "both are complained of again")
    set_postgres(stack, "fsync", "on")
    stack.redis.client.config_set("appendfsync", "always")
    wait_page(stack, lambda page: page("postgres_setting", setting="fsync") == 1, "it is on again")
    wait_until(lambda: api.log().status == 200, 30, "POSTs are taken again")
