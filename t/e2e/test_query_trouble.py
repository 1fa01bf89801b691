"""Crowds, slow and leaving clients, and a server that is late, fails or is gone."""

import http.client
import itertools
import json
import socket
import threading
import time

import pytest
from harness.api import Api
from harness.process import names_of_open_files
from harness.scripted_server import answer, page, problem
from harness.waiting import wait_until

GONE = r"connect\(\) to unix:.*serve\.sock failed|sluiced.*prematurely|upstream timed out"


def numbered(server, cache_control, delay=0, status="200 OK"):
    numbers = itertools.count(1)

    def on_request(asked):
        body = json.dumps({"source": "database", "number": next(numbers)}, separators=(",", ":"))
        return [delay, answer(body, status, Cache_Control=cache_control)]

    server.on_request = on_request


def crowd(stack, target, clients=100):
    """All ask at once, each on a connection of its own: the answers, and seconds until the last."""
    ready, answers = threading.Barrier(clients + 1), []

    def ask():
        api = Api(stack.nginx.port)
        ready.wait()
        answers.append(api.get(target))
        api.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    begin = time.monotonic()
    for thread in threads:
        thread.join()
    return answers, time.monotonic() - begin


def test_a_crowd_costs_one_query(make_reading):
    stack = make_reading(workers=2)
    numbered(stack.scripted_server, "max-age=60", delay=1)
    answers, _ = crowd(stack, "/api/stats")
    assert len(stack.scripted_server.asked) == 1
    assert {a.json["number"] for a in answers} == {1}
    sources = sorted((a.headers["X-Cache-Status"], a.json["source"]) for a in answers)
    assert sources == [("HIT", "cache")] * 99 + [("MISS", "database")]


def test_a_crowd_while_a_page_is_renewed(make_reading):
    """Nobody waits for the new page."""
    stack = make_reading(workers=2)
    server = stack.scripted_server
    numbered(server, "max-age=1, stale-while-revalidate=60")
    stack.api().get("/api/stats")
    time.sleep(2.1)
    renew, before = threading.Event(), len(server.asked)
    server.on_request = lambda asked: renew.wait(60) and page("new")
    answers, _ = crowd(stack, "/api/stats")
    assert not renew.is_set() and len(server.asked) == before + 1
    assert {(a.json["number"], a.json["source"]) for a in answers} == {(1, "cache")}
    assert {a.headers["X-Cache-Status"] for a in answers} == {"STALE", "UPDATING"}
    renew.set()
    wait_until(lambda: stack.api().get("/api/stats").headers["X-Cache-Status"] == "HIT", 5)


def test_after_its_time_a_page_is_not_given_out(make_reading):
    """However late the server is."""
    stack = make_reading()
    server, api = stack.scripted_server, stack.api()
    numbered(server, "max-age=1, stale-while-revalidate=1")
    assert api.get("/api/stats").json["number"] == 1
    time.sleep(3.1)
    numbered(server, "max-age=60", delay=1)
    again = api.get("/api/stats")
    assert (again.headers["X-Cache-Status"], again.json["source"]) == ("EXPIRED", "database")
    assert api.get("/api/stats").headers["X-Cache-Status"] == "HIT"


@pytest.mark.parametrize("status, cache_control", [
    ("400 Bad Request", "no-store"), ("404 Not Found", "no-store"), ("500 Oh", "no-store"),
    ("503 Busy", "no-store"), ("200 OK", "no-store"), ("200 OK", "no-cache"), ("200 OK", "private"),
    ("200 OK", "max-age=0"), ("404 Not Found", "public"),
])
def test_what_is_not_to_be_cached(make_reading, status, cache_control):
    stack = make_reading()
    server, api = stack.scripted_server, stack.api()
    numbered(server, cache_control, status=status)
    for number in range(1, 4):
        answered = api.get("/api/stats")
        assert answered.status == int(status.split()[0])
        assert (answered.json["number"], answered.headers["X-Cache-Status"]) == (number, "MISS")
    assert not [path for path in (stack.folder / "cache").rglob("*") if path.is_file()]


def test_a_page_without_a_word_on_caching_is_not_cached(make_reading):
    stack = make_reading()
    stack.scripted_server.on_request = lambda asked: answer('{"source":"database","data":[]}')
    api = stack.api()
    assert [api.get("/api/stats").headers["X-Cache-Status"] for _ in range(3)] == ["MISS"] * 3


@pytest.mark.parametrize("broken", [
    lambda asked: None,
    lambda asked: [16.0],
    lambda asked: problem(),
    lambda asked: problem("500 Oh"),
    lambda asked: problem("504 Oh"),
    lambda asked: b"HTTP/1.1 200 OK\r\nContent-Le",
])
def test_an_old_page_when_the_server_cannot_answer(make_reading, broken):
    stack = make_reading(("proxy_read_timeout 15s;", "proxy_read_timeout 1s;"))
    stack.allow(GONE)
    server, api = stack.scripted_server, stack.api()
    numbered(server, "max-age=1")
    # A second may be short.
    first = wait_until(lambda: (a := api.get("/api/stats")).status == 200 and a, 5, "a page")
    time.sleep(2.1)
    server.on_request = broken
    for _ in range(3):
        stale = api.get("/api/stats")
        assert (stale.status, stale.json) == (200, {**first.json, "source": "cache"})
        assert stale.headers["X-Cache-Status"] in ("STALE", "UPDATING")
    # a query that was never answered: the trouble is told
    other = api.get("/api/hits")
    assert other.status in (500, 503, 504)
    assert other.headers["Content-Type"] == "application/problem+json"


