"""The source of a page is true, however it is sent: what the edge changes of a cached one."""

import gzip
import threading

import pytest
from harness.http2 import Http2
from harness.process import names_of_open_files
from harness.scripted_server import answer, page, problem
from harness.waiting import free_port, wait_until

ON = "proxy_cache pages;"
CACHED = b'{"source":"cache",   '
DATABASE = b'{"source":"database",'


def body_of(text):
    return page(text).partition(b"\r\n\r\n")[2]


def cached(body):
    return CACHED + body[len(DATABASE):]


def twice(api, target, **headers):
    """The answer of the server and then that of the cache."""
    first, second = api.get(target, **headers), api.get(target, **headers)
    assert first.headers["X-Cache-Status"] == "MISS", first
    assert second.headers["X-Cache-Status"] == "HIT", second
    return first, second


@pytest.fixture(params=["", "sendfile on; tcp_nopush on;", "output_buffers 1 16;",
                        "aio threads;"])
def way(request):
    return request.param


def test_a_page_says_where_it_comes_from(make_reading, way):
    stack = make_reading((ON, ON + way))
    api = stack.api()
    first, second = twice(api, "/api/logs?limit=5")
    assert first.body == body_of("/api/logs?limit=5")
    assert second.body == cached(first.body)
    assert second.json == {**first.json, "source": "cache"}
    assert {a.headers["Content-Length"] for a in (first, second)} == {str(len(first.body))}
    assert second.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("size", [100, 4000, 7600, 8000, 8192, 40000, 3000000])
def test_pages_of_any_size(make_reading, way, size):
    stack = make_reading((ON, ON + way))
    text = "".join(chr(ord("a") + n % 26) for n in range(size))
    stack.scripted_server.on_request = lambda asked: page(text)
    api = stack.api()
    first, second = twice(api, "/api/stats")
    assert (first.body, second.body) == (body_of(text), cached(body_of(text)))


def test_a_page_that_is_not_buffered(make_reading):
    """It is not cached, either."""
    stack = make_reading((ON, ON + "proxy_buffering off;"))
    api = stack.api()
    for _ in range(2):
        answered = api.get("/api/stats")
        assert answered.headers["X-Cache-Status"] == "MISS"
        assert answered.body == body_of("/api/stats")


def test_a_page_that_is_not_cached_but_in_a_file(make_reading):
    """A large one, of which the client does not take all at once."""
    stack = make_reading((ON, "proxy_cache off;"))
    text = "x" * 20000000
    stack.scripted_server.on_request = lambda asked: page(text)
    connection = stack.api().raw(b"GET /api/stats HTTP/1.0\r\n\r\n")
    wait_until(lambda: any("/tmp/proxy" in name for pid in stack.nginx.worker_pids()
                           for name in names_of_open_files(pid)), 5, "it is in a file")
    with connection, connection.makefile("rb") as file:
        assert file.read().partition(b"\r\n\r\n")[2] == body_of(text)


def test_what_is_not_the_beginning_of_a_page_stays(make_reading):
    """Only the very first bytes, only as the server writes them, and only of a whole page."""
    stack = make_reading()
    bodies = [b'{ "source":"database","data":[]}', b'{"source":"databasf","data":[]}',
              b'[{"source":"database","data":[]}]', b'{"source":"database"}',
              b'{"source":"database",',
              b'{"source":"data', b'{', b'{"data":[{"source":"database",1}]}']
    for number, body in enumerate(bodies):
        stack.scripted_server.on_request = lambda asked, body=body: answer(
            body, Cache_Control="max-age=60")
        for answered in twice(stack.api(), f"/api/logs?limit={number + 1}"):
            assert answered.body == body


def test_an_empty_answer(make_reading):
    stack = make_reading()
    stack.scripted_server.on_request = lambda asked: answer("", Cache_Control="max-age=60")
    for answered in twice(stack.api(), "/api/stats"):
        assert answered.body == b""


