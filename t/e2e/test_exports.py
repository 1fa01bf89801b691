"""Files of all logs that a query asks for: the same as its pages, and whole or visibly not."""

import csv
import gzip
import http.client
import io
import json
import random
import signal
import threading
import time

import pytest

from harness.stored import Log, Pages, make_last_minutes, rfc3339, store, store_haystack
from harness.waiting import wait_until
from test_daemon_metrics import read_socket
from test_daemon_stops import SOON_S, STOP_S
from test_pages import expected, some_logs, some_question
from test_query_faults import asking, start
from test_settled import ago

COLUMNS = ["id", "created_at", "device_id", "log_level", "message", "log_data", "event_time"]
LARGE = 60000


def ended(stack, how):
    return read_socket(stack.folder / "serve.sock")[f'sluice_server_exports_total{{end="{how}"}}']


def running(stack):
    return read_socket(stack.folder / "serve.sock")["sluice_server_running_exports"]


@pytest.fixture(scope="module")
def logs():
    return some_logs(3000, 10, 17)


@pytest.fixture
def reading(make_stack, logs):
    stack = make_stack()
    stack.start()
    stack.wait_partitions()
    store(stack.postgres, logs)
    stack.pages = Pages(stack.server)
    wait_until(lambda: stack.pages.page(order="asc", limit=1)["data"], 10, "the horizon is known")
    yield stack
    stack.pages.close()


@pytest.fixture
def large(make_stack):
    return make_large(make_stack)


def make_large(make_stack, **serve):
    """More than all buffers on the way hold."""
    stack = start(make_stack, **serve)
    connection = stack.postgres.connect()
    make_last_minutes(connection.cursor())
    connection.cursor().execute(
        "INSERT INTO logs (id, created_at, device_id, log_level, message, log_data)"
        " SELECT g, now() - g * interval '1 ms', 'd', 'INFO', repeat('hay stack ', 100), '{}'"
        f" FROM generate_series(1, {LARGE}) AS g;"
        "INSERT INTO counters SELECT date_trunc('minute', created_at), log_level, 'more', count(*)"
        " FROM logs GROUP BY 1, 2")
    connection.close()
    return stack


def ask(stack, target):
    """The connection, and the answer with its body to be read."""
    connection = stack.server.connection()
    connection.timeout = 60
    connection.request("GET", target)
    return connection, connection.getresponse()


def rows_of(answer):
    kind = answer.headers["Content-Type"].partition(";")[0]
    text = answer.body.decode()
    if kind == "application/json":
        return json.loads(text)
    if kind == "application/x-ndjson":
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]
    assert kind == "text/csv"
    table = list(csv.DictReader(io.StringIO(text, newline="")))
    for row in table:
        assert list(row) == COLUMNS
        row["id"] = int(row["id"])
        row["log_data"] = json.loads(row["log_data"])
        if not row["event_time"]:
            del row["event_time"]
    return table


def test_files_have_what_the_pages_have(reading, logs):
    dice = random.Random(5)
    formats = [("json", "logs.json"), ("ndjson", "logs.ndjson"), ("csv", "logs.csv")]
    for turn in range(45):
        wanted = some_question(dice, logs)
        name, file = formats[turn % 3]
        whole = expected(logs, wanted)
        limit = {} if turn % 2 else {"limit": dice.choice((1, 99, 100, 1500))}
        answer = reading.pages.ask("/api/logs", format=name, **wanted, **limit)
        assert answer.status == 200
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{file}"'
        assert answer.headers["Cache-Control"] == "no-store"
        rows = rows_of(answer)
        assert [row["id"] for row in rows] == whole[:limit.get("limit")], wanted
    page = reading.pages.page(limit=1000)
    for name, _ in formats:
        rows = rows_of(reading.pages.ask("/api/logs", format=name, limit=1000))
        assert rows == page["data"]
    rest = reading.pages.ask("/api/logs", format="ndjson", cursor=page["next_cursor"])
    assert [row["id"] for row in rows_of(rest)] == expected(logs, {})[1000:]


