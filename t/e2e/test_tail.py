"""The live tail, from a record's POST to its event: what is shown to whom, and to whom it is not."""

import json
import random
import statistics
import time

import pytest

from harness import frames
from harness.event_stream import EventStream
from harness.stored import Pages
from harness.waiting import wait_until

WINDOW = {"SLUICED_LOAD_TAIL_WINDOW_MB": "32"}


@pytest.fixture
def watch(request):
    """Opens streams, which are closed at the end."""
    streams = []

    def opened(address, **options):
        streams.append(EventStream(address, **options))
        return streams[-1].wait_open()

    yield opened
    for stream in streams:
        stream.close()


@pytest.fixture
def stack(make_stack):
    return make_stack(load=WINDOW).start()


def metric(stack, name):
    connection = stack.server.connection()
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return float(next(line for line in text.splitlines() if line.startswith(name + " ")).split()[1])


def test_a_record_is_shown_as_pages_show_it(stack, watch):
    seen = watch(stack.nginx.port)
    assert seen.head["content-type"] == "text/event-stream"
    assert seen.head["cache-control"] == "no-store"
    wait_until(lambda: seen.parser.retry_ms, 10, "it is told when to come back")
    api = stack.api()
    answer = api.post("/api/log", {"device_id": "pump-7", "log_level": "error", "message": "Grüße",
                                   "log_data": {"a": [1, 2.50, "x"]},
                                   "timestamp": "2024-11-14T10:30:00+01:00"})
    assert answer.status == 200
    (log,) = seen.wait_logs(1)
    assert log["message_id"] == answer.json["message_id"] == seen.events[0].id
    stack.wait_rows(1)
    wait_until(lambda: api.get("/api/logs/pump-7").json["data"], 10)
    (row,) = api.get("/api/logs/pump-7").json["data"]
    del row["id"], log["message_id"]
    assert log == row
    assert log["event_time"] == "2024-11-14T09:30:00.000000Z"


def test_a_record_is_shown_at_once(stack, watch):
    """Whatever else comes, which may be a heartbeat. The machine may stand still at one of them."""
    seen = watch(stack.nginx.port)
    api, took = stack.api(), []
    for count in range(1, 6):
        assert api.log(message="more").status == 200
        posted = time.monotonic()
        seen.wait_logs(count)
        took.append(seen.times[count - 1] - posted)
    assert statistics.median(took) < 1, took


def test_batches_come_in_order_and_whole(stack, watch):
    seen = watch(stack.nginx.port)
    api = stack.api()
    ids = []
    for number in range(20):
        ids += api.batch([{"device_id": "d", "log_level": "INFO", "message": f"{number} {i}"}
                          for i in range(50)]).json["message_ids"]
    logs = seen.wait_logs(1000)
    assert [log["message_id"] for log in logs] == ids
    assert [log["message"] for log in logs] == [f"{n} {i}" for n in range(20) for i in range(50)]
    assert "event_time" not in logs[0]


HOSTILE = ["a\nb", "a\r\nb\r\n\r\nevent: gap\r\n\r\n", "\n\ndata: {}\n\n", "id: 9-9-9\n\n",
           "x\u2028y\u2029z\u0085", "\\n\\", '"}\n\n', "\x00\x01\x7f", "a\tb\\tc", "😀" * 30]


def test_no_record_can_forge_an_event(stack, watch):
    seen = watch(stack.nginx.port)
    api = stack.api()
    records = [{"device_id": "d", "log_level": "INFO", "message": text, "log_data": {text: [text]}}
               for text in HOSTILE]
    assert api.batch(records).status == 200
    # White space of JSON may be an end of a line.
    body = '{"device_id":"d","log_level":"INFO","message":"last","log_data":{"a"\r\n:\n\n\t1\r}}'
    assert api.post("/api/log", body).status == 200
    logs = seen.wait_logs(len(HOSTILE) + 1)
    shown = [text.replace("\x00", "\ufffd") for text in HOSTILE]
    assert [log["message"] for log in logs[:-1]] == shown
    assert [log["log_data"] for log in logs[:-1]] == [{text: [text]} for text in shown]
    assert logs[-1]["log_data"] == {"a": 1}
    assert {event.kind for event in seen.events} == {"message"}
    assert [event.id for event in seen.events] == [log["message_id"] for log in logs]


VALUES = [None, True, False, 0, 1, 1.0, -1, 12345678901234567890123, 0.1, "a", "", "1", [], {}, [1],
          [1, 2], [[1]], {"b": 1}, {"b": {"c": [1, {"d": None}]}}, [{"b": 1, "c": 2}]]
WORDS = ["Straße", "STRASSE", "it flows", "ÄÖÜ", "äöü", "50%", "a_b", "back\\slash", "Ωmega", "İ"]


def some_data(chance):
    return {key: chance.choice(VALUES) for key in chance.sample("abcd", chance.randint(0, 3))}


