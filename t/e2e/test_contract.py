"""The API is what conf/www/openapi.json says, both ways: whatever a client can be answered is
described there, and whatever is described there has been seen by the time this file has run.

Each test makes one part of the system answer in all ways that it can; every answer is held against
the description as it comes (harness/contract.py). The last test looks for what never came."""

import gzip
import http.client
import itertools
import json
import os
import re
import threading
import time
import zlib

import pytest

from harness import choices
from harness.api import Answer
from harness.build import ROOT
from harness.contract import Contract
from harness.description import Description
from harness.limits import lenient, of_devices, records
from harness.stored import Log, store, store_haystack
from harness.waiting import wait_until
from test_compressed import LittleMemory
from test_exports import running as running_exports
from test_nginx_choices import make_readers
from test_query_faults import asking
from test_settled import ago
from test_shed import Told, start as start_shedding

pytestmark = pytest.mark.xdist_group("contract")

RECORD = {"device_id": "pump-7", "log_level": "INFO", "message": "it flows"}
PROBLEM = "application/problem+json"
GIVEN_UP_SOON = ("sluice_timeout 5s;", "sluice_timeout 1s; sluice_breaker off;")
SHIPPED_LIMIT = "        sluice_limit zone=clients burst=1000000000;"

WWW = ROOT / "conf" / "www"

# Which no client can be told: the one who asked has gone.
TOLD_NOBODY = {"client_gone"}


@pytest.fixture(scope="module")
def contract():
    return Contract()


def both(api, record=None, **headers):
    """One record, by itself and as a batch."""
    record = record or RECORD
    return [api.post("/api/log", record, **headers), api.post("/api/logs/batch", [record], **headers)]


def assert_code(answers, status, code):
    assert [(answer.status, answer.json["code"]) for answer in answers] == [(status, code)] * 2


def both_until(api, status, code, timeout=10, **headers):
    """What passes before that is as good as it ever is."""

    def answered():
        answers = both(api, **headers)
        return all((a.status, a.json.get("code")) == (status, code) for a in answers) and answers

    return wait_until(answered, timeout, f"both are answered {code}")


def background(call):
    thread = threading.Thread(target=call)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def description(contract):
    return contract.description


@pytest.fixture
def watched(make_stack, contract):
    """Everything, of which each answer is held against the description."""
    stack = make_stack(workers=1, nginx_edits=[
        ("#sluice_unknown_fields ignore;", "sluice_unknown_fields refuse;")]).start()
    return stack, contract.api(stack)


# Writing


def test_what_may_be_sent_is_taken(watched, description):
    stack, api = watched
    sent = 0
    for name, path in (("postLog", "/api/log"), ("postBatch", "/api/logs/batch")):
        for media, content in description.operation(name).body.items():
            examples = [one["value"] for one in content.get("examples", {}).values()]
            for example in examples or [content.get("example", json.dumps(RECORD))]:
                answer = api.post(path, example, **{"Content-Type": media})
                assert answer.status == 200, (media, example, answer)
                sent += answer.json.get("count", 1)
    stack.wait_rows(sent)


def test_the_headers_of_a_post_do_what_they_say(watched, description):
    stack, api = watched

    def keyed(key):
        return {a.status for a in both(api, **{"Idempotency-Key": key}) + both(api, **{"Idempotency-Key": key})}

    def idempotency_key():
        # By itself and as a batch it is two bodies, so two records.
        assert keyed("k" * 255) == {200}
        stack.wait_rows(2)
        assert keyed("k" * 256) == keyed("") == {400}

    def prefer():
        for handling, status in (("lenient", 200), ("strict", 422)):
            answer = api.post("/api/logs/batch", [RECORD, 7], Prefer=f"handling={handling}")
            assert answer.status == status
        assert api.post("/api/logs/batch", [RECORD], Prefer="handling=strict").headers["Preference-Applied"]

    def content_encoding():
        body = json.dumps(RECORD).encode()
        coded = {"gzip": gzip.compress(body), "x-gzip": gzip.compress(body),
                 "deflate": zlib.compress(body), "identity": body}
        for operation in ("postLog", "postBatch"):
            known = next(one for one in description.operation(operation).parameters
                         if one["name"] == "Content-Encoding")["schema"]["enum"]
            assert set(known) == set(coded)
        for coding, text in coded.items():
            for path in ("/api/log", "/api/logs/batch"):
                assert api.post(path, text, **{"Content-Encoding": coding}).status == 200, coding

    def early_data():
        assert_code(both(api, **{"Early-Data": "1"}), 425, "too_early")

    shown = {"Idempotency-Key": idempotency_key, "Prefer": prefer,
             "Content-Encoding": content_encoding, "Early-Data": early_data}
    posts = [description.operation(name) for name in ("postLog", "postBatch")]
    assert set(shown) == set().union(*(post.names("header") for post in posts))
    assert posts[1].names("header") - posts[0].names("header") == {"Prefer"}
    for show in shown.values():
        show()


