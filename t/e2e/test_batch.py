"""POST /api/logs/batch: one frame, all or nothing."""

from test_way import MESSAGE_ID, RFC3339


def records(count, **fields):
    return [
        {"device_id": f"d{n % 7}", "log_level": "INFO", "message": f"message {n}", **fields}
        for n in range(count)
    ]


def test_batch_is_answered_in_the_shape_of_the_api(stack, api):
    answer = api.batch(records(3))
    assert answer.status == 200
    body = answer.json
    assert set(body) == {"status", "count", "message_ids", "received_at"}
    assert body["status"] == "queued"
    assert body["count"] == 3
    assert RFC3339.match(body["received_at"])
    assert all(map(MESSAGE_ID.match, body["message_ids"]))
    entry = body["message_ids"][0].rpartition("-")[0]
    assert [i.rpartition("-")[0] for i in body["message_ids"]] == [entry] * 3, "one frame"
    positions = [int(i.rpartition("-")[2]) for i in body["message_ids"]]
    assert positions == list(range(positions[0], positions[0] + 3))
    stack.wait_rows(3)


def test_largest_batch_arrives_whole_and_in_order(stack, api):
    sent = records(1000, log_data={"padding": "x" * 500})
    assert api.batch(sent).json["count"] == 1000
    stack.wait_rows(1000)
    stored = stack.postgres.query("SELECT device_id, message FROM logs ORDER BY created_at, id")
    assert stored == [(record["device_id"], record["message"]) for record in sent]


def test_one_bad_record_refuses_the_whole_batch(stack, api):
    batch = records(5)
    batch[3]["log_level"] = "LOUD"
    answer = api.batch(batch)
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    errors = answer.json["errors"]
    assert [(error["index"], error["field"]) for error in errors] == [(3, "log_level")]
    assert api.batch(records(1)).status == 200
    stack.wait_rows(1)


def test_too_many_and_no_records_are_refused(stack, api):
    answer = api.batch(records(1001))
    assert (answer.status, answer.json["code"]) == (422, "too_many_records"), answer
    answer = api.batch([])
    assert (answer.status, answer.json["code"]) == (422, "empty_batch"), answer