def test_a_server_that_is_gone(make_reading):
    stack = make_reading()
    stack.allow(GONE)
    server, api = stack.scripted_server, stack.api()
    server.stop()
    for method in ("GET", "GET", "HEAD"):
        answered = api.request(method, "/api/stats")
        assert answered.status == 503
        assert answered.headers["Content-Type"] == "application/problem+json"
        assert answered.headers["Retry-After"] == "2"
        # For a second it is known that there is none.
        assert answered.headers["X-Cache-Status"] in ("MISS", "HIT", "EXPIRED", "STALE")
    assert api.get("/api/stats").json["code"] == "server_unavailable"
    numbered(server, "max-age=60")
    server.start()
    wait_until(lambda: api.get("/api/stats").status == 200, 4, "it is asked again")
    assert api.get("/api/stats").json["source"] == "cache"


@pytest.mark.alone
def test_a_crowd_that_the_server_cannot_answer(make_reading):
    """They need not find out one after another."""
    stack = make_reading(workers=2)
    stack.allow(GONE)
    server = stack.scripted_server
    server.on_request = lambda asked: time.sleep(0.5)
    answers, took = crowd(stack, "/api/hits", clients=30)
    assert {a.status for a in answers} == {503}
    assert took < 10
    assert len(server.asked) < 8


def test_a_client_that_leaves(make_reading):
    """Those who wait for the same page get it."""
    stack = make_reading()
    server = stack.scripted_server
    numbered(server, "max-age=60", delay=1)
    leaver = stack.api().raw(b"GET /api/stats HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.asked, 5, "its query is with the server")
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(stack.api().get("/api/stats")))
    waiter.start()
    time.sleep(0.2)
    leaver.close()
    waiter.join()
    assert answers[0].status == 200
    assert answers[0].json["number"] <= 2


def test_clients_that_leave_in_the_middle_of_a_page(make_reading):
    """A cached one: nothing of it stays behind."""
    stack = make_reading(workers=2)
    text = "x" * 2000000
    stack.scripted_server.on_request = lambda asked: page(text)
    whole = stack.api().get("/api/stats").body
    for number in range(100):
        connection = stack.api().raw(b"GET /api/stats HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(100 * number + 1)
        if number % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    again = stack.api().get("/api/stats")
    assert (len(again.body), again.headers["X-Cache-Status"]) == (len(whole), "HIT")
    cache = str(stack.folder / "cache")

    def open_pages():
        return [name for pid in stack.nginx.worker_pids() for name in names_of_open_files(pid)
                if name.startswith(cache)]

    wait_until(lambda: len(open_pages()) <= 2, 5, "each worker has it open once")


@pytest.mark.parametrize("edit", ["", "sendfile on;"])
def test_a_client_that_reads_slowly(make_reading, edit):
    """A page that is sent in many pieces says once where it comes from."""
    stack = make_reading(("proxy_cache pages;", "proxy_cache pages;" + edit))
    text = "".join(f"{number:08}" for number in range(400000))
    stack.scripted_server.on_request = lambda asked: page(text)
    expected = stack.api().get("/api/stats").json
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", stack.nginx.port))
    connection.sendall(b"GET /api/stats HTTP/1.1\r\nHost: x\r\n\r\n")
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = b""
    while piece := response.read(30000):
        body += piece
        time.sleep(0.002)
    connection.close()
    assert len(body) == int(response.headers["Content-Length"])
    assert json.loads(body) == {**expected, "source": "cache"}


def source_of(answered):
    fresh = answered.headers["X-Cache-Status"] in ("MISS", "EXPIRED")
    return "database" if fresh else "cache"


def test_reloads_under_load(make_reading):
    """No answer is lost, and none is another's."""
    stack = make_reading(workers=2)
    stack.scripted_server.on_request = lambda asked: page(
        asked.target, "max-age=1, stale-while-revalidate=2")
    done, wrong, answers = threading.Event(), [], []

    def load(seed):
        for number in itertools.count(seed):
            if done.is_set():
                return
            target = f"/api/logs?limit={number % 7 + 1}"
            api = Api(stack.nginx.port)
            try:
                answered = api.get(target)
                if answered.status != 200 or answered.json["data"] != [target] or (
                        answered.json["source"] != source_of(answered)):
                    wrong.append(answered)
            except (OSError, http.client.HTTPException) as error:
                wrong.append(error)
            finally:
                api.close()
            answers.append(number)

    threads = [threading.Thread(target=load, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        stack.nginx.reload()
        time.sleep(0.3)
    wait_until(lambda: len(answers) > 200, 20, "there was load")
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:5]


def test_a_renewed_page_is_the_new_one_in_every_worker(make_reading):
    """Each worker has the file of the old one open."""
    stack = make_reading(workers=2)
    numbered(stack.scripted_server, "max-age=1")
    newest = 0

    def ask():
        nonlocal newest
        numbers = [Api(stack.nginx.port).get("/api/stats").json["number"] for _ in range(8)]
        # Two that renew it at once may end in the other order; an old file would fall behind.
        assert min(numbers) >= newest - 1, (newest, numbers)
        newest = max(newest, *numbers)
        return newest > 4

    wait_until(ask, 15, "it is renewed some times")
