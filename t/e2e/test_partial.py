"""Batches of which the good records are stored: by directive, or because the client asks."""

import json

import pytest
from test_bodies import read_answer

GOOD = {"device_id": "good", "log_level": "INFO", "message": "m"}
PARTIAL = [("sluice_batch atomic;", "sluice_batch partial;")]


def batch():
    return [GOOD, {**GOOD, "log_level": "loud"}, GOOD, 7, {"device_id": ""}]


def assert_taken_in_part(answer):
    assert answer.status == 200, answer.body
    told = answer.json
    assert told["status"] == "queued"
    assert (told["count"], told["rejected"], len(told["message_ids"])) == (2, 3, 2)
    first = told["message_ids"][0].rpartition("-")
    assert told["message_ids"][1] == f"{first[0]}-{int(first[2]) + 1}"
    assert [(error["index"], error["field"], error["code"]) for error in told["errors"]][:3] == [
        (1, "log_level", "unknown_level"), (3, "", "record_not_an_object"),
        (4, "device_id", "empty")]
    assert told["errors"][0]["seen"] == '"loud"'
    assert "DEBUG" in told["errors"][0]["rule"]


def bad_records(stack, code):
    text = stack.api().get("/metrics").body.decode()
    line, = [line for line in text.splitlines()
             if line.startswith(f'sluice_edge_bad_records_total{{code="{code}"}}')]
    return int(line.split()[1])


def test_atomic_is_the_default(stack, api):
    answer = api.batch(batch())
    assert answer.status == 422
    assert answer.json["bad_records"] == 3
    assert bad_records(stack, "unknown_level") == 1
    assert api.batch([GOOD]).json.keys() == {"status", "count", "message_ids", "received_at"}
    stack.wait_rows(1)


def test_a_client_may_ask_for_it(stack, api):
    answer = api.post("/api/logs/batch", batch(), Prefer="respond-async, Handling = Lenient; x=1")
    assert_taken_in_part(answer)
    assert answer.headers["Preference-Applied"] == "handling=lenient"
    stack.wait_rows(2)
    assert bad_records(stack, "record_not_an_object") == 1
    for other in ("handling=lenientx", "handling", "xhandling=lenient", "return=minimal"):
        answer = api.post("/api/logs/batch", batch(), Prefer=other)
        assert answer.status == 422, other
        assert answer.headers["Preference-Applied"] is None


@pytest.mark.parametrize("prefer, status", [
    (['handling="lenient"'], 200),
    (["return=minimal", "handling=lenient"], 200),
    (["wait=1", "x", "return=minimal, handling=lenient"], 200),
    (["handling=strict", "handling=lenient"], 422),
    (["handling=lenient, handling=strict"], 200),
])
def test_a_preference_in_any_of_its_forms(api, prefer, status):
    body = json.dumps(batch()).encode()
    lines = ["POST /api/logs/batch HTTP/1.1", "Host: x", "Content-Type: application/json",
             f"Content-Length: {len(body)}", *(f"Prefer: {value}" for value in prefer)]
    connection = api.raw("\r\n".join([*lines, "", ""]).encode() + body)
    assert read_answer(connection)[0] == status
    connection.close()


def test_a_directive_makes_it_the_default(make_stack):
    stack = make_stack(nginx_edits=PARTIAL).start()
    api = stack.api()
    answer = api.batch(batch())
    assert_taken_in_part(answer)
    assert answer.headers["Preference-Applied"] is None
    assert api.batch([GOOD]).json["rejected"] == 0
    assert api.post("/api/logs/batch", batch(), Prefer="handling=strict").status == 422
    stack.wait_rows(3)
    assert stack.postgres.value("SELECT sum(n) FROM counters") == 3


@pytest.mark.parametrize("records", [[7], [{}, {}], [{**GOOD, "message": ""}]])
def test_nothing_good_is_refused(stack, api, records):
    answer = api.post("/api/logs/batch", records, Prefer="handling=lenient")
    assert answer.status == 422
    assert answer.json["bad_records"] == len(records)


def test_broken_json_is_refused_whole(stack, api):
    answer = api.post("/api/logs/batch", '[{"device_id":"d","log_level":"INFO","message":"m"},{]',
                      Prefer="handling=lenient")
    assert (answer.status, answer.json["code"]) == (400, "malformed_json")


def test_the_list_of_errors_is_short(stack, api):
    answer = api.post("/api/logs/batch", [GOOD] + [7] * 900, Prefer="handling=lenient")
    assert answer.status == 200
    assert (answer.json["count"], answer.json["rejected"]) == (1, 900)
    assert len(answer.json["errors"]) == 16
    stack.wait_rows(1)


def test_a_single_record_is_one_or_none(stack, api):
    answer = api.post("/api/log", {**GOOD, "message": ""}, Prefer="handling=lenient")
    assert answer.status == 422