def test_what_is_no_query_is_left_alone(make_reading):
    """Another cached location of the same nginx."""
    stack = make_reading(("        location / {\n", """        location /other {
            proxy_pass http://sluiced;
            proxy_cache pages;
            proxy_cache_key $uri;
            add_header X-Cache-Status $upstream_cache_status always;
        }
        location / {\n"""))
    for answered in twice(stack.api(), "/other"):
        assert answered.body == body_of("/other")
    metrics = stack.api().get("/metrics").body.decode()
    assert 'sluice_edge_cache_hits_total{endpoint="logs",status="hit"} 0' in metrics


def test_head(make_reading):
    stack = make_reading()
    api = stack.api()
    first = api.request("HEAD", "/api/stats")
    second = api.request("HEAD", "/api/stats")
    third = api.get("/api/stats")
    assert [a.headers["X-Cache-Status"] for a in (first, second, third)] == ["MISS", "HIT", "HIT"]
    assert [a.body for a in (first, second)] == [b"", b""]
    assert third.body == cached(body_of("/api/stats"))
    assert {a.headers["Content-Length"] for a in (first, second, third)} == {str(len(third.body))}
    assert [asked.method for asked in stack.scripted_server.asked] == ["GET"]


def test_pages_come_whole_unless_the_server_says_otherwise(make_reading):
    stack = make_reading()
    api = stack.api()
    for answered in twice(api, "/api/stats", Range="bytes=0-4"):
        assert (answered.status, len(answered.body)) == (200, len(body_of("/api/stats")))


def allow_ranges(stack):
    stack.scripted_server.on_request = lambda asked: page(asked.target, Accept_Ranges="bytes")


@pytest.mark.parametrize("ranges", ["0-0", "0-4", "5-30", "20-22", "21-", "20-20", "22-22", "-5",
                                    "0-", "-1000", "100-200", "11-19"])
def test_a_range(make_reading, way, ranges):
    """Of a page that is cached the bytes are those of the whole one."""
    stack = make_reading((ON, ON + way))
    api = stack.api()
    allow_ranges(stack)
    whole = twice(api, "/api/stats")[1].body
    part = api.get("/api/stats", Range=f"bytes={ranges}")
    begin, _, end = ranges.partition("-")
    if begin and int(begin) >= len(whole):
        assert part.status == 416
        return
    expected = whole[-int(end):] if not begin else whole[int(begin):int(end) + 1 if end else None]
    assert part.status == 206
    assert part.body == expected
    assert part.headers["Content-Length"] == str(len(expected))


def test_several_ranges_get_the_whole_page(make_reading):
    stack = make_reading()
    api = stack.api()
    allow_ranges(stack)
    whole = twice(api, "/api/stats")[1].body
    answered = api.get("/api/stats", Range="bytes=0-4,10-30")
    assert (answered.status, answered.body) == (200, whole)


def test_the_first_answer_may_be_a_range(make_reading):
    """The server is asked for the whole page, and the whole page is cached."""
    stack = make_reading()
    api = stack.api()
    allow_ranges(stack)
    part = api.get("/api/stats", Range="bytes=0-20")
    assert (part.status, part.body, part.headers["X-Cache-Status"]) == (206, DATABASE, "MISS")
    assert "range" not in stack.scripted_server.asked[0].headers
    assert api.get("/api/stats").body == cached(body_of("/api/stats"))


def test_not_modified(make_reading):
    stack = make_reading()
    stack.scripted_server.on_request = lambda asked: page(asked.target, ETag='W/"a1"')
    api = stack.api()
    for status in ("MISS", "HIT"):
        same = api.get("/api/stats", **{"If-None-Match": 'W/"a1"'})
        assert (same.status, same.body) == (304, b"")
        assert same.headers["X-Cache-Status"] == status
        assert same.headers["ETag"] == 'W/"a1"'
    other = api.get("/api/stats", **{"If-None-Match": 'W/"b2"'})
    assert (other.status, other.body) == (200, cached(body_of("/api/stats")))
    assert other.headers["ETag"] == 'W/"a1"'