def test_bodies_that_cannot_be_read(watched):
    _, api = watched
    for body, code in ((b"{", "malformed_json"), (b'{"a":"\xff"}', "invalid_utf8"), (b"", "empty_body")):
        for path in ("/api/log", "/api/logs/batch"):
            answer = api.post(path, body)
            assert (answer.status, answer.json["code"]) == (400, code)
    bad = json.dumps({**RECORD, "log_level": "LOUD"})
    assert api.post("/api/logs/batch", f"[{bad},{{]").json["errors"]
    for headers, status, code in (
            ({"Content-Encoding": "gzip"}, 400, "bad_compression"),
            ({"Idempotency-Key": "\x7f"}, 400, "bad_idempotency_key"),
            ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
            ({"Content-Encoding": "br"}, 415, "unsupported_content_encoding")):
        assert_code(both(api, **headers), status, code)
    bomb = gzip.compress(b" " * (9 << 20))
    for path in ("/api/log", "/api/logs/batch"):
        assert api.request("PUT", path).json["code"] == "method_not_allowed"
        assert api.post(path, b" " * (1 << 20) + b" ").json["code"] == "body_too_large"
        answer = api.post(path, bomb, **{"Content-Encoding": "gzip"})
        assert answer.json["code"] == "inflated_too_large"


def with_data(text):
    return '{"device_id":"d","log_level":"INFO","message":"m","log_data":' + text + "}"


BAD_RECORDS = {
    "record_not_an_object": "7",
    "record_too_large": json.dumps({**RECORD, "message": "x" * (256 << 10)}),
    "missing": "{}",
    "wrong_type": json.dumps({**RECORD, "message": 7}),
    "empty": json.dumps({**RECORD, "message": ""}),
    "too_long": json.dumps({**RECORD, "device_id": "x" * 51}),
    "control_character": json.dumps({**RECORD, "device_id": "\u0007"}),
    "unknown_level": json.dumps({**RECORD, "log_level": "LOUD"}),
    "bad_timestamp": json.dumps({**RECORD, "timestamp": "yesterday"}),
    "duplicate_key": json.dumps(RECORD)[:-1] + ',"message":"again"}',
    "unknown_field": json.dumps({**RECORD, "colour": "blue"}),
    "lone_surrogate": with_data(r'{"a":"\ud800"}'),
    "too_deep": with_data('{"a":' + "[" * 70 + "]" * 70 + "}"),
    "number_too_long": with_data('{"a":' + "9" * 65 + "}"),
    "number_out_of_range": with_data('{"a":1e309}'),
}
BAD_BATCHES = {
    "not_a_batch": "7",
    "logs_missing": '{"a":1}',
    "logs_not_an_array": '{"logs":1}',
    "empty_batch": "[]",
    "too_many_records": json.dumps([RECORD] * 1001),
}


def test_records_and_batches_that_break_rules(watched):
    _, api = watched
    for code, record in BAD_RECORDS.items():
        assert api.post("/api/log", record).json["code"] == code
        assert api.post("/api/logs/batch", f"[{record}]").json["code"] == code
        told = lenient(api, f"[{json.dumps(RECORD)},{record}]").json
        assert told["errors"][0]["code"] == code
    for code, batch in BAD_BATCHES.items():
        assert api.post("/api/logs/batch", batch).json["code"] == code


def limits(status):
    return [
        ("    sluice_zone sluice:512k;",
         "    sluice_zone sluice:512k;\n"
         "    sluice_limit_zone $http_x_client zone=senders:64k rate=1r/m;\n"
         "    sluice_limit_zone $http_x_big zone=volume:64k rate=1kb/s;\n"
         "    sluice_limit_zone device_id zone=devices:64k rate=1r/m full=closed;\n"),
        (SHIPPED_LIMIT, f"sluice_limit_status {status}; sluice_limit zone=senders burst=3;"
                        " sluice_limit zone=volume burst=2k; sluice_limit zone=devices burst=2;"),
    ]


