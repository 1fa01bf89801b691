"""The cache never gives one query's page, or one reader's, to another; and knows a query again,
however it is written."""

import base64
import itertools
import json
import random
import string

import pytest
from harness.scripted_server import answer, problem
from harness.waiting import wait_until


def number_pages(server):
    """Each answer is another page, which says how it was asked for."""
    numbers = itertools.count(1)

    def on_request(asked):
        body = {"source": "database", "number": next(numbers), "asked": asked}
        return answer(json.dumps(body, separators=(",", ":")), Cache_Control="max-age=600")

    server.on_request = on_request


def same(*targets):
    return targets


SPELLINGS = [
    same("/api/logs", "http://other/api/logs", "/api/logs?", "/api/logs?limit=100",
         "/api/logs?&limit=100&&offset=0", "/api/logs?order=desc", "/api/logs?min_level=DEBUG",
         "/api/logs?l%69mit=1%300",
         "/api/logs?level=debug,INFO,warning,Error,CRITICAL"),
    same("/api/logs?device_id=pump-7&limit=5", "/api/logs/pump-7?limit=5",
         "/api/logs/pump%2D7?limit=005", "/api/logs?limit=5&device_id=%70ump-7",
         "/api/logs/%70%75%6D%70%2d%37?&limit=5&"),
    same("/api/logs?device_id=a%2Fb%20c%3F%26%C3%A4", "/api/logs/a%2fb%20c%3f%26ä",
         "/api/logs?device_id=a/b+c?%26%c3%a4"),
    same("/api/logs?device_id=..", "/api/logs?device_id=%2e%2E"),
    same("/api/logs?device_id=batch", "/api/logs?device_id=%62atch"),
    same("/api/logs?device_id=stats", "/api/logs/stats"),
    same("/api/logs?level=ERROR,CRITICAL", "/api/logs?min_level=error",
         "/api/logs?level=Critical,error,ERROR",
         "/api/logs?min_level=ERROR&level=info,error%2Ccritical"),
    same("/api/logs?from=2024-11-14T10:30:00.000000Z", "/api/logs?from=2024-11-14T11:30:00%2B01:00",
         "/api/logs?from=1731580200", "/api/logs?from=1731580200000"),
    same("/api/logs?from=-1h", "/api/logs?from=-60m", "/api/logs?from=-3600s"),
    same("/api/logs?q=it%20broke", "/api/logs?q=it+broke"),
    same("/api/logs?q=It%20broke"),
    same("/api/logs?q=it%2520broke"),
    same("/api/logs?q=%22source%22%3A%22database%22", '/api/logs?q="source":"database"'),
    same("/api/stats", "/api/stats?", "/api/stats?&"),
    same("/api/hits", "/api/hits?min_level=debug"),
]


def ask(api, target):
    """Bytes as they are; a client library would encode or refuse some of them."""
    connection = api.raw(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                         % target.encode())
    with connection, connection.makefile("rb") as file:
        head, _, body = file.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


def test_a_query_is_one_page_however_it_is_written(make_reading):
    stack = make_reading()
    server, api = stack.scripted_server, stack.api()
    number_pages(server)
    seen = set()
    for spellings in SPELLINGS:
        before = len(server.asked)
        bodies = set()
        for target in spellings:
            status, head, body = ask(api, target)
            assert status == 200, (target, body)
            page = json.loads(body)
            assert page["source"] == ("database" if target == spellings[0] else "cache"), target
            bodies.add((page["number"], page["asked"][1]))
        assert len(server.asked) == before + 1, (spellings, server.targets[before:])
        assert len(bodies) == 1
        assert server.targets[-1] not in seen, "another query has this page, too"
        seen.add(server.targets[-1])


