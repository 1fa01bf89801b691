"""Limits: who sends more than is allowed is refused, told by what, and for how long. Most are so slow
here that nothing comes back while a test runs, so what passes is an exact number."""

import collections
import json
import math
import re
import threading
import time

import pytest
from harness.limits import (
    HTTP, SLOW, assert_limited, left, lenient, limited, of_devices, records, send,
)
from harness.load import Load
from harness.waiting import wait_until
from test_metrics import metrics

SENDERS = f"$http_x_client zone=senders:64k {SLOW}"
DEVICES = f"device_id zone=devices:64k {SLOW}"
# Nothing between Redis and the limits: what it says comes through, however late it is.
PATIENT = ("sluice_timeout 5s;", "sluice_timeout 60s; sluice_breaker off;")
# And a quick end for what Redis does not confirm.
IMPATIENT = ("sluice_timeout 5s;", "sluice_timeout 1s; sluice_breaker off;")
OOM = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
BAD = 7


def counted(stack, limit):
    """What its metrics say, those that are 0 left out."""
    found = {}
    for name, value in metrics(stack.api())[1].items():
        match = re.fullmatch(r'sluice_edge_limit_(\w+)_total\{limit="([\w-]+)"(?:,code="(\w+)")?\}',
                             name)
        if match and match[2] == limit and value:
            found[match[3] or match[1]] = value
    return found


def seconds(answer):
    """How long it takes, of a limit of which nothing is left."""
    return int(re.fullmatch(r'"[\w-]+";r=0;t=(\d+)', answer.headers["RateLimit"])[1])


def stored(stack):
    return sum(frame.records for frame in stack.scripted.frames)