def test_limits(make_edge, contract):
    for status in (429, 503):
        stack = make_edge(*limits(status))
        api = contract.api(stack)
        both_until(api, status, "rate_limited", **{"X-Client": "a"})
        large = {**RECORD, "message": "x" * 9000}
        assert_code(both(api, large, **{"X-Big": "b"}), 413, "larger_than_limit")
        told = lenient(api, [{**large, "device_id": "l"}, {**RECORD, "device_id": "s"}],
                       client="", **{"X-Big": "c"}).json
        assert told["withheld"]["code"] == "larger_than_limit"
        told = lenient(api, records(4, "same"), client="").json
        assert (told["count"], told["withheld"]["code"]) == (2, "rate_limited")
        full = [lenient(api, of_devices([f"{turn}-{n}" for n in range(1000)]), client="")
                for turn in range(6)]
        assert full[-1].json.get("withheld", full[-1].json)["code"] == "limit_table_full"
        told = lenient(api, [{**RECORD, "device_id": "0-1"}] + of_devices(f"new-{n}" for n in range(9)),
                       client="").json
        assert told["withheld"]["code"] == "limit_table_full"
        numbers = itertools.count()

        def refused():
            answers = both(api, {**RECORD, "device_id": f"other-{next(numbers)}"})
            return all(one.json.get("code") == "limit_table_full" for one in answers)

        wait_until(refused, 10, "there is no room for one more")


def test_a_redis_that_refuses_or_says_nothing(make_edge, contract):
    stack = make_edge(GIVEN_UP_SOON)
    api, redis = contract.api(stack), stack.scripted
    for reply, code in ((b"-OOM\r\n", "redis_full"), (b"-ERR what\r\n", "redis_refused"),
                        (b"-LOADING it\r\n", "redis_unavailable"),
                        (b"-NOREPLICAS few\r\n", "durability_below_minimum"),
                        (None, "outcome_unknown")):
        redis.on_xadd = lambda frame, reply=reply: reply
        both_until(api, 503, code)
        redis.on_xadd = redis.store
        wait_until(lambda: both(api)[1].status == 200, 10, "it is well again")
    # Of many at once a few are on their way; what waits behind them has certainly not been sent.
    redis.on_xadd = lambda frame: [2.5, b"-ERR late\r\n"]

    codes = {"/api/log": set(), "/api/logs/batch": set()}

    def post(path):
        body = RECORD if path == "/api/log" else [RECORD]
        codes[path].add(contract.api(stack).post(path, body).json["code"])

    def too_slow():
        crowd = [background(lambda path=path: post(path)) for path in list(codes) * 12]
        for thread in crowd:
            thread.join()
        return all("redis_timeout" in said for said in codes.values())

    wait_until(too_slow, 30, "what was not sent is told so")


def test_an_edge_that_holds_as_much_as_it_may(make_edge, contract):
    stack = make_edge(("sluice_timeout 5s;", "sluice_timeout 60s; sluice_breaker slow=60s;"
                                             " sluice_max_inflight requests=1;"))
    api, redis = contract.api(stack), stack.scripted
    go_on = threading.Event()
    redis.on_xadd = lambda frame: go_on.wait(60) and redis.store(frame)
    first = background(lambda: contract.api(stack).log())
    wait_until(lambda: redis.frames, 5, "one is held")
    assert_code(both(api), 503, "too_many_inflight")
    go_on.set()
    first.join()
    redis.on_xadd = lambda frame: b"-OOM\r\n"
    redis.on_question = lambda: b"-OOM\r\n"
    api.log()
    both_until(api, 503, "breaker_open")
    assert api.get("/health").status == api.get("/health/ready").status == 503
    assert api.get("/health/live").status == 200


def test_memory_that_runs_out(make_stack, contract):
    stack = make_stack(workers=1, nginx=LittleMemory).start()
    stack.allow("AddressSanitizer failed to allocate 0x")
    api = contract.api(stack)
    body = gzip.compress(json.dumps({"logs": [{**RECORD, "message": os.urandom(8000).hex()}] * 190}).encode())
    for path in ("/api/log", "/api/logs/batch"):
        assert api.post(path, body, **{"Content-Encoding": "gzip"}).json["code"] == "no_memory"