BAD = [
    "/api/logs?limit=0", "/api/logs?limit=1001", "/api/logs?limit=5&limit=5",
    "/api/logs?limit=5;limit=6", "/api/logs?LIMIT=5", "/api/logs?limit=%205",
    "/api/logs?limit=5%00", "/api/logs?nonsense=1", "/api/logs?device_id=%FF",
    "/api/logs?device_id=\x80", "/api/logs?device_id=a&device_id=b", "/api/logs/a?device_id=a",
    "/api/logs/", "/api/logs/a/b", "/api/logs//a", "/api//logs", "/api/./logs", "/api/x/../logs",
    "/api/%6cogs", "/api/logs%3Flimit=5", "/api/LOGS", "/api/logs#frag", "/api/logs?limit=5#frag",
    "/api/stats/", "/api/stats?limit=5", "/api/hits/x", "/api/nothing", "/api/", "/api/logs?q=%",
    "/api/logs?cursor=x", "/api/x/..%2fstats", "/api/logs/stream/../stats",
]


def test_what_is_no_query_is_passed_on_as_it_is_and_never_cached(make_reading):
    stack = make_reading()
    server, api = stack.scripted_server, stack.api()
    server.on_request = lambda asked: problem("400 Bad Request")
    for target in BAD:
        for _ in range(2):
            before = len(server.asked)
            status, head, body = ask(api, target)
            assert status == 400, (target, head)
            assert b"X-Cache-Status: MISS" in head
            assert len(server.asked) == before + 1
            assert server.targets[-1] == target.encode().decode("latin-1")


def test_nothing_that_is_no_query_has_the_page_of_one(make_reading):
    """Even if the server said that everything may be cached: another target, another page."""
    stack = make_reading()
    server, api = stack.scripted_server, stack.api()
    number_pages(server)
    owners = {}
    for target in BAD + [target for spellings in SPELLINGS for target in spellings]:
        for _ in range(2):
            status, head, body = ask(api, target)
            assert status == 200
            page = json.loads(body)
            assert owners.setdefault(page["number"], page["asked"][1]) == page["asked"][1]
    assert len(set(owners.values())) == len(owners)
    assert len(server.asked) == len({*server.targets}) == len(BAD) + len(SPELLINGS)


def random_target(rng):
    values = {
        "limit": ["1", "2", "100", "01", "0", "1000", "1001", "x"],
        "offset": ["0", "1", "00", "9"],
        "level": ["info", "INFO", "info,error", "error,info", "loud", ""],
        "min_level": ["info", "error"],
        "order": ["asc", "desc", "ASC"],
        "device_id": ["a", "%61", "A", "a%00", "a/b", "a%2fb", "a+b", "a%20b"],
        "q": ["x", "X", "%78", "x%26limit=5", "x+y", "x%2By", "a" * 200, "%C3%A4", "\u00e4"],
        "from": ["-1h", "-60m", "0", "2024-01-01", "2024-01-01T00:00:00Z"],
        "odd": ["1"],
    }
    names = rng.sample(sorted(values), rng.randrange(0, 4))
    if rng.random() < 0.1 and names:
        names.append(names[0])
    pairs = "&".join(f"{name}={rng.choice(values[name])}" for name in names)
    path = rng.choice(["/api/logs", "/api/logs", "/api/logs/a", "/api/logs/%61", "/api/hits",
                       "/api/stats"])
    tail = rng.choice(["", "", "", "&", "&&", "?", "#x", "%", "&" + rng.choice(string.punctuation)])
    return path + ("?" + pairs + tail if pairs or rng.random() < 0.3 else "")


def test_a_page_is_what_was_asked_for(make_reading):
    """Whatever the target: it gives the page that the server made for what it was passed on as, and
    a target that is passed on as something else has another page."""
    stack = make_reading()
    server, api = stack.scripted_server, stack.api()
    number_pages(server)
    rng = random.Random(8)
    passed_on = {}
    for _ in range(1500):
        target = random_target(rng)
        before = len(server.asked)
        status, head, body = ask(api, target)
        assert status == 200, (target, head)
        page = json.loads(body)
        asked = page["asked"][1]
        was_cached = len(server.asked) == before
        assert page["source"] == ("cache" if was_cached else "database")
        assert passed_on.setdefault(target, asked) == asked
        assert was_cached or server.targets[-1] == asked
    assert len(server.targets) == len({*server.targets}), "each was asked for once"
    assert len(server.targets) == len({*passed_on.values()}) < len(passed_on)


