"""Content types: which of them a path takes, as what, and that a refusal names all of them."""

import json
import re

import pytest

LOG, BATCH = "/api/log", "/api/logs/batch"
RECORD = {"device_id": "d", "log_level": "INFO", "message": "m"}
LINES = "\n".join(json.dumps({**RECORD, "message": str(i)}) for i in range(3)) + "\n"
RECORDS_TYPES = ["application/x-ndjson", "application/ndjson", "application/jsonl",
                 "application/x-jsonlines", "application/stream+json"]
OTHER_TYPES = ["text/plain", "text/json", "application/json-seq", "application/msgpack",
               "application/jsonx", "application/+json", "application/", "json", "x/y+json",
               "application/x-www-form-urlencoded", "application/octet-stream"]


def send(api, path, content_type, body):
    return api.request("POST", path, body, {} if content_type is None
                       else {"Content-Type": content_type})


def check_refused(answer):
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type"), answer
    return answer.json["detail"]


def test_a_record_a_line(stack, api):
    for content_type in RECORDS_TYPES:
        answer = send(api, BATCH, content_type, LINES)
        assert answer.status == 200, (content_type, answer)
        assert answer.json["count"] == 3
        check_refused(send(api, LOG, content_type, json.dumps(RECORD)))
    stack.wait_rows(3 * len(RECORDS_TYPES))


def test_a_record_a_line_is_not_a_batch_in_an_object(api):
    for content_type in RECORDS_TYPES:
        answer = send(api, BATCH, content_type, {"logs": [RECORD]})
        assert (answer.status, answer.json["code"]) == (422, "missing"), answer


@pytest.mark.parametrize("content_type", [
    None, "application/json", "Application/JSON", "application/json;charset=utf-8",
    'application/json; charset="UTF-8"', "application/json ; profile=x; charset=utf8",
    "application/vnd.acme.log+json", "application/vnd.acme.log+JSON; charset=utf-8"])
def test_json_is_taken_by_both(stack, api, content_type):
    assert send(api, LOG, content_type, RECORD).status == 200
    assert send(api, BATCH, content_type, {"logs": [RECORD] * 2}).json["count"] == 2
    assert send(api, BATCH, content_type, [RECORD] * 3).json["count"] == 3
    assert send(api, BATCH, content_type, LINES).json["count"] == 3
    stack.wait_rows(9)


def test_letters_of_any_case_and_a_charset(api):
    for content_type in ("APPLICATION/X-NDJSON", "application/x-ndjson; charset=utf-8",
                         "Application/Stream+JSON;charset=UTF-8"):
        assert send(api, BATCH, content_type, LINES).status == 200, content_type


def test_other_charsets_are_refused(api):
    for charset in ("iso-8859-1", "utf-16", '"latin1"', "", "utf-8x"):
        for path in (LOG, BATCH):
            check_refused(send(api, path, f"application/json; charset={charset}", RECORD))
        check_refused(send(api, BATCH, f"application/x-ndjson; charset={charset}", LINES))


def test_other_types_are_refused_with_a_list_of_what_is_taken(stack, api):
    for path, body in ((LOG, json.dumps(RECORD)), (BATCH, LINES)):
        details = {check_refused(send(api, path, other, body)) for other in OTHER_TYPES}
        detail, = details
        named = re.findall(r"application/[\w.+-]+\w", detail.replace("...", "vnd.acme"))
        assert len(named) == (2 if path == LOG else 2 + len(RECORDS_TYPES)), detail
        for content_type in named:
            assert send(api, path, content_type, body).status == 200, content_type
    stack.wait_rows(2 + 3 * (2 + len(RECORDS_TYPES)))