def test_a_system_that_is_behind(make_stack, contract):
    stack = start_shedding(make_stack)
    api, told = contract.api(stack), Told(stack)
    told.at(67)
    debug = {**RECORD, "log_level": "DEBUG"}
    assert_code(both(api, debug), 503, "shed")
    assert lenient(api, [RECORD, debug]).json["withheld"]["code"] == "shed"
    assert both(api)[0].headers["Sluice-Min-Level"] == "INFO"
    told.at(95)
    assert_code(both(api), 503, "overloaded")


# Reading

READING = {"getLogs": "/api/logs", "getDeviceLogs": "/api/logs/pump-7", "getStats": "/api/stats",
           "getHits": "/api/hits"}
TAIL = "/api/logs/stream"
QUERY_CPP = (ROOT / "common" / "query.cpp").read_text()
PARAMETERS_THERE_ARE = set(re.findall(r'^    \{"(\w+)", (?:kOf|on\()', QUERY_CPP, re.M))

# What every reader of a value refuses.
WRONG = "%00"


def query(name, value):
    return f"{name}={value}" + ("&format=ndjson" if name == "limit" else "")


def values_at_bounds(parameter, schema):
    """Values that are just good, and such as are just not."""
    if "enum" in schema:
        return schema["enum"], ["x"]
    if schema.get("type") == "integer":
        return ([schema["minimum"], schema["maximum"]],
                [schema["minimum"] - 1, schema["maximum"] + 1])
    if parameter["name"] == "contains":
        return ['{"a":"' + "x" * (schema["maxLength"] - 8) + '"}'], [
            '{"a":"' + "x" * (schema["maxLength"] - 7) + '"}', "[]"]
    if "maxLength" in schema:
        return ["x" * schema["maxLength"]], ["x" * (schema["maxLength"] + 1), ""]
    return [], ["x"]


@pytest.mark.parametrize("name", sorted(PARAMETERS_THERE_ARE))
def test_a_parameter_is_described_where_it_is_known(name, description):
    """Of the parser's table: the endpoints that know it are those that say so (below), and there is one."""
    assert any(name in one.names("query") for one in description.operations)


def test_parameters_are_validated_as_described(watched, description):
    _, api = watched
    described = set()
    for operation, path in READING.items():
        operation = description.operation(operation)
        described |= operation.names("query")
        for name in PARAMETERS_THERE_ARE | {"colour"}:
            answer = api.get(f"{path}?{name}={WRONG}")
            known = name in operation.names("query")
            code = "bad_parameter" if known else "unknown_parameter"
            if operation.id == "getDeviceLogs" and name == "device_id":
                code = "duplicate_parameter"
            assert (answer.status, answer.json["code"]) == (400, code), (operation, name)
            assert answer.json["parameter"] == name
            if known:
                answer = api.get(f"{path}?{name}={WRONG[:0]}x&{name}=x")
                assert answer.json["code"] in ("duplicate_parameter", "bad_parameter")
        for parameter in operation.parameters:
            if parameter["in"] != "query":
                continue
            schema, name = description.resolve(parameter["schema"]), parameter["name"]
            good, bad = values_at_bounds(parameter, schema)
            for value in good + [parameter[key] for key in ("example",) if key in parameter]:
                answer = api.get(f"{path}?{query(name, quoted(value))}")
                assert answer.status == 200, (operation, name, value, answer)
            for value in bad:
                answer = api.get(f"{path}?{query(name, quoted(value))}")
                assert (answer.status, answer.json["parameter"]) == (400, name), (operation, name, value)
    assert described == PARAMETERS_THERE_ARE
    operation = description.operation("watchLogs")
    for name in PARAMETERS_THERE_ARE:
        code = "bad_parameter" if name in operation.names("query") else "unknown_parameter"
        assert api.get(f"{TAIL}?{name}={WRONG}").json["code"] == code, name
    assert api.get(f"{TAIL}?q=a&q=a").json["code"] == "duplicate_parameter"
    for path in ("/api/logs?level=INFO&level=INFO", "/api/logs/d?level=INFO&level=INFO",
                 "/api/hits?level=INFO&level=INFO"):
        assert api.get(path).json["code"] == "duplicate_parameter"


def quoted(value):
    return "".join(f"%{byte:02X}" for byte in str(value).encode())