def test_a_file_is_chosen_by_accept_and_never_by_the_cache(reading):
    api = reading.api()
    target = "/api/logs?device_id=pump-7&limit=5"
    kinds = {"text/csv": "text/csv", "application/x-ndjson": "application/x-ndjson",
             "application/json": "application/json", "*/*": "application/json",
             "text/csv;q=0.5, application/json": "application/json"}
    for _ in range(2):
        for accept, kind in kinds.items():
            answer = api.get(target, Accept=accept)
            assert answer.headers["Content-Type"].partition(";")[0] == kind, accept
            assert "Accept" in answer.headers.get_all("Vary"), "or a cache on the way mixes them up"
            if kind != "application/json":
                assert len(rows_of(answer)) == 5
                assert answer.headers["X-Cache-Status"] == "MISS"
    assert api.get(target, Accept="text/csv").body == api.get(target + "&format=csv").body
    assert api.get("/api/stats", Accept="text/csv").json["total_logs"] == 3000
    whole = api.get("/api/logs?device_id=pump-7&format=ndjson")
    packed = api.get("/api/logs?device_id=pump-7&format=ndjson", **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == whole.body
    assert len(packed.body) < len(whole.body) / 4


def test_spreadsheets_take_nothing_for_a_formula(make_stack):
    stack = start(make_stack)
    messages = ["=1+1", "+1", "-1", "@a", "\tx", "\rx", 'a "b", c', "two\r\nlines", "'quoted",
                "=a,\"b\"\n", "1-2", "", "\n=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201",
                "\uff1c"]
    devices = ["=dev", "-", "plain"]
    logs = [Log(n, ago(600 - n), devices[n % 3], message=message)
            for n, message in enumerate(messages)]
    store(stack.postgres, logs)
    pages = Pages(stack.server)
    answer = pages.ask("/api/logs", format="csv", order="desc")
    pages.close()
    text = answer.body.decode()
    assert text.startswith(",".join(COLUMNS) + "\r\n") and text.endswith("\r\n")
    table = {row["id"]: row for row in rows_of(answer)}

    def tamed(value):
        return "'" + value if value[:1] in tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20") else value

    for n, message in enumerate(messages):
        assert table[n]["message"] == tamed(message)
        assert table[n]["device_id"] == tamed(devices[n % 3])
        assert table[n]["created_at"] == rfc3339(logs[n].created_at)


def test_what_cannot_be_begun_is_an_error(make_stack):
    stack = start(make_stack)
    store(stack.postgres, [Log(1, ago(60))])
    pages = Pages(stack.server)
    bad = pages.ask("/api/logs?format=csv&contains=%7B%22a%22:%22%5Cu0000%22%7D")
    assert (bad.status, bad.json["parameter"]) == (400, "contains")
    assert pages.ask("/api/logs?format=xml").json["parameter"] == "format"
    empty = {name: pages.ask("/api/logs/nobody", format=name).body
             for name in ("json", "ndjson", "csv")}
    assert json.loads(empty["json"]) == [] and empty["ndjson"] == b""
    assert empty["csv"].decode() == ",".join(COLUMNS) + "\r\n"
    head = pages.ask("/api/logs?format=csv", "HEAD")
    assert (head.status, head.body) == (200, b"")
    wait_until(lambda: running(stack) == 0, 5, "nothing runs")
    stack.postgres.stop()
    answer = pages.ask("/api/logs", format="csv")
    assert (answer.status, answer.json["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"]
    pages.close()


def test_more_exports_than_may_run_are_refused_and_who_leaves_makes_room(large):
    first, _ = ask(large, "/api/logs?format=ndjson")
    second, _ = ask(large, "/api/logs?format=csv")
    connection, refused = ask(large, "/api/logs?format=json")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    assert json.loads(refused.read())["code"] == "too_many_exports"
    connection.close()
    # Pages are not held up by it.
    pages = Pages(large.server)
    assert pages.page()["total"] == 100
    pages.close()
    first.close()
    wait_until(lambda: ended(large, "client_gone") == 1, 15, "it is noticed")
    wait_until(lambda: running(large) == 1, 5, "there is room")
    third, answer = ask(large, "/api/logs?format=ndjson")
    assert len(answer.read().splitlines()) == LARGE
    for connection in (second, third):
        connection.close()
    wait_until(lambda: running(large) == 0, 15, "all are over")
    assert ended(large, "done") == 1 and ended(large, "refused") == 1
    wait_until(lambda: asking(large, "active") == 0, 5, "Postgres works for nobody")


def test_a_client_that_leaves_during_a_query_is_not_worked_for(make_stack):
    stack = start(make_stack)
    lock = stack.postgres.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
    connection = stack.server.connection()
    connection.request("GET", "/api/logs?format=csv")
    wait_until(lambda: asking(stack) == 1, 10, "the query runs")
    connection.close()
    wait_until(lambda: asking(stack) == 0, 4, "it is given up")
    wait_until(lambda: ended(stack, "client_gone") == 1, 5, "and counted")
    lock.close()


def test_what_cannot_be_finished_is_cut_off(large):
    """Nobody takes half a file for the whole."""
    connection, answer = ask(large, "/api/logs?format=ndjson")
    answer.read(100000)
    large.allow(r"postgres did not answer an export")
    large.postgres.kill()
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()
    wait_until(lambda: ended(large, "failed") == 1, 10, "it is counted")


def test_a_server_that_leaves_cuts_off_who_does_not_come_to_an_end(large):
    fast = ask(large, "/api/logs?format=ndjson&limit=3000")
    slow = ask(large, "/api/logs?format=ndjson")
    large.server.signal(signal.SIGTERM)
    assert len(fast[1].read().splitlines()) == 3000, "there is time for what is nearly done"
    assert large.server.process.wait(STOP_S + SOON_S) == 0
    with pytest.raises(http.client.IncompleteRead):
        slow[1].read()
    for connection, _ in (fast, slow):
        connection.close()


def test_forwards_a_file_ends_where_all_is_settled(reading):
    store(reading.postgres, [Log(10**6, ago(0), "just now")])
    rows = rows_of(reading.pages.ask("/api/logs", format="json", order="asc"))
    assert len(rows) == 3000 and rows[-1]["device_id"] != "just now"
    assert len(rows_of(reading.pages.ask("/api/logs", format="json"))) == 3001


def test_a_search_that_finds_nothing_for_long_still_ends(make_stack):
    """Each query stops early; the file goes on, and the client is told that there is somebody."""
    stack = start(make_stack, SLUICED_SERVE_QUERY_TIMEOUT_MS="1000")
    store(stack.postgres, [Log(1, ago(7200), message="needle"),
                           Log(LARGE, ago(0), message="straw")])
    store_haystack(stack.postgres, 40000)
    pages = Pages(stack.server)
    assert pages.page(q="NEEDLE")["stopped_early"]
    for name in ("json", "ndjson", "csv"):
        answer = pages.ask("/api/logs", q="NEEDLE", format=name)
        assert b" " in answer.body.partition(b"needle")[0].replace(b"created_at,", b"")
        assert [row["id"] for row in rows_of(answer)] == [1]
        # What is searched for long behind the last row leaves no line of spaces at the end.
        answer = pages.ask("/api/logs", q="straw", format=name)
        assert answer.body.removeprefix((",".join(COLUMNS) + "\r\n").encode()).startswith(b" ")
        assert [row["id"] for row in rows_of(answer)] == [LARGE]
    pages.close()


def test_a_part_that_takes_too_long_is_asked_for_twice(make_stack):
    """Then it is given up: what has begun is cut off, what has not gets an error."""
    stack = make_large(make_stack, SLUICED_SERVE_QUERY_TIMEOUT_MS="2000")
    stack.allow("postgres did not answer an export")
    connection, answer = ask(stack, "/api/logs?format=ndjson")
    lock = stack.postgres.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
    pages = Pages(stack.server)
    began = time.monotonic()
    refused = pages.ask("/api/logs", format="csv")
    assert (refused.status, refused.json["code"]) == (503, "query_timeout")
    assert time.monotonic() - began > 2 * 2
    assert refused.headers["Retry-After"]
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    wait_until(lambda: ended(stack, "failed") == 2, 10, "both are counted")
    pages.close()
    connection.close()
    lock.close()


def test_many_exports_and_pages_at_once(large):
    """Each its own, whoever is slow."""
    failures = []

    def export(number):
        limit = 1000 * (number + 1)
        for _ in range(3):
            connection, answer = ask(large, f"/api/logs?format=ndjson&limit={limit}")
            body = answer.read()
            if answer.status == 200 and len(body.splitlines()) != limit:
                failures.append((number, len(body)))
            connection.close()

    threads = [threading.Thread(target=export, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
