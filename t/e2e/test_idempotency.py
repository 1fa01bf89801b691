"""A request with an Idempotency-Key is stored once, however often it is sent."""

import pytest
from harness.limits import assert_limited, lenient, limited, of_devices, records, send
from harness.waiting import wait_until

RECORD = {"device_id": "d", "log_level": "INFO", "message": "once"}


def post(api, body, key, path="/api/log", **headers):
    return api.post(path, body, **{"Idempotency-Key": key, **headers})


def rows_settle(stack, count):
    stack.wait_drained()
    assert stack.rows() == count
    counted = stack.postgres.value("SELECT coalesce(sum(n), 0) FROM counters")
    assert counted == count, "counters agree"


def test_the_same_request_again_is_stored_once(stack, api):
    answers = [post(api, RECORD, "key-1") for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert all(answer.json["status"] == "queued" for answer in answers)
    rows_settle(stack, 1)
    # Also after what came before was loaded.
    assert post(api, RECORD, "key-1").status == 200
    rows_settle(stack, 1)


def test_a_batch_with_a_key_is_stored_once(stack, api):
    batch = {"logs": [{**RECORD, "message": str(i)} for i in range(50)]}
    for _ in range(3):
        assert post(api, batch, "batch", "/api/logs/batch").json["count"] == 50
    rows_settle(stack, 50)


def test_in_partial_mode_what_is_stored_for_a_key_does_not_depend_on_limits(make_stack):
    """Else the same request, sent again when more of it fits, would be told of records that nobody
    stores: to the loader it is the same frame."""
    stack = make_stack(nginx_edits=limited(["$http_x_client zone=senders:64k rate=20r/m"],
                                           ["zone=senders burst=5"])).start()
    api = stack.api()
    batch = [*records(2), 7, *records(3)]
    assert send(api, records(3)).status == 200
    assert_limited(lenient(api, batch, **{"Idempotency-Key": "k"}), "senders")
    wait_until(lambda: lenient(api, batch, **{"Idempotency-Key": "k"}).status == 200, 20)
    answer = lenient(api, batch, "b", **{"Idempotency-Key": "k"}).json
    assert (answer["count"], answer["rejected"]) == (5, 1)
    assert [error["index"] for error in answer["errors"]] == [2]
    rows_settle(stack, 3 + 5)


def test_a_batch_in_part_with_a_key_is_given_back_whole(make_edge):
    stack = make_edge(("sluice_timeout 5s;", "sluice_timeout 60s; sluice_breaker off;"),
                      *limited(["device_id zone=devices:64k rate=1r/m"], ["zone=devices burst=3"]))
    api = stack.api()
    stack.scripted.on_xadd = lambda frame: b"-OOM full\r\n"
    batch = of_devices("aabba") + [7]
    answer = lenient(api, batch, **{"Idempotency-Key": "k"})
    assert answer.json["code"] == "redis_full"
    stack.scripted.on_xadd = stack.scripted.store
    assert lenient(api, batch, **{"Idempotency-Key": "k"}).json["count"] == 5
    assert_limited(send(api, of_devices("a")), "devices")
    assert send(api, of_devices("b")).status == 200


def test_nothing_is_swallowed_by_a_key_used_for_something_else(stack, api):
    post(api, RECORD, "key")
    post(api, {**RECORD, "message": "another"}, "key")
    post(api, RECORD, "another key")
    rows_settle(stack, 3)


def test_without_a_key_the_same_record_twice_is_two(stack, api):
    assert api.post("/api/log", RECORD).status == 200
    assert api.post("/api/log", RECORD).status == 200
    rows_settle(stack, 2)


def test_principals_have_keys_of_their_own(make_stack):
    stack = make_stack(nginx_edits=[
        ("sluice log;", "sluice log; sluice_principal $http_x_tenant;")]).start()
    api = stack.api()
    for tenant in ("a", "b", "a"):
        assert post(api, RECORD, "key", **{"X-Tenant": tenant}).status == 200
    rows_settle(stack, 2)


def test_a_keyed_request_does_not_take_others_with_it(stack, api):
    for i in range(20):
        assert api.log(message=f"plain {i}").status == 200
        assert post(api, RECORD, "key").status == 200
    rows_settle(stack, 21)


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"])
def test_what_is_no_key_is_refused(stack, api, key):
    answer = post(api, RECORD, key)
    assert answer.status == 400, answer
    assert answer.json["code"] == "bad_idempotency_key"
    assert stack.redis.stream_length() == 0


def test_a_key_given_twice_is_refused(stack, api):
    connection = api.raw(
        b"POST /api/log HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n"
        b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n{}")
    assert b"bad_idempotency_key" in connection.recv(65536)
    connection.close()


def test_a_retry_after_the_loader_was_killed(stack, api):
    for i in range(200):
        assert post(api, {**RECORD, "message": str(i)}, f"key {i}").status == 200
        if i % 50 == 25:
            stack.loader.kill()
            stack.loader.start()
    for i in range(200):
        assert post(api, {**RECORD, "message": str(i)}, f"key {i}").status == 200
    wait_until(lambda: stack.rows() >= 200, 20, "they are stored")
    rows_settle(stack, 200)