def test_parameters_do_what_they_say(watched):
    """Each makes another answer of the same logs. (All that they do is in test_pages.)"""
    stack, api = watched
    stack.wait_partitions()
    store(stack.postgres, [Log(n, ago(600 - 60 * n), f"dev-{n % 2}", level, f"message {n}", {"n": n})
                           for n, level in enumerate(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))])

    def ids(parameters):
        return [row["id"] for row in api.get(f"/api/logs?{parameters}").json["data"]]

    everything = ids("")
    assert everything == [4, 3, 2, 1, 0]
    page = api.get("/api/logs?limit=2").json
    assert page["data"][0]["id"] == 4 and page["next_cursor"]
    shown = {
        "device_id=dev-1": [3, 1], "level=INFO,ERROR": [3, 1], "min_level=ERROR": [4, 3],
        f"from={quoted(ago(450).isoformat())}": [4, 3], "to=-8m": [2, 1, 0], "q=E%203": [3],
        "contains=%7B%22n%22:2%7D": [2], "limit=1": [4], "offset=3": [1, 0],
        f"cursor={page['next_cursor']}&limit=2": [2, 1],
    }
    assert {parameters: ids(parameters) for parameters in shown} == shown
    wait_until(lambda: ids("order=asc") == [0, 1, 2, 3, 4], 20, "all is settled")
    assert api.get("/api/logs/dev-1").json["total"] == 2
    for kind in ("json", "ndjson", "csv"):
        for path in ("/api/logs", "/api/logs/dev-1"):
            assert api.get(f"{path}?format={kind}").headers["Content-Disposition"].endswith(f'.{kind}"')
    for accept in ("text/csv", "application/x-ndjson", "application/json"):
        assert accept in api.get("/api/logs", Accept=accept).headers["Content-Type"]
    assert api.get("/api/hits?step=1m&from=-15m").json["total"] == 5
    assert api.get("/api/hits?step=1h").json["step"] == "1h"
    assert api.log(timestamp="2026-11-20T12:30:27.5Z").status == 200
    wait_until(lambda: any("event_time" in row for row in api.get("/api/logs/pump-7").json["data"]), 10)
    api.get("/api/logs?device_id=pump-7&format=ndjson")
    api.get("/api/logs?device_id=pump-7&format=json")
    wait_until(lambda: api.get("/api/stats").json["last_seen"], 15, "a device was seen")


def test_answers_that_are_not_the_logs(watched):
    _, api = watched

    def unchanged(path):
        """What a question is answered to which the answer is known. Another minute is another page."""
        known = api.get(path).headers["ETag"]
        answer = known and api.get(path, **{"If-None-Match": known})
        return answer and answer.status == 304 and answer

    for path in READING.values():
        assert wait_until(lambda path=path: unchanged(path), 5).body == b""
        assert api.request("POST", path, "x").json["code"] == "method_not_allowed"
        assert api.request("GET", path, "x" * 2000).json["code"] == "body_too_large"
        api.close()
        assert api.get(f"{path}?limit=1", **{"Accept-Encoding": "gzip"}).status in (200, 400)
    assert api.get("/api/logs/" + "x" * 51).json["code"] == "bad_parameter"
    assert api.get("/api/logs/pump/7").json["code"] == "not_found"
    assert api.batch(of_devices(f"{n}{'x' * 49}" for n in range(10))).status == 200
    wait_until(lambda: api.get("/api/stats", **{"Accept-Encoding": "gzip"}).headers["Vary"], 15)


