"""Whatever the edge accepts, Postgres stores, as it was sent: no dead letter, no changed byte."""

import json
import random

from harness.json_cases import read_cases
from harness.waiting import wait_until

TYPE = {"Content-Type": "application/json"}


def record_of(value, device_id="d"):
    return (b'{"device_id":"' + device_id.encode() + b'","log_level":"INFO","message":"m",'
            b'"log_data":{"v":' + value + b"}}")


def assert_nothing_dead(stack):
    stack.wait_drained()
    assert stack.postgres.value("SELECT count(*) FROM dead_letters") == 0


def test_every_case_of_json(stack, api):
    """Accepted or refused as its verdict says, over HTTP; and stored as Postgres reads it itself."""
    accepted = []
    for number, (name, verdict, text) in enumerate(read_cases()):
        answer = api.request("POST", "/api/log", record_of(text, f"case-{number}"), TYPE)
        if verdict == "yes":
            assert answer.status == 200, (name, answer.body)
            accepted.append((number, name, text))
        elif verdict == "*":
            assert answer.json["code"] in ("malformed_json", "invalid_utf8"), name
        else:
            assert answer.json["code"] == verdict, name
    stack.wait_rows(len(accepted))
    assert_nothing_dead(stack)
    for number, name, text in accepted:
        as_sent = text.decode().replace("\\\\u0000", "\x00").replace("\\u0000", "\\ufffd")
        same = stack.postgres.value(
            "SELECT log_data = jsonb_build_object('v', %s::jsonb) FROM logs WHERE device_id = %s",
            as_sent.replace("\x00", "\\\\u0000"), f"case-{number}")
        assert same, name


def nasty_text(dice, most):
    kinds = [
        lambda: chr(dice.randint(0x20, 0x7e)),
        lambda: chr(dice.randint(0x01, 0x1f)),
        lambda: dice.choice('\\"/\t\n\r\b\f\x7f'),
        lambda: chr(dice.randint(0x80, 0x7ff)),
        lambda: chr(dice.choice([0x800, 0x2028, 0x2029, 0xfeff, 0xfffd, 0xfffe, 0xffff, 0xfdd0])),
        lambda: chr(dice.randint(0x10000, 0x10ffff)),
        lambda: dice.choice(["\\N", "\\.", "\\x41", "\\u0000", "%s", "{}", "NULL", "'; --"]),
    ]
    return "".join(dice.choice(kinds)() for _ in range(dice.randint(1, most)))


def nasty_value(dice, depth=0):
    kind = dice.randrange(8 if depth < 6 else 5)
    if kind == 0:
        return dice.choice([None, True, False])
    if kind == 1:
        return dice.choice([0, -1, 2**53 + 1, -2**63, 2**64, 10**63, 1e308, -1e-307, 0.1])
    if kind < 5:
        return nasty_text(dice, 12)
    if kind == 5:
        return [nasty_value(dice, depth + 1) for _ in range(dice.randrange(5))]
    return {nasty_text(dice, 8): nasty_value(dice, depth + 1) for _ in range(dice.randrange(5))}


def test_nasty_records(stack, api):
    """Random text and data in both ways JSON has to write them; compared in Postgres."""
    dice = random.Random(20241114)
    sent = {}
    for batch in range(20):
        records = []
        for number in range(50):
            device = f"{batch}-{number}"
            message, data = nasty_text(dice, 60), {nasty_text(dice, 9): nasty_value(dice)}
            sent[device] = message, data
            record = {"device_id": device, "log_level": "INFO", "message": message, "log_data": data}
            records.append(json.dumps(record, ensure_ascii=dice.random() < 0.5))
        body = "[" + ",".join(records) + "]"
        answer = api.request("POST", "/api/logs/batch", body.encode(), TYPE)
        assert answer.status == 200, answer.body
    stack.wait_rows(len(sent))
    assert_nothing_dead(stack)
    rows = stack.postgres.query("SELECT device_id, message, log_data::text FROM logs")
    assert len(rows) == len(sent)
    for device, message, data in rows:
        assert message == sent[device][0], device
        same = stack.postgres.value("SELECT %s::jsonb = %s::jsonb", data, json.dumps(sent[device][1]))
        assert same, device


def test_a_chunked_body_split_at_every_byte(stack, api):
    """Where a body is cut on its way makes no difference."""
    record = '{"device_id":"é","log_level":"info","message":"a\\u20acb\\"","log_data":{"n":[1.50,{}]}}'
    body = record.encode()
    for cut in range(1, len(body)):
        answer = api.request("POST", "/api/log", iter([body[:cut], body[cut:]]), TYPE)
        assert answer.status == 200, (cut, answer.body)
    wait_until(lambda: stack.rows() == len(body) - 1, 20, "all are stored")
    assert stack.postgres.query("SELECT DISTINCT device_id, message, log_data::text FROM logs") == [
        ("é", 'a€b"', '{"n": [1.50, {}]}')]
    assert_nothing_dead(stack)
