"""The edge among nginx's other parts, and the mistakes that nginx -t finds."""

import gzip
import http.client
import json

import pytest

RECORD = {"device_id": "d", "log_level": "INFO", "message": "m"}
LOCATION = "        location / {\n"
LOG = "            sluice log;\n"
HTTP = "sluice_timeout 5s;"


@pytest.mark.parametrize("old, new, says", [
    ("client_body_buffer_size 1m;", "client_body_buffer_size 16k;", "client_body_buffer_size"),
    ("client_body_buffer_size 1m;", "client_body_buffer_size 1m; client_body_in_file_only on;",
     "client_body_in_file_only"),
    ("client_max_body_size 1m;", "client_max_body_size 0;", "client_max_body_size 0"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_max_inflight bytes=10k;", "could never pass"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_max_inflight lots;", "requests=NUMBER"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_max_inflight bytes=9m;", "could never pass"),
    ("sluice batch;", "sluice batch; sluice_max_inflated 64m;", "could never pass"),
    ("sluice batch;", "sluice batch; sluice_max_inflated 0;", "above 0, and 1g at most"),
    ("sluice batch;", "sluice batch; sluice_max_inflated 1025m;", "above 0, and 1g at most"),
    ("sluice batch;", "sluice batch; sluice_max_inflated lots;", "invalid value"),
    ("sluice batch;", "sluice batch; sluice_max_inflate_ratio 0;", "between 1 and 1032"),
    ("sluice batch;", "sluice batch; sluice_max_inflate_ratio 1033;", "between 1 and 1032"),
    ("sluice batch;", "sluice batch; sluice_max_inflate_ratio 5:1;", "invalid number"),
    ("sluice batch;", "sluice batch; sluice_max_inflated 1m; sluice_max_inflated 2m;",
     "duplicate"),
    ("sluice_timeout 5s;", "sluice_timeout 0;", "above 0"),
    *(("sluice_timeout 5s;", f"sluice_timeout 5s; sluice_breaker {value};", says)
      for value, says in [
          ("on", 'invalid parameter "on"'), ("off slow=1s", 'invalid parameter "off"'),
          ("failures=50", "1%..100%"), ("failures=0%", "1%..100%"), ("failures=101%", "1%..100%"),
          ("failures=%", "1%..100%"), ("calls=0", "calls=1..100000"), ("calls=9%", "calls=1"),
          ("slow=9ms", "slow=10ms..60s"), ("slow=61s", "slow=10ms..60s"), ("slow=", "slow=10ms"),
          ("open=99ms", "open=100ms..60s"), ("open=soon", "open=100ms..60s"),
          ("open=1s open=2s", 'invalid parameter "open=2s"'), ("off; sluice_breaker off", "duplicate"),
      ]),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed DEBUG=70%;",
     "that of DEBUG (70%) is not below that of INFO (70%)"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed CRITICAL=101%;", '"CRITICAL=101%" of'),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed DEBUG=0%;", "1% at least"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed hysteresis=60%;", "must be below"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed DEBUG=50;", "as in DEBUG=60%"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed debug=50%;", "as in DEBUG=60%"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed records=0;", "records=NUMBER"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed records=1 records=2;", '"records=2" of'),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed bytes=lots;", "bytes=SIZE"),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed off DEBUG=50%;", '"off" of'),
    ("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed off; sluice_shed off;", "duplicate"),
    ("sluice log;", "sluice logs;", 'must be "log" or "batch"'),
    ("sluice log;", "sluice log; sluice batch;", "duplicate"),
    ("sluice_health live;", "sluice_health alive;", '"live" or "ready"'),
    ("sluice_durability fsync;", "sluice_durability hard;",
     'invalid value "hard" of "sluice_durability": it must be "memory", "everysec" or "fsync"'),
    ("sluice_durability fsync;", "sluice_durability fsync; sluice_durability fsync;", "duplicate"),
    ("sluice_batch atomic;", "sluice_batch atomically;", 'it must be "atomic" or "partial"'),
    ("sluice batch;", "sluice batch; sluice_unknown_fields drop;",
     'it must be "ignore" or "refuse"'),
    ("sluice_zone sluice:512k;", "sluice_zone sluice;", "NAME:SIZE"),
    ("sluice_zone sluice:512k;", "sluice_zone sluice:8k;", "at least 256k"),
    ("sluice_stream logs:stream;", 'sluice_stream "";', "1 to 256"),
    ('sluice_redis "', 'sluice_redis redis://h:0; #"', "1 to 65535"),
    ('sluice_redis "', 'sluice_redis localhost; #"', "redis:// or unix://"),
    ('sluice_redis "', 'sluice_redis unix:///x password_file=/nonexistent; #"', "/nonexistent"),
    ('sluice_redis "', 'sluice_redis unix:///x password=secret; #"', "password_file=PATH"),
    ('sluice_redis "', '#"', '"sluice_redis" is missing'),
    (HTTP, HTTP + " sluice_limit_zone $host;", 'invalid number of arguments'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k;", 'needs zone=NAME:SIZE and rate=RATE'),
    (HTTP, HTTP + " sluice_limit_zone $host rate=1r/s;", 'needs zone=NAME:SIZE and rate=RATE'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x rate=1r/s;", 'zone=NAME:SIZE, a name of'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=:64k rate=1r/s;", 'zone=NAME:SIZE, a name of'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:63k rate=1r/s;", '64k at least'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:lots rate=1r/s;", '64k at least'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x.y:64k rate=1r/s;", 'letters, digits, _ and -'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=" + 65 * "x" + ":64k rate=1r/s;", 'of 1 to 64 letters'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k rate=1;", 'rate=500r/s'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k rate=1r/h;", 'rate=500r/s'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k rate=0r/s;", 'rate=500r/s'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k rate=-1r/s;", 'rate=500r/s'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k rate=1kr/s;", 'rate=500r/s'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k rate=1q/s;", 'rate=500r/s'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k rate=2000gb/s;", 'rate=20mb/s'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k rate=1b/s rate=1r/s;", 'each once'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k zone=y:64k rate=1r/s;", 'each once'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=x:64k rate=1r/s full=half;", 'full=open or full=closed'),
    (HTTP, HTTP + " sluice_limit_zone $nothing zone=x:64k rate=1r/s;", 'unknown "nothing" variable'),
    (HTTP, HTTP + " sluice_limit_zone host zone=x:64k rate=1r/s;", 'everybody would share it'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=clients:16m rate=1r/s;", 'is there already'),
    (HTTP, HTTP + " sluice_limit_zone $host zone=sluice:512k rate=1r/s;", 'already declared for a different use'),
    ("sluice batch;", "sluice batch; sluice_limit zone=nothing;", 'names zone "nothing", but there is no'),
    ("sluice batch;", "sluice batch; sluice_limit burst=5;", 'needs zone=NAME'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients burst=0;", 'a number of records'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients burst=-5;", 'a number of records'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients burst=many;", 'a number of records'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients delay=0;", '60s at most'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients delay=61s;", '60s at most'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients delay=soon;", '60s at most'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients burst=1 burst=2;", 'each once'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients nodelay;", 'delay=TIME and dry_run'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients; sluice_limit zone=clients;", 'this zone limits here already'),
    ("sluice batch;", "sluice batch; sluice_limit zone=clients; sluice_limit_status 400;", 'it must be "429" or "503"'),
])
def test_mistakes_are_told_with_their_remedy(make_stack, old, new, says):
    stack = make_stack(nginx_edits=[(old, new)])
    stack.allow(r"\[emerg\]")
    status, text = stack.nginx.check()
    assert status == 1
    assert says in text, text
    assert "secret" not in text


def test_loaded_but_not_configured_is_inert(make_stack):
    stack = make_stack()
    stack.nginx.edit("sluice_health live;", "return 200;")
    ours = ("sluice ", "sluice_")
    stack.nginx.conf = "\n".join(
        line for line in stack.nginx.conf.splitlines() if not line.strip().startswith(ours))
    stack.nginx.start()
    assert stack.api().get("/health/live").status == 200
    stack.nginx.reload()
    assert stack.api().get("/health/live").status == 200


def test_without_http_it_is_inert_too(make_stack):
    stack = make_stack()
    stack.nginx.conf = stack.nginx.conf.split("http {", 1)[0]
    assert stack.nginx.check()[0] == 0


def chunked(body):
    return (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n"
            % (len(body), body))


def status_of(connection):
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    connection.close()
    return response.status


BODY = b'{"device_id":"d","log_level":"INFO","message":"m"}'


def send(api, path, framing):
    if framing == "chunked":
        request = chunked(BODY) % path
        return status_of(api.raw(request))
    head = (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % (path, len(BODY)))
    if framing == "one piece":
        return status_of(api.raw(head + BODY))
    connection = api.raw(head + BODY[:10])
    api.get("/health/live")  # the worker has seen the first piece
    connection.sendall(BODY[10:])
    return status_of(connection)


FRAMINGS = ["one piece", "two pieces", "chunked"]
MIRROR = """
        location = /copied { sluice log; mirror /copy; client_max_body_size 1m;
                             client_body_buffer_size 1m; }
        location = /copy { internal; proxy_pass http://127.0.0.1:PORT/api/log; }
        location = /from { proxy_pass http://127.0.0.1:PORT/api/log; mirror /to; }
        location = /to { internal; sluice log; client_max_body_size 1m;
                         client_body_buffer_size 1m; }
        location = /bare { proxy_pass http://127.0.0.1:PORT/api/log; mirror /to;
                           mirror_request_body off; }
"""


@pytest.fixture
def mirrors(make_stack):
    stack = make_stack()
    stack.nginx.edit(LOCATION, MIRROR.replace("PORT", str(stack.nginx.port)) + LOCATION)
    return stack.start()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_mirror_of_a_location_of_ours(mirrors, framing):
    assert send(mirrors.api(), b"/copied", framing) == 200
    mirrors.wait_rows(2)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_mirror_to_a_location_of_ours(mirrors, framing):
    assert send(mirrors.api(), b"/from", framing) == 200
    mirrors.wait_rows(2)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_mirror_without_the_body(mirrors, framing):
    assert send(mirrors.api(), b"/bare", framing) == 200
    mirrors.wait_rows(1)


def test_if_and_limit_except_are_parts_of_their_location(make_stack):
    stack = make_stack()
    stack.nginx.edit(LOG, LOG + "            if ($http_x_tag) { set $tag 1; }\n"
                                "            limit_except POST { deny all; }\n")
    stack.start()
    assert stack.api().post("/api/log", RECORD, **{"X-Tag": "1"}).status == 200
    assert stack.api().post("/api/log", RECORD).status == 200
    assert stack.api().get("/api/log").status == 403
    stack.wait_rows(2)


def test_auth_request_and_error_page_in_front(make_stack):
    stack = make_stack()
    stack.nginx.edit(LOG, LOG + "            auth_request /auth;\n")
    stack.nginx.edit(LOCATION, """
        location = /auth { internal; if ($http_authorization = "") { return 401; } return 204; }
        location = /redirected { error_page 418 = /api/log; return 418; }
""" + LOCATION)
    stack.start()
    api = stack.api()
    assert api.post("/api/log", RECORD).status == 401
    assert api.post("/api/log", RECORD, Authorization="x").status == 200
    # error_page turns what it redirects into a GET
    assert api.post("/redirected", RECORD, Authorization="x").status == 405
    stack.wait_rows(1)


def test_several_servers_and_locations_share_the_connection(make_stack):
    stack = make_stack()
    stack.nginx.edit(LOCATION, """
        location = /other { sluice log; sluice_max_record_size 100; client_max_body_size 1m;
                            client_body_buffer_size 1m; }
""" + LOCATION)
    stack.start()
    api = stack.api()
    assert api.post("/other", RECORD).status == 200
    answer = api.post("/other", {**RECORD, "message": "m" * 100})
    assert (answer.status, answer.json["code"]) == (422, "record_too_large")
    assert api.log(message="m" * 100).status == 200
    stack.wait_rows(2)


def test_limits_of_compressed_bodies_are_inherited(make_stack):
    stack = make_stack()
    stack.nginx.edit("sluice_timeout 5s;", "sluice_timeout 5s; sluice_max_inflated 1000;")
    stack.nginx.edit("sluice batch;", "sluice batch; sluice_max_inflated 2000;")
    stack.start()
    api = stack.api()
    for path, limit in (("/api/log", 1000), ("/api/logs/batch", 2000)):
        body = json.dumps(RECORD if path == "/api/log" else [RECORD]).encode()
        for size, status in ((limit, 200), (limit + 1, 413)):
            answer = api.post(path, gzip.compress(body.ljust(size)), **{"Content-Encoding": "gzip"})
            assert answer.status == status, answer