def test_compressed_by_nginx(make_reading):
    stack = make_reading(("gzip_min_length 1000;", "gzip_min_length 1;"))
    first, second = twice(stack.api(), "/api/stats", **{"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == second.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(first.body) == body_of("/api/stats")
    assert gzip.decompress(second.body) == cached(body_of("/api/stats"))


def test_over_http2(make_reading):
    port = free_port()
    stack = make_reading(("listen 127", f"listen 127.0.0.1:{port} http2;\n        listen 127"))
    with Http2(port) as connection:
        for expected in (body_of("/api/stats"), cached(body_of("/api/stats"))):
            stream = connection.get("/api/stats")
            connection.wait([stream])
            assert (connection.statuses[stream], connection.bodies[stream]) == (200, expected)


def test_in_a_page_of_server_side_includes(make_reading):
    """A filter that wants all in memory."""
    stack = make_reading((ON, ON + " ssi on; ssi_types application/json;"))
    first, second = twice(stack.api(), "/api/stats")
    assert second.body == cached(first.body)


def test_two_sources_asked_for_by_turns(make_reading):
    """With and without a cache: what the same connection was told before does not stick."""
    stack = make_reading()
    api = stack.api()
    for number in range(1, 20):
        target = f"/api/logs?limit={number}"
        first, second = twice(api, target)
        assert (first.json["source"], second.json["source"]) == ("database", "cache")


def status_and_source(api, target="/api/stats"):
    answered = api.get(target)
    assert answered.status == 200, answered
    return answered.headers["X-Cache-Status"], answered.json["source"]


def test_of_every_status_of_the_cache(make_reading):
    stack = make_reading((ON, ON + " proxy_cache_revalidate on; proxy_cache_bypass $arg_none;"))
    stack.allow(r"connect\(\) to unix:.*serve\.sock failed|sluiced.*prematurely")
    server, api = stack.scripted_server, stack.api()
    assert status_and_source(api, "/api/hits") == ("MISS", "database")
    assert status_and_source(api, "/api/hits") == ("HIT", "cache")
    server.on_request = lambda asked: page("1", "max-age=1", ETag='W/"1"')
    assert status_and_source(api) == ("MISS", "database")

    # expired, and renewed with another page
    server.on_request = lambda asked: page("2", "max-age=1", ETag='W/"2"')
    wait_until(lambda: status_and_source(api) == ("EXPIRED", "database"), 5, "EXPIRED")

    # expired, and found to be the same
    server.on_request = lambda asked: (
        answer("", "304 Not Modified", Cache_Control="max-age=1", ETag='W/"2"')
        if asked.headers.get("if-none-match") == 'W/"2"' else None)
    wait_until(lambda: status_and_source(api) == ("REVALIDATED", "cache"), 5, "REVALIDATED")

    # the server cannot answer
    for broken in (problem(), problem("500 Oh"), None):
        server.on_request = lambda asked, broken=broken: broken
        wait_until(lambda: status_and_source(api) == ("STALE", "cache"), 5, "STALE")
    server.stop()
    assert status_and_source(api) == ("STALE", "cache")

    # it is renewed while it is given out
    server.start()
    server.on_request = lambda asked: page("3", "max-age=1, stale-while-revalidate=60")
    wait_until(lambda: status_and_source(api) == ("EXPIRED", "database"), 5, "EXPIRED")
    renew = threading.Event()
    server.on_request = lambda asked: (
        renew.wait(60) and page("4", "max-age=1, stale-while-revalidate=60"))
    wait_until(lambda: status_and_source(api) == ("STALE", "cache"), 5, "STALE")
    # another connection: nginx goes on with the first when its page is renewed
    assert status_and_source(stack.api()) == ("UPDATING", "cache")
    renew.set()
    wait_until(lambda: "4" in api.get("/api/stats").json["data"], 5, "it is renewed")

    assert status_and_source(api, "/api/stats?none=1") == ("BYPASS", "database")