def watch(contract, stack, until, **headers):
    """The live tail, up to this text: what came, which is as described so far."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.nginx.port, timeout=20)
    connection.request("GET", TAIL, headers=headers)
    response = connection.getresponse()
    body = b""
    while until not in body:
        piece = response.read1(65536)
        assert piece, body
        body += piece
    contract.see(TAIL, Answer(response.status, response.headers, body))
    return connection, body.decode()


def test_the_live_tail(make_stack, contract):
    # What is stored stays for a while, or who comes back late is shown none of it.
    stack = make_stack(workers=1, load={"SLUICED_LOAD_TAIL_WINDOW_MB": "1"},
                       serve={"SLUICED_SERVE_TAIL_CLIENTS": "1"}).start()
    api = contract.api(stack)
    first, _ = watch(contract, stack, b"retry: 1000\n\n")
    assert api.get(TAIL).json["code"] == "too_many_watchers"
    first.close()
    place = api.log(message="one").json["message_id"]
    api.log(message="two")

    def resumed():
        try:
            return watch(contract, stack, b"two", **{"Last-Event-ID": place})
        except AssertionError:
            return None

    again, body = wait_until(resumed, 10, "there is a place again")
    assert '"message":"two"' in body and '"message":"one"' not in body
    again.close()
    assert api.request("POST", TAIL, "x").json["code"] == "method_not_allowed"
    assert api.request("GET", TAIL, "x" * 2000).json["code"] == "body_too_large"


def test_a_search_that_stops_early(make_stack, contract):
    stack = make_stack(workers=1, serve={"SLUICED_SERVE_QUERY_TIMEOUT_MS": "2000"}).start()
    stack.wait_partitions()
    store(stack.postgres, [Log(1, ago(7200), message="needle")])
    store_haystack(stack.postgres, 60000)
    api = contract.api(stack)
    # Two seconds may be short.
    wait_until(lambda: api.get("/api/logs?q=NEEDLE").json.get("stopped_early"), 20, "it stops early")


def test_questions_that_cannot_be_answered(make_stack, contract):
    # Each question is asked again and again here; what was told last must not be told once more.
    unkept = ("proxy_cache pages;", "proxy_cache pages; proxy_ignore_headers Cache-Control;")
    stack = make_stack(workers=1, nginx_edits=[unkept], serve={
        "SLUICED_SERVE_WORKERS": "1", "SLUICED_SERVE_QUEUE": "1", "SLUICED_SERVE_EXPORTS": "1",
        "SLUICED_SERVE_QUERY_TIMEOUT_MS": "1500"}).start()
    stack.allow(r"connect\(\) to unix:.*serve\.sock failed|postgres (did not answer|failed)"
                r"|query took too long|upstream")
    api = contract.api(stack)
    numbers = itertools.count(1)

    def fresh(path):
        """A question that nobody has asked yet, so that none waits for another's answer."""
        n = next(numbers)
        return {"/api/stats": path, "/api/hits": f"{path}?to=-{n}d"}.get(path, f"{path}?limit={n}")

    def code_of(path):
        answer = api.get(fresh(path))
        return answer.json.get("code") if answer.status != 200 else "answered"

    def all_until(code):
        for path in READING.values():
            wait_until(lambda path=path: code_of(path) == code, 15, f"{path} is answered {code}")

    lock = stack.postgres.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE logs, counters, counters_hour, counters_day"
                          " IN ACCESS EXCLUSIVE MODE")
    all_until("query_timeout")
    for path in ("/api/logs", "/api/logs/pump-7"):
        def refused(path=path):
            export = background(lambda: contract.api(stack).get(f"{path}?format=csv"))
            # Or it is over already, and another one is tried.
            wait_until(lambda: running_exports(stack) == 1 or not export.is_alive(), 5, "one is sent")
            code = api.get(f"{path}?format=json").json["code"]
            export.join()
            wait_until(lambda: running_exports(stack) == 0, 5, "it is over")
            return code == "too_many_exports"

        wait_until(refused, 20, "there is no room for another one")
    for path in READING.values():
        def crowded(path=path):
            crowd = [background(lambda: contract.api(stack).get(fresh("/api/logs"))) for _ in range(2)]
            wait_until(lambda: asking(stack) == 1 or not any(one.is_alive() for one in crowd), 5,
                       "one runs, or both are over already")
            code = code_of(path)
            for one in crowd:
                one.join()
            return code == "too_many_queries"

        wait_until(crowded, 20, "there is no room")
    lock.close()
    stack.postgres.stop()
    all_until("database_unavailable")
    wait_until(lambda: api.get("/health").json["status"] == "degraded", 15, "it is told")
    stack.server.stop()
    all_until("server_unavailable")


@pytest.fixture
def chosen(make_stack, contract):
    def start(name):
        stack = make_stack(workers=1)
        stack.nginx.conf = choices.make(stack.nginx.conf, name)
        make_readers(stack.folder)
        stack.nginx.conf = stack.nginx.conf.replace("/etc/sluice/readers", f"{stack.folder}/readers")
        stack.allow("no user/password was provided|access forbidden by rule")
        for part in (stack.redis, stack.nginx):
            part.start()
        return contract.api(stack)

    return start