def test_filters_are_those_of_pages(stack, watch):
    chance = random.Random(7)
    queries = [{"device_id": "d1"}, {"level": "ERROR"}, {"min_level": "WARNING"},
               {"q": "FLOWS", "device_id": "d2"}, {"contains": "{}"},
               {"contains": '{"a":1.00}'}, {"contains": '{"a":10e-1}'},
               {"contains": '{"b":[1,1]}'}, {"contains": '{"c":{"b":{"c":[{}]}}}'},
               {"contains": '{"\\u0061":"\\u0061"}'}, {"contains": '{"a":1,"a":2}'},
               {"contains": '{"a":12345678901234567890123.0}'}]
    queries += [{"q": word} for word in ("straße", "Äö", "%", "_", "\\", "ωM", "s", "i")]
    queries += [{"contains": json.dumps(some_data(chance) or {"a": []})} for _ in range(25)]
    streams = [watch(stack.nginx.port, **query) for query in queries]
    everything = watch(stack.nginx.port)
    api = stack.api()
    count = 400
    for start in range(0, count, 50):
        assert api.batch([{
            "device_id": chance.choice(["d1", "d2", "d3"]),
            "log_level": chance.choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
            "message": f"{number} {chance.choice(WORDS)}", "log_data": some_data(chance),
        } for number in range(start, start + 50)]).status == 200
    stack.wait_rows(count)
    everything.wait_logs(count)
    pages = Pages(stack.server)
    some = 0
    for query, stream in zip(queries, streams):
        page = pages.page(**query, limit=1000)
        wanted = sorted(log["message"] for log in page["data"])
        wait_until(lambda: len(stream.logs) >= len(wanted), 5, f"{query}: {len(wanted)}")
        assert sorted(stream.messages) == wanted, query
        some += bool(wanted)
    pages.close()
    assert some > len(queries) / 2


def test_a_frame_that_was_sent_twice_is_shown_once(stack, watch):
    seen = watch(stack.nginx.port)
    twice = frames.frame([frames.row("twice"), frames.row("twice, too")])
    first = frames.add(stack.redis, [twice])[0]
    frames.add(stack.redis, [twice, frames.frame([frames.row("last")]), twice])
    frames.add(stack.redis, [frames.frame([frames.row("end")])])
    seen.wait_logs(4)
    assert seen.messages == ["twice", "twice, too", "last", "end"]
    # Nor to who comes back behind the first of them.
    later = watch(stack.nginx.port, last_id=f"{first}-0")
    later.wait_logs(3)
    assert later.messages == ["twice, too", "last", "end"]


def test_what_no_loader_stores_is_not_shown(stack, watch):
    seen = watch(stack.nginx.port)
    stack.allow("cannot be stored")
    frames.add(stack.redis, [frames.frame([frames.row("bad")], n=7),
                             {"neither": "a frame"},
                             frames.frame([frames.row("good")]),
                             {"device_id": "old", "log_level": "INFO", "message": "plain"}])
    logs = seen.wait_logs(2)
    assert [log["message"] for log in logs] == ["good", "plain"]


def test_a_slow_client_is_told_what_it_missed_and_slows_nobody(make_stack, watch):
    stack = make_stack(load=WINDOW).start()
    slow = watch(stack.folder / "serve.sock", comes_back=False)
    quick = watch(stack.folder / "serve.sock")
    other = watch(stack.nginx.port)
    slow.paused.set()
    api = stack.api()
    records = [{"device_id": "d", "log_level": "INFO", "message": "x" * 900}] * 100
    count = 0
    while metric(stack, "sluice_tail_dropped_records_total") == 0 and count < 20000:
        assert api.batch(records).status == 200
        count += len(records)
        quick.wait_logs(count, 5)
        other.wait_logs(count, 5)
    slow.paused.clear()
    (dropped,) = wait_until(lambda: slow.of_kind("dropped"), 10, "it is told")
    wait_until(lambda: len(slow.logs) + dropped.data["records"] == count, 10, "all is accounted for")
    # Counted just behind its being told.
    wait_until(lambda: metric(stack, "sluice_tail_dropped_records_total") == dropped.data["records"],
               5, "all that were dropped are counted")
    assert not quick.of_kind("dropped") and not other.of_kind("dropped")
    # From where it was before, all of it can be had.
    api.log(message="after")
    wait_until(lambda: "after" in slow.messages, 10)
    again = watch(stack.nginx.port, last_id=slow.logs[0]["message_id"])
    again.wait_logs(count)
    assert len(again.logs) == count


def test_only_so_many_may_watch_and_who_leaves_makes_room(make_stack, watch):
    stack = make_stack(serve={"SLUICED_SERVE_TAIL_CLIENTS": "3"}).start()
    streams = [watch(stack.nginx.port) for _ in range(3)]
    answer = stack.api().get("/api/logs/stream")
    assert answer.status == 503 and answer.json["code"] == "too_many_watchers"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert metric(stack, "sluice_tail_clients") == 3
    streams[0].close()
    wait_until(lambda: metric(stack, "sluice_tail_clients") == 2, 2, "it is noticed")
    watch(stack.nginx.port)
    assert stack.api().get("/api/logs/pump-7").status == 200


def test_parameters_are_judged_and_methods_refused(stack):
    api = stack.api()
    for query, code in (("limit=5", 400), ("level=LOUD", 400), ("nonsense=1", 400)):
        answer = api.get(f"/api/logs/stream?{query}")
        assert answer.status == code, answer
    answer = api.request("POST", "/api/logs/stream", "x")
    assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD"
    answer = api.request("HEAD", "/api/logs/stream")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/event-stream"
    wait_until(lambda: metric(stack, "sluice_tail_clients") == 0, 5)