UNKEYED = {
    "Host": "evil.example", "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "evil", "X-Forwarded-Prefix": "/evil", "X-Original-URL": "/api/evil",
    "X-Rewrite-URL": "/api/evil", "X-HTTP-Method-Override": "POST", "Forwarded": "host=evil",
    "Accept": "text/evil", "Accept-Language": "evil", "Accept-Encoding": "gzip, evil",
    "Accept-Charset": "evil", "Cookie": "session=evil", "User-Agent": "evil",
    "Referer": "http://evil", "Origin": "http://evil", "Range": "bytes=0-3", "If-Range": '"evil"',
    "If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT", "If-None-Match": '"evil"',
    "Cache-Control": "no-cache, max-age=0", "Pragma": "no-cache", "Connection": "X-Evil, close",
    "X-Evil": "1", "Upgrade": "h2c", "TE": "trailers", "Expect": "100-continue",
    "X-Accel-Redirect": "/evil", "Content-Type": "application/evil",
}


def test_what_is_not_in_the_key_does_not_reach_the_server(make_reading):
    stack = make_reading()
    server = stack.scripted_server
    number_pages(server)
    for number, (name, value) in enumerate(UNKEYED.items()):
        api = stack.api()
        target = f"/api/logs?limit={number + 1}"
        poisoned = api.request("GET", target, headers={name: value})
        assert poisoned.status == 200, (name, poisoned)
        clean = stack.api().get(target)
        assert clean.json == {**poisoned.json, "source": "cache"}, name
        assert "evil" not in clean.body.decode()
        assert server.asked[-1] == ("GET", target, {"host": "sluiced"}, "")
        assert len(server.asked) == number + 1
        api.close()


def test_a_body_does_not_reach_the_server(make_reading):
    stack = make_reading()
    server = stack.scripted_server
    number_pages(server)
    for number, (body, headers) in enumerate([
            (b"limit=9", {}),
            (b"x" * 1000, {"Content-Type": "application/x-www-form-urlencoded"}),
            (b"7\r\nlimit=9\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"})]):
        target = f"/api/logs?limit={number + 1}"
        api = stack.api()
        first = api.request("GET", target, body, headers)
        assert first.json["asked"] == ["GET", target, {"host": "sluiced"}, ""]
        assert stack.api().get(target).json == {**first.json, "source": "cache"}
    refused = stack.api().request("GET", "/api/stats", b"x" * 1025)
    assert (refused.status, refused.json["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "TRACE",
                                    "PROPFIND"])
def test_other_methods(make_reading, method):
    stack = make_reading()
    api = stack.api()
    for target in ("/api/logs", "/api/logs/pump-7", "/api/stats?x=1", "/api/hits"):
        answered = api.request(method, target, headers={"Content-Length": "0"})
        assert answered.status == 405
        if method != "TRACE":  # nginx's own
            assert answered.headers["Allow"] == "GET, HEAD"
            assert answered.headers["Content-Type"] == "application/problem+json"
            assert answered.json["code"] == "method_not_allowed"
    assert not stack.scripted_server.asked


def basic(name, password="secret"):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def numbers_of(stack, readers, targets, rounds):
    """The numbers of the pages that each reader saw, asking in turns."""
    seen = {name: set() for name in readers}
    api = stack.api()
    for number in range(rounds):
        for name, headers in readers.items():
            answered = api.get(targets[number % len(targets)], **headers)
            assert answered.status == 200, answered
            seen[name].add(answered.json["number"])
    return seen