def test_readers_who_are_not_let_in(chosen):
    api = chosen("read-password")
    for path in READING.values():
        answer = api.get(path)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="logs"')
    assert api.get(TAIL).json["code"] == "unauthorized"
    # Whoever may read: the pages tell of nothing that is stored.
    assert {api.get(path).status for path in ("/docs", "/redoc", "/openapi.json", "/health/live")} == {200}
    api = chosen("read-address")
    for path in READING.values():
        assert api.get_from("127.0.0.2", path).json["code"] == "forbidden"
    assert api.get_from("127.0.0.2", TAIL).json["code"] == "forbidden"


# Watching, and the description


def test_health_metrics_and_pages(watched):
    stack, api = watched
    wait_until(lambda: api.get("/health").json["status"] == "healthy", 5, "all is well")
    paths = ["/health", "/health/live", "/health/ready", "/metrics", "/metrics/daemon",
             "/openapi.json", "/docs", "/redoc"]
    for path in paths:
        answer = api.get(path)
        assert answer.status == 200
        assert api.request("POST", path, "").json["code"] == "method_not_allowed"
        if "metrics" in path:
            stack.allow("access forbidden by rule")
            assert api.get_from("127.0.0.2", path).status == 403
        if answer.headers["ETag"]:
            same = {"If-None-Match": answer.headers["ETag"], "Accept-Encoding": "gzip"}
            assert api.get(path, **same).status == 304
            assert api.get(path, **{"Accept-Encoding": "gzip"}).status == 200
    assert json.loads(api.get("/openapi.json").body) == Description().text


def locations():
    """What the shipped nginx.conf has, of which anybody can ask."""
    conf = (ROOT / "conf" / "nginx.conf").read_text()
    for kind, path, inside in re.findall(r"^        location (= |~ )?(\S+) \{\n(.*?)^        \}", conf, re.M | re.S):
        if "internal;" in inside or path.startswith("@") or inside.strip() == "return 404;":
            continue
        yield kind.strip(), path


def test_every_location_is_described_and_the_other_way_round(description, contract):
    exact = {path for kind, path in locations() if kind == "="}
    prefixes = {path for kind, path in locations() if kind == ""}
    (pattern,) = {path for kind, path in locations() if kind == "~"}
    described = {one.path for one in description.operations}
    assert prefixes == {"/api/"} and "/api/log" in exact
    assert exact <= described
    for path in described - exact:
        assert path.startswith("/api/") or re.search(pattern, path), f"nothing is at {path}"
    # What else the pattern lets through is what the pages are made of.
    files = [path.relative_to(WWW) for path in WWW.rglob("*") if path.is_file()]
    parts = {f"/{path}" for path in files if path.parts[0] == "pages"}
    pages = {f"/{path}".removesuffix(".html") for path in files} - parts
    assert pages == described - exact - {path for path in described if path.startswith("/api/")}
    assert all(re.search(pattern, path) for path in parts | pages)


def test_every_endpoint_of_queries_is_described_or_not_there(description, watched):
    api = watched[0].api()
    for path in re.findall(r'\{QueryKind::k\w+, "([^"]+)"\}', QUERY_CPP):
        is_described = path in {one.path for one in description.operations}
        assert is_described == (api.request("HEAD", path).status != 404), path


def test_every_code_of_the_sources_is_described(description):
    """Those that stand in tables, and those that are in a call. What belongs to no path is in the
    text before all paths."""
    of_no_path = set(re.findall(r"`(\w+)` \(\d{3}\)", description.text["info"]["description"]))
    there = set()
    for folder, pattern in (
            ("common/record_rules.cpp", r'^\s*\{"(\w+)", [45]\d\d,'),
            ("common/query.cpp", r'\*error = \{[^,]+, "(\w+)"'),
            ("ngx_module/ngx_http_sluice_answer.cpp", r'^    \{ \d{3}, "(\w+)"'),
            ("daemon/serve/*.cpp", r'(?:unavailable\(|problem_response\(\s*\{\d{3}, )"(\w+)"'),
            ("conf/nginx.conf", r'"code":"(\w+)"')):
        found = set()
        for path in ROOT.glob(folder):
            found |= set(re.findall(pattern, path.read_text(), re.M))
        assert found, f"no codes are found in {folder} any more"
        there |= found
    assert there - TOLD_NOBODY == description.codes() | of_no_path


def test_all_that_is_described_was_seen(contract, request):
    """Runs last, and only after all others."""
    here = [item for item in request.session.items if item.path == request.path]
    assert here[-1].name == request.node.name
    missing = sorted(set(contract.all_described()) - contract.seen)
    assert not missing, "never seen, though described (did all of this file run?):\n" + "\n".join(missing)