def test_a_burst_passes_and_no_more(make_stack):
    stack = make_stack(nginx_edits=limited(["$http_x_client zone=senders:64k rate=1r/s"],
                                           ["zone=senders burst=20"])).start()
    api = stack.api()
    assert send(api, records(20)).status == 200
    answer = send(api, records(15))
    told = assert_limited(answer, "senders")
    assert re.fullmatch(r"limit senders: 1 records/s, burst 20; this request has 15 records, \d+ "
                        r"remain; nothing was stored, send again in \d+ s", told["detail"]), told
    assert answer.headers["Retry-After"] in told["detail"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 15
    assert answer.headers["RateLimit-Policy"] == '"senders";q=20;w=20;qu="records"'
    assert re.fullmatch(r'"senders";r=\d+;t=\d+', answer.headers["RateLimit"])
    # others are not touched, nor is who has no key
    assert send(api, records(20), "b").status == 200
    assert api.batch(records(50)).status == 200
    time.sleep(1)
    assert send(api, records(1)).status == 200
    stack.wait_rows(91)


def test_retry_after_is_exact(make_edge):
    """Before it the same is refused, and then it passes."""
    stack = make_edge(*limited(["$http_x_client zone=senders:64k rate=1r/s"],
                               ["zone=senders burst=6"]))
    api = stack.api()
    before = time.monotonic()
    assert send(api, records(6)).status == 200
    after = time.monotonic()

    def check_refused():
        """Its time lies between the test's, so what is left of six seconds does too. A machine that
        stands still until they are over has nothing to show."""
        earliest = time.monotonic()
        answer = send(api, records(6))
        latest = time.monotonic()
        if latest > before + 6:
            pytest.skip("it took six seconds to ask")
        assert_limited(answer, "senders")
        told = int(answer.headers["Retry-After"])
        assert math.ceil(before + 6 - latest) <= told <= math.ceil(after + 6 - earliest)
        assert answer.headers["RateLimit"].endswith(f";t={told}")

    check_refused()
    time.sleep(2.2)
    check_refused()
    time.sleep(max(0, after + 6 - time.monotonic()))
    assert send(api, records(6)).status == 200


def test_of_what_is_owed_for_long_the_header_has_a_minute(make_edge):
    stack = make_edge(*limited([SENDERS], ["zone=senders burst=5"]))
    api = stack.api()
    assert send(api, records(5)).status == 200
    answer = send(api, records(3))
    assert answer.headers["Retry-After"] == "60"
    assert seconds(answer) in range(170, 181)


def test_bytes_are_those_of_rows(make_edge):
    stack = make_edge(*limited(["$http_x_client zone=volume:64k rate=1b/m"],
                               ["zone=volume burst=1k"]))
    api = stack.api()
    assert send(api, records(1), "other").status == 200
    row = len(stack.scripted.frames[0].rows)
    assert send(api, records(2)).status == 200
    assert left(api) == 1024 // row - 2
    answer = send(api, records(1))
    assert_limited(answer, "volume")
    assert answer.headers["RateLimit-Policy"] == '"volume";q=1024;w=61440;qu="content-bytes"'
    assert f"this request has {row} bytes, {1024 % row} remain" in answer.json["detail"]
    never = send(api, records(1024 // row + 1), "b")
    told = assert_limited(never, "volume", "larger_than_limit", 413)
    assert "more than 1024 at once can never pass" in told["detail"]


def test_single_records_are_charged_too(make_edge):
    edits = limited([SENDERS], [])
    edits += [("            sluice log;", "            sluice log;\n"
               "            sluice_limit zone=senders burst=3;")]
    stack = make_edge(*edits)
    api = stack.api()
    record = records(1)[0]
    statuses = [api.post("/api/log", record, **{"X-Client": "a"}).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


def test_locations_that_share_a_zone_share_what_is_owed(make_edge):
    """Each with its own burst; the smaller one forgives nothing that the other let be owed."""
    edits = limited([SENDERS], ["zone=senders burst=100"])
    edits += [("            sluice log;", "            sluice log;\n"
               "            sluice_limit zone=senders burst=2;")]
    stack = make_edge(*edits)
    api = stack.api()
    assert send(api, records(90)).status == 200
    answer = api.post("/api/log", records(1)[0], **{"X-Client": "a"})
    assert_limited(answer, "senders")
    assert seconds(answer) in range(89 * 60 - 10, 89 * 60 + 1)
    assert left(api) == 10


def test_what_is_too_large_for_ever_is_told_so(make_edge):
    stack = make_edge(*limited([SENDERS, DEVICES], ["zone=senders burst=6", "zone=devices burst=3"]))
    api = stack.api()
    answer = send(api, of_devices("pqrstuv"))
    told = assert_limited(answer, "senders", "larger_than_limit", 413)
    assert told["detail"] == (
        "limit senders: 1 records/m, burst 6; this request has 7 records; more than 6 at once can "
        "never pass, send less in one request")
    assert answer.headers["Retry-After"] is None
    assert answer.headers["RateLimit"] == '"senders";r=6'
    told = assert_limited(send(api, of_devices("pqpqpp")), "devices", "larger_than_limit", 413)
    assert "1 records/m of a device, burst 3; this request has 4 records of p;" in told["detail"]
    # nothing of all that was charged
    assert left(api, device="p") == 3
    assert left(api, device="q") == 3
    assert counted(stack, "senders") == {"larger_than_limit": 7}
    assert counted(stack, "devices") == {"larger_than_limit": 6, "rate_limited": 2}


def test_a_batch_is_charged_to_each_of_its_devices(make_edge):
    stack = make_edge(*limited([DEVICES], ["zone=devices burst=4"]))
    api = stack.api()
    batch = of_devices(["a", "b", "a", "c\\", "c\\", "a", "b", "a"])
    assert send(api, batch).status == 200
    told = assert_limited(send(api, of_devices(["b", "c\\", "c\\", "b", "c\\"])), "devices")
    assert "this request has 3 records of c\\, 2 remain" in told["detail"]
    assert [left(api, device=device) for device in ("a", "b", "c\\")] == [0, 2, 2]


def test_of_several_limits_the_one_that_refuses_is_told_and_no_other_is_charged(make_edge):
    stack = make_edge(*limited(
        [SENDERS, DEVICES, f"$host zone=all:64k {SLOW}"],
        ["zone=senders burst=10", "zone=devices burst=3", "zone=all burst=17"]))
    api = stack.api()
    policies = '"senders";q=10;w=600;qu="records", "devices";q=3;w=180;qu="records", ' \
               '"all";q=17;w=1020;qu="records"'
    assert send(api, records(3, "x"), "a").status == 200  # senders 7, x 0, all 14
    answer = send(api, of_devices("yxy"), "a")
    assert_limited(answer, "devices")
    assert answer.headers["RateLimit-Policy"] == policies
    assert send(api, of_devices("pqrstuy"), "a").status == 200  # senders 0, y 2, all 7
    assert_limited(send(api, of_devices("y"), "a"), "senders")
    assert send(api, of_devices("yyABC"), "b").status == 200  # senders of b 5, all 2
    assert_limited(send(api, of_devices("DEF"), "b"), "all")
    assert left(api, "b", "D") == 2
    assert left(api, "b", "E") == 0, "all"
    assert counted(stack, "senders") == {"rate_limited": 1}
    assert counted(stack, "devices") == {"rate_limited": 3}
    assert counted(stack, "all") == {"rate_limited": 5}
    assert stored(stack) == 17


def test_of_several_that_refuse_the_one_is_told_that_does_for_longest(make_edge):
    """Who comes back then is let in by all."""
    stack = make_edge(*limited(
        ["$http_x_client zone=soon:64k rate=6r/m", "$http_x_client zone=late:64k rate=3r/m",
         "device_id zone=devices:64k rate=3r/m"],
        ["zone=soon burst=2", "zone=late burst=2", "zone=devices burst=2"]))
    api = stack.api()
    assert send(api, of_devices("ab")).status == 200
    answer = send(api, of_devices("cd"))
    assert_limited(answer, "late")
    assert int(answer.headers["Retry-After"]) in range(31, 41)
    # and of several devices
    assert send(api, of_devices("pqq"), "b").status == 413
    assert send(api, of_devices("qq"), "b").status == 200
    assert send(api, of_devices("p"), "c").status == 200
    answer = send(api, of_devices("pq"), "d")
    assert_limited(answer, "devices")
    assert int(answer.headers["Retry-After"]) in range(11, 21)
    assert "1 records of q, 0 remain" in answer.json["detail"]


@pytest.mark.parametrize("error", [
    OOM, b"-NOPERM this user has no permissions\r\n", b"-READONLY You can't write\r\n"])
def test_what_redis_refused_is_given_back(make_edge, error):
    stack = make_edge(PATIENT, *limited([SENDERS, DEVICES],
                                        ["zone=senders burst=10", "zone=devices burst=4"]))
    api = stack.api()
    assert send(api, of_devices("abc")).status == 200
    stack.scripted.on_xadd = lambda frame: error
    for _ in range(3):
        def refused():
            answer = send(api, of_devices("aabbcc"))
            assert answer.status == 503, answer
            return answer.json["code"] in ("redis_full", "redis_refused", "redis_unavailable")

        wait_until(refused, 5)
    refusals = stack.scripted.frames[1:]
    assert len(refusals) >= 3
    stack.scripted.on_xadd = stack.scripted.store
    wait_until(lambda: send(api, of_devices("e"), "other").status == 200, 5)
    assert counted(stack, "senders")["given_back_records"] >= 18
    assert counted(stack, "devices")["given_back_records"] >= 18
    assert send(api, of_devices("aaabbcc")).status == 200
    assert left(api) == 0
    assert [left(api, client="other", device=device) for device in "abc"] == [0, 1, 1]


def test_what_was_charged_on_top_of_a_debt_is_given_back_in_full(make_edge):
    stack = make_edge(PATIENT, *limited(["$http_x_client zone=senders:64k rate=2r/s"],
                                        ["zone=senders burst=20"]))
    api = stack.api()
    assert send(api, records(10)).status == 200
    stack.scripted.on_xadd = lambda frame: time.sleep(3) or OOM
    assert send(api, records(10)).json["code"] == "redis_full"
    stack.scripted.on_xadd = stack.scripted.store
    # 16 of them by the clock
    assert send(api, records(15)).status == 200
    assert_limited(send(api, records(12)), "senders")


def test_partial_what_redis_refused_is_given_back(make_edge):
    stack = make_edge(PATIENT, *limited([SENDERS, DEVICES],
                                        ["zone=senders burst=10", "zone=devices burst=4"]))
    api = stack.api()
    stack.scripted.on_xadd = lambda frame: OOM
    answer = lenient(api, of_devices("abababababab"))
    assert answer.status == 503 and answer.json["code"] == "redis_full"
    assert int(answer.headers["Retry-After"]) < 60, "not that of the limit that withheld some"
    stack.scripted.on_xadd = stack.scripted.store
    assert send(api, of_devices("aaaabbbb")).status == 200
    assert left(api, device="c") == 2


def test_while_redis_is_away_nothing_is_charged(make_edge):
    stack = make_edge(IMPATIENT, *limited([SENDERS], ["zone=senders burst=10"]))
    api = stack.api()
    stack.scripted.stop()
    stack.allow(r"connect\(\) to unix:.*redis\.sock failed")
    for _ in range(5):
        answer = send(api, records(10))
        assert answer.status == 503, answer
        assert answer.json["code"] in ("redis_unavailable", "redis_timeout"), answer
    stack.scripted.start()
    wait_until(lambda: api.get("/health/ready").status == 200, 10, "Redis is back")
    assert send(api, records(10)).status == 200


def test_what_may_be_stored_is_not_given_back(make_edge):
    stack = make_edge(IMPATIENT, *limited([SENDERS], ["zone=senders burst=10"]))
    api = stack.api()
    stack.scripted.on_xadd = lambda frame: None
    answer = send(api, records(6))
    assert answer.json["code"] == "outcome_unknown", answer
    stack.scripted.on_xadd = stack.scripted.store
    wait_until(lambda: api.get("/health/ready").status == 200, 10, "Redis is back")
    assert send(api, records(4)).status == 200
    assert left(api) == 0
    assert "given_back_records" not in counted(stack, "senders")


def test_partial_takes_what_fits(make_stack):
    stack = make_stack(nginx_edits=limited([DEVICES], ["zone=devices burst=3"])).start()
    api = stack.api()
    batch = records(2, "a") + [BAD] + records(4, "b") + records(2, "a")
    answer = lenient(api, batch)
    assert answer.status == 200, answer.body
    told = answer.json
    assert (told["count"], told["rejected"]) == (6, 3)
    assert told["withheld"].pop("retry_after") in range(50, 61)
    assert told["withheld"] == {"count": 2, "code": "rate_limited", "limit": "devices",
                                "indexes": [[6, 6], [8, 8]]}
    assert [error["index"] for error in told["errors"]] == [2]
    assert counted(stack, "devices") == {"rate_limited": 2}
    stack.wait_rows(6)
    # a batch of which all is withheld is refused, whatever else is bad in it
    answer = lenient(api, records(2, "a") + [BAD] + records(1, "b"))
    told = assert_limited(answer, "devices")
    assert int(answer.headers["Retry-After"]) in range(50, 61)
    assert "none of these 3 records fits" in told["detail"]
    assert counted(stack, "devices") == {"rate_limited": 5}


def test_partial_ranges_are_all_told(make_edge):
    stack = make_edge(*limited([DEVICES], ["zone=devices burst=1"]))
    devices = [f"d{i % 300}" if i % 3 else "same" for i in range(1000)]
    told = lenient(stack.api(), of_devices(devices)).json
    seen = set()
    fit = [i for i, device in enumerate(devices) if not (device in seen or seen.add(device))]
    withheld = [i for first, last in told["withheld"]["indexes"] for i in range(first, last + 1)]
    assert withheld == sorted(set(range(1000)) - set(fit))
    assert told["withheld"]["count"] == told["rejected"] == 1000 - len(fit)
    assert told["count"] == len(fit) == stored(stack)


def test_partial_what_never_fits_does_not_speak_for_the_others(make_edge):
    stack = make_edge(*limited(["$http_x_client zone=volume:64k rate=100b/m"],
                               ["zone=volume burst=100"]))
    api = stack.api()
    small, large = records(1)[0], {**records(1)[0], "message": "m" * 100}
    assert left(api, most=20) < 10
    answer = lenient(api, [large, small, large])
    assert_limited(answer, "volume")
    answer = lenient(api, [large, large])
    assert_limited(answer, "volume", "larger_than_limit", 413)
    answer = lenient(api, [large, small], "b")
    assert answer.status == 200
    assert answer.json["withheld"]["code"] == "larger_than_limit"
    assert answer.json["withheld"]["retry_after"] == 0


def test_partial_what_remains_is_of_the_limit_that_is_told(make_edge):
    stack = make_edge(*limited([DEVICES, "$http_x_client zone=volume:64k rate=100b/m"],
                               ["zone=devices burst=1", "zone=volume burst=30"]))
    api = stack.api()
    assert send(api, records(1, "d")).status == 200
    large = {**records(1, "e")[0], "message": "m" * 20}
    answer = lenient(api, [records(1, "d")[0], large])
    assert_limited(answer, "devices")
    assert answer.headers["RateLimit"] == '"devices";r=0;t=60'
    assert "none of these 2 records fits, 0 records remain" in answer.json["detail"]


@pytest.mark.parametrize("end", [b",{]", b"] x", b",", b',{"device_id":"\xff"}]'])
def test_partial_what_is_refused_whole_is_given_back(make_edge, end):
    stack = make_edge(*limited([SENDERS, DEVICES], ["zone=senders burst=8", "zone=devices burst=3"]))
    api = stack.api()
    body = json.dumps(of_devices("aaaabbb")).encode()[:-1] + end
    for _ in range(3):
        assert lenient(api, body).status == 400
    assert send(api, of_devices("aaabbb")).status == 200
    assert [left(api, device="c"), left(api, client="other", device="c")] == [2, 1]


def test_partial_too_many_records_are_given_back(make_edge):
    stack = make_edge(*limited([SENDERS], ["zone=senders burst=8"]))
    api = stack.api()
    assert lenient(api, records(1001)).json["code"] == "too_many_records"
    assert send(api, records(8)).status == 200


def test_a_limit_on_trial_only_counts(make_edge):
    stack = make_edge(*limited([SENDERS, DEVICES], ["zone=senders burst=5 dry_run",
                                                    "zone=devices burst=8"]))
    api = stack.api()
    for status, n in ((200, 5), (200, 2), (429, 2)):
        answer = send(api, records(n))
        assert answer.status == status
    assert answer.headers["RateLimit-Policy"] == '"devices";q=8;w=480;qu="records"'
    assert counted(stack, "senders") == {"dry_run_refused_records": 2}
    assert send(api, of_devices("pqrstuv"), "b").status == 200
    assert counted(stack, "senders") == {"dry_run_refused_records": 9}
    assert logged(stack, 4, "limit", "limit_status") == [
        "/PASSED", "senders/REJECTED_DRY_RUN", "devices/REJECTED", "senders/REJECTED_DRY_RUN"]


def test_a_limit_on_trial_gets_back_what_is_not_stored(make_edge):
    stack = make_edge(PATIENT, *limited([SENDERS], ["zone=senders burst=5 dry_run"]))
    api = stack.api()
    stack.scripted.on_xadd = lambda frame: OOM
    for _ in range(3):
        assert send(api, records(5)).json["code"] == "redis_full"
    stack.scripted.on_xadd = stack.scripted.store
    assert send(api, records(5)).status == 200
    assert counted(stack, "senders") == {"given_back_records": 15}


def logged(stack, count, *names):
    """Of each line of the access log these fields."""
    return ["/".join(line[name] for name in names) for line in stack.nginx.logged_posts(count)]


def test_the_access_log_says_which_limit_did_what(make_edge):
    stack = make_edge(*limited(
        ["$http_x_client zone=senders:64k rate=20r/m"], ["zone=senders burst=2 delay=3s"]))
    api = stack.api()
    assert api.batch(records(1)).status == 200
    assert api.batch([BAD]).status == 422
    for status, n in ((200, 2), (429, 3), (413, 4)):
        assert send(api, records(n)).status == status
    assert send(api, records(3), "b").status == 200
    assert lenient(api, records(9), "c").status == 200
    assert logged(stack, 7, "outcome", "limit", "limit_status", "reason") == [
        "queued///", "refused///record_not_an_object", "queued//PASSED/",
        "limited/senders/REJECTED/rate_limited", "refused/senders/REJECTED/larger_than_limit",
        "queued/senders/DELAYED/", "queued/senders/REJECTED/"]


def test_another_status(make_edge):
    stack = make_edge(*limited([SENDERS], ["zone=senders burst=5"], "sluice_limit_status 503"))
    api = stack.api()
    assert send(api, records(5)).status == 200
    answer = send(api, records(1))
    assert_limited(answer, "senders", status=503)
    assert answer.json["title"] == "Service Unavailable"
    assert int(answer.headers["Retry-After"]) in range(50, 61)
    assert_limited(send(api, records(6)), "senders", "larger_than_limit", 413)


def test_limits_are_inherited_or_replaced(make_edge):
    edits = limited([SENDERS, DEVICES], [])
    edits[0] = (HTTP, edits[0][1] + "\n    sluice_limit zone=senders burst=2;")
    edits += [("            sluice log;", "            sluice log;\n"
               "            sluice_limit zone=devices burst=4;"),
              ("        sluice_limit zone=clients burst=1000000000;\n", "")]
    stack = make_edge(*edits)
    api = stack.api()
    assert left(api) == 2
    statuses = [api.post("/api/log", records(1)[0], **{"X-Client": "a"}).status for _ in range(5)]
    assert statuses == [200] * 4 + [429]


def full_zone(make_edge, full):
    stack = make_edge(*limited([f"{DEVICES} full={full}"], ["zone=devices burst=2"]))
    api = stack.api()
    answers = [lenient(api, of_devices([f"{b}-{i}" for i in range(1000)])) for b in range(8)]
    return stack, api, answers


def test_a_full_zone_that_is_closed_takes_no_one_new(make_edge):
    stack, api, answers = full_zone(make_edge, "closed")
    assert answers[0].status == 200 and answers[0].json["rejected"] == 0
    taken = stored(stack)
    assert 3000 < taken <= 4096
    codes = collections.Counter(
        answer.json["withheld"]["code"] if answer.status == 200 else answer.json["code"]
        for answer in answers if answer.status != 200 or answer.json["rejected"])
    assert set(codes) == {"limit_table_full"} and codes.total() >= 4, codes
    assert counted(stack, "devices") == {"limit_table_full": 8000 - taken}
    answer = send(api, of_devices([f"new-{i}" for i in range(100)]))
    told = assert_limited(answer, "devices", "limit_table_full")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "too many others" in told["detail"]
    # those who are counted are not touched, and what was refused was not charged
    assert send(api, of_devices(["0-1", "0-2"])).status == 200
    assert_limited(send(api, of_devices(["0-1"])), "devices")


def test_a_full_zone_that_is_open_forgets_who_owes_least(make_edge):
    stack, _, answers = full_zone(make_edge, "open")
    assert all(answer.status == 200 and answer.json["rejected"] == 0 for answer in answers)
    assert stored(stack) == 8000
    assert counted(stack, "devices") == {"evicted_keys": pytest.approx(4300, abs=600)}


def test_workers_share_what_is_owed(make_edge):
    """Exactly so many pass, whoever takes them, at the same time."""
    stack = make_edge(*limited([SENDERS, DEVICES], ["zone=senders burst=97", "zone=devices burst=40"]),
                      workers=4)
    passed = []

    def run(number):
        api = stack.api()
        for i in range(25):
            device = "shared" if (number + i) % 2 else f"{number}-{i}"
            if send(api, records(1, device)).status == 200:
                passed.append(device)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == stored(stack) == 97
    assert passed.count("shared") <= 40
    refused = sum(counted(stack, limit)["rate_limited"] for limit in ("senders", "devices")
                  if counted(stack, limit))
    assert refused == 200 - 97


def test_a_worker_whose_time_is_old_refuses_nobody(make_stack):
    """What nginx calls now is when the worker's turn began. Who was admitted by another one since then
    seems to be ahead of his time, here by more than his burst, which is a millisecond."""
    stack = make_stack(nginx_edits=[("burst=1000000000;", "burst=1000000;")]).start()
    load = Load(stack)
    load.wait_answered(3000, 120)
    load.stop()


def test_metrics_of_many_limits(make_edge):
    names = [f"{'x' * 60}{i}" for i in range(30)]
    stack = make_edge(*limited([f"$http_x_client zone={name}:64k {SLOW}" for name in names], []))
    text, values = metrics(stack.api())
    for name in names:
        assert values[f'sluice_edge_limit_evicted_keys_total{{limit="{name}"}}'] == 0
    assert text.count("# TYPE sluice_edge_limit_refused_records_total counter") == 1
