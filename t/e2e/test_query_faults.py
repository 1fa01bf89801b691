"""What becomes of queries when something is slow, full, or gone."""

import itertools
import json
import select
import signal
import threading
import time

import pytest

from harness.stored import Pages, Log, store, store_haystack
from harness.waiting import wait_until
from test_daemon_metrics import read_socket
from test_settled import ago


# Queries that wait for a lock wait as long as the test needs.
PATIENT = {"SLUICED_SERVE_QUERY_TIMEOUT_MS": "60000"}


def asking(stack, state="active"):
    """Queries of the server that Postgres is at."""
    return stack.postgres.value(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluiced-serve'"
        f" AND state = '{state}'")


def figure(stack, name):
    return read_socket(stack.folder / "serve.sock")[name]


def start(make_stack, **serve):
    stack = make_stack(serve=serve)
    for part in (stack.redis, stack.postgres, stack.server):
        part.start()
    return stack


@pytest.fixture
def locked(make_stack):
    """Queries of logs wait until this one lets them."""
    stack = start(make_stack, SLUICED_SERVE_WORKERS="2", SLUICED_SERVE_QUEUE="3", **PATIENT)
    lock = stack.postgres.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
    stack.unlock = lock.close
    yield stack
    lock.close()


def test_a_query_whose_client_has_gone_is_given_up(locked):
    connection = locked.server.connection()
    connection.request("GET", "/api/logs/x")
    wait_until(lambda: asking(locked) == 1, 10, "the query runs")
    connection.close()
    wait_until(lambda: asking(locked) == 0, 5, "Postgres has given it up")
    # Neither is one that waited in the queue begun for nobody; and the next one is answered.
    waiting = [locked.server.connection() for _ in range(4)]
    for number, one in enumerate(waiting):
        one.request("GET", f"/api/logs/x{number}")
    wait_until(lambda: asking(locked) == 2, 10, "two run")
    for one in waiting:
        one.close()
    wait_until(lambda: asking(locked) == 0, 5, "all are given up")
    locked.unlock()
    pages = Pages(locked.server)
    assert pages.page(device_id="x")["total"] == 0
    pages.close()


def test_more_queries_than_can_wait_are_refused_at_once(locked):
    devices = itertools.count()

    def ask(count):
        connections = [locked.server.connection() for _ in range(count)]
        for one in connections:
            one.request("GET", f"/api/logs/x{next(devices)}")
        return connections

    def refused(connections):
        readable, _, _ = select.select([one.sock for one in connections], [], [], 10)
        assert len(readable) == 1
        found = next(one for one in connections if one.sock is readable[0])
        connections.remove(found)
        answer = found.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert json.loads(answer.read())["code"] == "too_many_queries"

    running = ask(2)
    wait_until(lambda: asking(locked) == 2, 10, "two run")
    waiting = ask(4)
    refused(waiting)
    # Who waits and goes away makes room.
    waiting.pop().close()
    waiting += ask(1)
    assert not select.select([one.sock for one in waiting], [], [], 0.5)[0]
    waiting += ask(1)
    refused(waiting)
    locked.unlock()
    for one in running + waiting:
        assert one.getresponse().status == 200
        one.close()


def test_who_asks_what_waits_already_waits_for_the_same_answer(locked):
    def ask(path):
        connection = locked.server.connection()
        connection.request("GET", path)
        return connection

    running = [ask("/api/logs/x"), ask("/api/logs/y")]
    wait_until(lambda: asking(locked) == 2, 10, "two run")
    crowd = [ask(path) for path in ("/api/logs/pump-7?limit=5&level=INFO",
                                    "/api/logs?level=info&device_id=pump-7&limit=5") * 10]
    crowd.pop(7).close()  # that one leaves takes nothing from the others
    others = [ask("/api/logs/pump-7?limit=6&level=INFO"), ask("/api/logs/pump-7?limit=5")]
    wait_until(lambda: figure(locked, "sluice_server_waiting_queries") == 3, 10, "all wait")
    locked.unlock()
    answers = [one.getresponse() for one in running + crowd + others]
    assert {answer.status for answer in answers} == {200}
    bodies = {answer.read() for answer in answers[2:-2]}
    assert len(bodies) == 1
    assert figure(locked, 'sluice_db_queries_total{end="done"}') == 5
    for one in running + crowd + others:
        one.close()


