"""Limits: who sends more than is allowed is refused, told by what, and for how long."""

import time

import pytest

RECORD = {"device_id": "d", "log_level": "INFO", "message": "m"}
HTTP = "    sluice_zone sluice:512k;"


def limited(zones, limits, location="sluice batch;"):
    """Edits of nginx.conf: zones in http{}, limits in the location of batches."""
    return [(HTTP, HTTP + "\n" + "\n".join(f"    sluice_limit_zone {zone};" for zone in zones)),
            (location, location + "\n" + "\n".join(f"        {limit};" for limit in limits))]


def records(n, device="d"):
    return [{**RECORD, "device_id": device} for _ in range(n)]


def test_a_burst_passes_and_no_more(make_stack):
    stack = make_stack(nginx_edits=limited(["$http_x_client zone=clients:64k rate=10r/s"],
                                           ["sluice_limit zone=clients burst=20"])).start()
    api = stack.api()
    assert api.post("/api/logs/batch", records(20), **{"X-Client": "a"}).status == 200
    answer = api.post("/api/logs/batch", records(5), **{"X-Client": "a"})
    assert answer.status == 429
    assert answer.json["code"] == "rate_limited" and answer.json["limit"] == "clients"
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["RateLimit-Policy"] == '"clients";q=20;w=2;qu="records"'
    assert answer.headers["RateLimit"].startswith('"clients";r=')
    # others are not touched, nor is who has no key
    assert api.post("/api/logs/batch", records(20), **{"X-Client": "b"}).status == 200
    assert api.post("/api/logs/batch", records(50)).status == 200
    time.sleep(1)
    assert api.post("/api/logs/batch", records(5), **{"X-Client": "a"}).status == 200
    never = api.post("/api/logs/batch", records(21), **{"X-Client": "c"})
    assert never.status == 413 and never.json["code"] == "larger_than_limit"
    assert never.headers["Retry-After"] is None
    stack.wait_rows(95)


def test_partial_takes_what_fits(make_stack):
    stack = make_stack(nginx_edits=limited(["device_id zone=devices:64k rate=1r/m"],
                                           ["sluice_limit zone=devices burst=3"])).start()
    api = stack.api()
    batch = records(2, "a") + [7] + records(4, "b") + records(2, "a")
    answer = api.post("/api/logs/batch", batch, Prefer="handling=lenient")
    assert answer.status == 200, answer.body
    told = answer.json
    assert (told["count"], told["rejected"], told["withheld"]["count"]) == (6, 3, 2)
    assert told["withheld"]["indexes"] == [[6, 6], [8, 8]]
    assert told["withheld"]["code"] == "rate_limited"
    assert told["withheld"]["limit"] == "devices"
    stack.wait_rows(6)


def test_a_smoothed_burst_waits(make_stack):
    stack = make_stack(nginx_edits=limited(["$http_x_client zone=smooth:64k rate=10r/s"],
                                           ["sluice_limit zone=smooth burst=1 delay=1s"])).start()
    api = stack.api()
    begun = time.monotonic()
    for i in range(5):
        assert api.post("/api/logs/batch", records(1), **{"X-Client": "a"}).status == 200
    assert 0.35 < time.monotonic() - begun < 1
    stack.wait_rows(5)