TARGETS = ["/api/logs", "/api/logs?limit=5", "/api/logs/pump-7", "/api/stats", "/api/hits"]


def test_two_readers_by_password(make_reading):
    stack = make_reading(('            #auth_basic "logs";', '            auth_basic "logs";'),
                         ("            #auth_basic_user_file /etc/sluice/readers;",
                          "            auth_basic_user_file readers;"))
    server = stack.scripted_server
    number_pages(server)
    names = ["alice", "bob", "alice /api/logs", "a"]
    (stack.folder / "app" / "conf" / "readers").write_text(
        "".join(f"{name}:{{PLAIN}}secret\n" for name in names))
    seen = numbers_of(stack, {name: basic(name) for name in names}, TARGETS, 200)
    for one, other in itertools.combinations(names, 2):
        assert not seen[one] & seen[other]
    assert {len(numbers) for numbers in seen.values()} == {len(TARGETS)}
    assert len(server.asked) == len(names) * len(TARGETS)
    assert all(asked.headers == {"host": "sluiced"} for asked in server.asked)
    for headers in ({}, basic("alice", "wrong"), basic("nobody"), {"Cookie": "alice"},
                    {"Authorization": "Bearer x"}):
        for target in TARGETS:
            refused = stack.api().get(target, **headers)
            assert refused.status == 401
            assert b"number" not in refused.body


def test_two_readers_by_another_service(make_reading):
    stack = make_reading(
        ("            #auth_request /auth;", "            auth_request /auth;"),
        ("        #location = /auth { internal; proxy_pass http://127.0.0.1:18730;",
         "        location = /auth { internal; proxy_pass http://sluiced;"),
        ('        #proxy_set_header Content-Length', '        proxy_set_header Content-Length'))
    server = stack.scripted_server
    number_pages(server)
    pages = server.on_request

    def on_request(asked):
        if asked.target != "/auth":
            return pages(asked)
        key = asked.headers.get("x-key", "")
        if key not in ("1", "2"):
            return answer("", "401 Unauthorized" if not key else "403 Forbidden")
        return answer("", "204 No Content", X_User=f"reader-{key}")

    server.on_request = on_request
    readers = {key: {"X-Key": key} for key in "12"}
    seen = numbers_of(stack, readers, TARGETS, 100)
    assert not seen["1"] & seen["2"]
    assert {len(numbers) for numbers in seen.values()} == {len(TARGETS)}
    spoofed = stack.api().get("/api/stats", **{"X-Key": "1", "X-User": "reader-2"})
    assert spoofed.json["number"] in seen["1"]
    for headers, status in (({}, 401), ({"X-Key": "3"}, 403)):
        for target in TARGETS:
            refused = stack.api().get(target, **headers)
            assert (refused.status, b"number" in refused.body) == (status, False)


def test_head_and_get_share_a_page(make_reading):
    stack = make_reading()
    server, api = stack.scripted_server, stack.api()
    number_pages(server)
    first = api.request("HEAD", "/api/logs?limit=5")
    second = api.get("/api/logs?limit=5")
    third = api.request("HEAD", "/api/logs/?limit=5")
    assert (first.headers["X-Cache-Status"], second.headers["X-Cache-Status"]) == ("MISS", "HIT")
    assert second.json["number"] == 1
    assert third.headers["X-Cache-Status"] == "MISS"


def test_pages_outlive_nginx(make_reading):
    """The cache is on disk: a restart finds the pages again, under the same keys."""
    stack = make_reading()
    server = stack.scripted_server
    number_pages(server)
    before = {target: stack.api().get(target).json["number"] for target in TARGETS}
    stack.nginx.stop()
    stack.nginx.start()
    api = stack.api()
    for target, number in before.items():
        answered = api.get(target)
        assert (answered.json["number"], answered.json["source"]) == (number, "cache")
    wait_until(lambda: len(server.asked) == len(TARGETS), 1)