def test_while_records_wait_to_be_stored_one_query_runs_at_a_time(make_stack):
    stack = make_stack(serve={"SLUICED_SERVE_WORKERS": "3", **PATIENT})
    stack.start()
    stack.wait_drained()

    def gives_way():
        return figure(stack, "sluice_server_gives_way")

    def all_wait_at_a_lock(runs):
        lock = stack.postgres.connect()
        lock.autocommit = False
        lock.cursor().execute("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
        connections = [stack.server.connection() for _ in range(3)]
        for number, one in enumerate(connections):
            one.request("GET", f"/api/logs/x{number}")
        wait_until(lambda: asking(stack) == runs, 10, f"{runs} run")
        time.sleep(0.3)
        assert asking(stack) == runs
        assert figure(stack, "sluice_server_waiting_queries") == 3 - runs
        return lock, connections

    def all_are_answered(connections):
        for one in connections:
            assert one.getresponse().status == 200
            one.close()

    wait_until(lambda: gives_way() == 0, 10, "nothing waits")
    lock, connections = all_wait_at_a_lock(3)
    lock.close()
    all_are_answered(connections)

    stack.loader.signal(signal.SIGSTOP)
    stack.redis.client.xadd("logs:stream", {"device_id": "d", "log_level": "INFO", "message": "m",
                                            "log_data": "{}"})
    wait_until(lambda: gives_way() == 1, 10, "an entry waits")
    lock, connections = all_wait_at_a_lock(1)
    lock.close()
    all_are_answered(connections)

    # And once the loader is back, those that waited need no new one to be begun.
    lock, connections = all_wait_at_a_lock(1)
    stack.redis.client.xreadgroup("log_workers", "another", {"logs:stream": ">"})
    (entry,) = stack.redis.client.xrange("logs:stream")
    stack.redis.client.xack("logs:stream", "log_workers", entry[0])
    wait_until(lambda: gives_way() == 0, 10, "nothing waits any more")
    lock.close()
    all_are_answered(connections)
    stack.loader.signal(signal.SIGCONT)


def test_a_query_that_takes_too_long_is_ended(make_stack):
    stack = start(make_stack, SLUICED_SERVE_QUERY_TIMEOUT_MS="1000")
    stack.allow("postgres did not answer a query")
    lock = stack.postgres.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
    pages = Pages(stack.server)
    answer = pages.ask("/api/logs/x")
    assert (answer.status, answer.json["code"]) == (503, "query_timeout")
    assert answer.headers["Retry-After"] and answer.headers["Cache-Control"] == "max-age=1"
    # The counters are not locked; but a second may be short.
    wait_until(lambda: pages.ask("/api/stats").status == 200, 10, "statistics")
    lock.close()
    pages.close()


def test_a_crowd_that_asks_for_what_takes_too_long_does_not_queue_for_it(make_stack):
    """Behind nginx, which lets one through at a time for what it cannot cache."""
    stack = make_stack(serve={"SLUICED_SERVE_QUERY_TIMEOUT_MS": "1000"})
    stack.allow("postgres did not answer a query")
    stack.start()
    lock = stack.postgres.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
    answers, began = [], time.monotonic()

    def client():
        answers.append(stack.api(timeout=30).get("/api/logs/pump-7"))

    threads = [threading.Thread(target=client) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lock.close()
    assert {(answer.status, answer.json["code"]) for answer in answers} == {(503, "query_timeout")}
    assert len(answers) == 40 and time.monotonic() - began < 20
    assert figure(stack, 'sluice_db_queries_total{end="timeout"}') < 10


def test_without_postgres_queries_are_refused_and_then_not(make_stack):
    stack = start(make_stack)
    stack.allow("postgres did not answer a query")
    pages = Pages(stack.server)
    assert pages.page()["total"] == 0
    stack.postgres.stop()
    for path in ("/api/logs", "/api/stats", "/api/hits"):
        answer = pages.ask(path)
        assert (answer.status, answer.json["code"]) == (503, "database_unavailable")
        assert answer.headers["Retry-After"]
    stack.postgres.start()
    wait_until(lambda: pages.ask("/api/logs").status == 200, 10, "it is there again")
    pages.close()


def test_a_search_says_that_it_stopped_early_and_goes_on(make_stack):
    """Messages that take long to look through, all in a minute, and two seconds for each query."""
    stack = start(make_stack, SLUICED_SERVE_QUERY_TIMEOUT_MS="2000")
    store(stack.postgres, [Log(1, ago(7200), message="needle")])
    store_haystack(stack.postgres, 30000)
    pages = Pages(stack.server)

    def ask(**parameters):
        """Two seconds may be short for a page of one."""
        return wait_until(lambda: (found := pages.ask("/api/logs", q="NEEDLE", **parameters)).status
                          == 200 and found, 10, "a page")

    answer = ask()
    assert answer.json["stopped_early"] is True
    assert answer.json["data"] == [] and answer.json["next_cursor"]
    assert answer.headers["Cache-Control"].startswith("max-age=1,")
    page, rounds = answer.json, 0
    while not page["data"]:
        page = ask(cursor=page["next_cursor"]).json
        rounds += 1
    assert [log["id"] for log in page["data"]] == [1] and rounds < 100
    assert "stopped_early" not in page and page["next_cursor"] is None
    pages.close()


def test_many_clients_get_each_its_own_answer(make_stack):
    stack = start(make_stack)
    store(stack.postgres, [Log(n, ago(60), f"device-{n % 20}") for n in range(1, 401)])
    failures = []

    def client(number):
        pages = Pages(stack.server)
        for turn in range(30):
            device = f"device-{(number + turn) % 20}"
            page = pages.page(device_id=device, limit=5)
            if {log["device_id"] for log in page["data"]} != {device}:
                failures.append((device, page))
        pages.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
