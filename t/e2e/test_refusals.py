"""What the edge refuses, and how it says so; nothing of it reaches the stream."""

import json

PROBLEM = "application/problem+json"
GOOD = {"device_id": "d", "log_level": "INFO", "message": "m"}


def check_problem(answer, status):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.json["status"] == status
    assert answer.json["code"]
    assert answer.json["detail"]


def test_malformed_bodies_are_400(stack, api):
    bodies = [b"", b"{", b'{"device_id":', b"nonsense", b'{"device_id":"\xff"}', b'{"a":1,}', b"\0"]
    for body in bodies:
        answer = api.post("/api/log", body)
        check_problem(answer, 400)
    assert stack.redis.client.exists("logs:stream") == 0 or stack.redis.stream_length() == 0


BROKEN_RULES = [
    ({"device_id": None}, "device_id"),
    ({"device_id": ""}, "device_id"),
    ({"device_id": "x" * 51}, "device_id"),
    ({"device_id": "a\u0007b"}, "device_id"),
    ({"device_id": 7}, "device_id"),
    ({"log_level": "LOUD"}, "log_level"),
    ({"message": ""}, "message"),
    ({"message": ["m"]}, "message"),
    ({"log_data": "text"}, "log_data"),
    ({"log_data": [1]}, "log_data"),
    ({"timestamp": "yesterday"}, "timestamp"),
]


BROKEN_JSON = [
    ("malformed_json", b'{"a":}]', 5),
    ("malformed_json", b'{"a":"x\ty"}]', 7),
    ("malformed_json", b'{"a":"x}]', 9),
    ("invalid_utf8", b'{"a":"\xff"}]', 6),
]


def test_it_is_told_where_the_json_broke(api):
    good = b'[{"device_id":"d","log_level":"INFO","message":"m"},'
    for code, bad, offset in BROKEN_JSON:
        answer = api.post("/api/logs/batch", good + bad)
        check_problem(answer, 400)
        offset += len(good)
        assert (answer.json["code"], answer.json["offset"]) == (code, offset), answer
        assert answer.json["detail"].endswith(f" at byte {offset} of {len(good + bad)}"), answer


def test_what_is_wrong_with_the_body_is_not_told_as_a_record_s(api):
    bad = {**GOOD, "log_level": "loud"}
    for body, says in ((f"[{json.dumps(bad)},{{]", "broke at byte"),
                       (json.dumps([bad] + [GOOD] * 1000), "(1000)")):
        answer = api.post("/api/logs/batch", body)
        assert "log_level" not in answer.json["detail"] and says in answer.json["detail"], answer
        assert [error["field"] for error in answer.json["errors"]] == ["log_level"]
    wide = {**GOOD, "log_data": {"n": 10**64}}
    answer = api.post("/api/logs/batch", [GOOD, bad, wide, bad])
    assert answer.json["code"] == "unknown_level" and answer.json["bad_records"] == 3, answer
    assert answer.json["detail"].startswith("record 1: log_level: must be one of DEBUG"), answer


def test_a_record_too_large_is_told_the_limit(api):
    answer = api.post("/api/log", {**GOOD, "message": "x" * 256 * 1024})
    assert answer.json["code"] == "record_too_large" and "(262144 bytes)" in answer.json["detail"]


def test_a_broken_rule_is_422_and_names_the_field(api):
    for change, field in BROKEN_RULES:
        record = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
        answer = api.post("/api/log", record)
        check_problem(answer, 422)
        assert [error["field"] for error in answer.json["errors"]] == [field], (change, answer)


def test_what_json_allows_but_postgres_cannot_store_is_422(api):
    for log_data in (r'{"a":"\ud800"}', '{"a":' + "9" * 65 + "}", '{"a":1e309}',
                     '{"a":' + "[" * 70 + "]" * 70 + "}"):
        body = '{"device_id":"d","log_level":"INFO","message":"m","log_data":' + log_data + "}"
        check_problem(api.post("/api/log", body), 422)


def test_a_key_given_twice_is_422(api):
    body = '{"device_id":"d","log_level":"INFO","message":"m","message":"n"}'
    answer = api.post("/api/log", body)
    check_problem(answer, 422)
    assert answer.json["errors"][0]["field"] == "message"


def test_other_methods_are_405_with_allow(api):
    for path in ("/api/log", "/api/logs/batch"):
        for method in ("GET", "PUT", "DELETE"):
            answer = api.request(method, path)
            check_problem(answer, 405)
            assert answer.headers["Allow"] == "POST"


def test_too_large_a_body_is_413(api):
    check_problem(api.post("/api/log", {**GOOD, "message": "x" * (1024 * 1024 + 1)}), 413)
    assert api.log().status == 200


def test_other_media_types_are_415(api):
    for media_type in ("text/plain", "application/msgpack", "application/x-www-form-urlencoded"):
        answer = api.post("/api/log", GOOD, **{"Content-Type": media_type})
        check_problem(answer, 415)
    for media_type in ("application/json", "application/json; charset=utf-8"):
        assert api.post("/api/log", GOOD, **{"Content-Type": media_type}).status == 200


def test_unknown_paths_are_404(api):
    for path in ("/nowhere", "/nowhere.html", "/pages/nowhere.js", "/pages/", "/docs/"):
        check_problem(api.get(path), 404)


def test_unknown_fields_are_ignored(stack, api):
    assert api.log(colour="blue").status == 200
    stack.wait_rows(1)
