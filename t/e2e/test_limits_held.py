"""A limit with a delay smooths bursts: what is beyond them is held, and then as any other."""

import json
import signal
import threading
import time

import pytest
from harness.limits import assert_limited, left, lenient, limited, of_devices, records, send
from harness.scripted_redis import INFO, bulk
from harness.waiting import wait_until
from test_client_gone import reset
from test_limits import BAD, IMPATIENT, OOM, PATIENT, counted, stored
from test_metrics import metrics

# A record each 0.1 s; and each half second, for those who must still be held when the next thing
# happens, also on a busy machine.
TEN = "$http_x_client zone=smooth:64k rate=10r/s"
TWO = "$http_x_client zone=smooth:64k rate=2r/s"
# A minute and more: what of this was charged does not come back by itself while a test runs.
FOR_LONG = ["$http_x_client zone=smooth:64k rate=1r/s"], ["zone=smooth burst=1 delay=60s"]


def gauge(api, name="requests"):
    return metrics(api)[1][f"sluice_edge_inflight_{name}"]


def delayed(stack):
    return counted(stack, "smooth").get("delayed_records", 0)


def request(n, *headers):
    body = json.dumps(records(n)).encode()
    lines = ["POST /api/logs/batch HTTP/1.1", "Host: x", "Content-Type: application/json",
             "X-Client: a", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Held:
    """Requests of one client that a limit holds, each on a connection of its own."""

    def __init__(self, stack, *batches, **headers):
        self.answers = {}
        self.threads = []
        for number, batch in enumerate(batches):
            before = delayed(stack)
            thread = threading.Thread(target=self._send, args=(stack, number, batch, headers))
            self.threads.append(thread)
            thread.start()
            wait_until(lambda: delayed(stack) > before, 15, "it is held")

    def _send(self, stack, number, batch, headers):
        answer = send(stack.api(timeout=70), batch, **headers)
        self.answers[number] = (answer, time.monotonic())

    def wait(self):
        for thread in self.threads:
            thread.join()
        return [self.answers[number][0] for number in range(len(self.threads))]


def test_a_burst_is_smoothed(make_stack):
    stack = make_stack(nginx_edits=limited([TEN], ["zone=smooth burst=1 delay=1s"])).start()
    api = stack.api()
    begun = time.monotonic()
    for _ in range(6):
        assert send(api, records(1)).status == 200
    assert 0.45 < time.monotonic() - begun < 10
    stack.wait_rows(6)
    # one of b and a are not in each other's way
    before = delayed(stack)
    assert send(api, records(1), "b").status == 200
    assert delayed(stack) == before


def test_what_would_wait_for_longer_is_refused(make_edge):
    stack = make_edge(*limited(["$http_x_client zone=smooth:64k rate=1r/s"],
                               ["zone=smooth burst=5 delay=10s"]))
    api = stack.api()
    assert send(api, records(5)).status == 200
    held = Held(stack, records(8))
    begun = time.monotonic()
    answer = send(api, records(8))
    assert_limited(answer, "smooth")
    assert 1 <= int(answer.headers["Retry-After"]) <= 6
    assert time.monotonic() - begun < 4, "at once"
    told = assert_limited(send(api, records(16)), "smooth", "larger_than_limit", 413)
    assert "more than 15 at once" in told["detail"]
    assert held.wait()[0].status == 200
    assert 4 < held.answers[0][1] - begun < 12
    assert counted(stack, "smooth") == {"delayed_records": 8, "rate_limited": 8,
                                        "larger_than_limit": 16}


def test_more_than_the_burst_passes_in_the_time_it_takes(make_edge):
    stack = make_edge(*limited([TEN], ["zone=smooth burst=5 delay=1s"]))
    api = stack.api()
    begun = time.monotonic()
    assert send(api, records(10)).status == 200
    assert 0.45 < time.monotonic() - begun < 10


def test_the_longest_delay_of_several_limits_counts(make_edge):
    stack = make_edge(*limited(
        [TEN, "device_id zone=devices:64k rate=5r/s"],
        ["zone=smooth burst=2 delay=1s", "zone=devices burst=2 delay=1s"]))
    begun = time.monotonic()
    assert send(stack.api(), records(4)).status == 200
    assert 0.35 < time.monotonic() - begun < 10
    assert counted(stack, "smooth") == counted(stack, "devices") == {"delayed_records": 4}


def test_a_delay_on_trial_holds_nobody(make_edge):
    stack = make_edge(*limited([TWO], ["zone=smooth burst=1 delay=60s dry_run"]))
    begun = time.monotonic()
    assert send(stack.api(), records(50)).status == 200
    assert time.monotonic() - begun < 20
    assert counted(stack, "smooth") == {"dry_run_delayed_records": 50}


@pytest.mark.parametrize("leave", [reset, lambda connection: connection.close()])
def test_who_leaves_while_held_gets_it_back(make_edge, leave):
    stack = make_edge(*limited(*FOR_LONG))
    api = stack.api()
    assert send(api, records(1)).status == 200
    connections = [api.raw(request(10)) for _ in range(5)]
    wait_until(lambda: gauge(api) == 5, 5, "they are held")
    assert_limited(send(api, records(50)), "smooth")
    for connection in connections:
        leave(connection)
    wait_until(lambda: gauge(api) == 0, 5, "nobody is held")
    assert gauge(api, "bytes") == 0
    assert metrics(api)[1]["sluice_edge_requests_abandoned_total"] == 5
    assert counted(stack, "smooth")["given_back_records"] == 50
    # 60 at the most may be owed: all of that is there again
    api.raw(request(59)).close()
    wait_until(lambda: counted(stack, "smooth")["given_back_records"] == 109, 5, "it was held")
    assert stored(stack) == 1


@pytest.mark.parametrize("how", ["quit", "reload"])
def test_a_worker_that_leaves_answers_who_is_held(make_edge, how):
    stack = make_edge(*limited([TEN], ["zone=smooth burst=1 delay=5s"]), workers=1)
    held = Held(stack, *[records(4)] * 3)
    if how == "quit":
        stack.nginx.signal(signal.SIGQUIT)
    else:
        old = stack.nginx.reload()
    assert [answer.status for answer in held.wait()] == [200] * 3
    assert stored(stack) == 12
    if how == "quit":
        assert stack.nginx.process.wait(10) == 0
    else:
        wait_until(lambda: not old & set(stack.nginx.leaving_worker_pids()), 10, "it left")
        assert counted(stack, "smooth") == {"delayed_records": 12}


def test_a_worker_leaves_in_its_time_whoever_is_held(make_edge):
    stack = make_edge(("worker_shutdown_timeout 30s;", "worker_shutdown_timeout 1s;"),
                      *limited(*FOR_LONG))
    connection = stack.api().raw(request(30))
    wait_until(lambda: gauge(stack.api()) == 1, 5, "it is held")
    stack.nginx.signal(signal.SIGQUIT)
    assert stack.nginx.process.wait(10) == 0
    connection.close()
    assert stored(stack) == 0


def test_redis_goes_away_while_they_are_held(make_edge):
    stack = make_edge(IMPATIENT, *limited([TWO], ["zone=smooth burst=100 delay=60s"]))
    stack.allow(r"connect\(\) to unix:.*redis\.sock failed")
    api = stack.api()
    assert send(api, records(100)).status == 200
    held = Held(stack, records(12), records(2))
    stack.scripted.stop()
    answers = held.wait()
    assert [answer.status for answer in answers] == [503, 503]
    assert {answer.json["code"] for answer in answers} <= {"redis_unavailable", "redis_timeout"}
    assert gauge(api) == 0
    assert counted(stack, "smooth")["given_back_records"] == 14


def test_redis_does_not_answer_when_they_are_released(make_edge):
    stack = make_edge(IMPATIENT, *limited([TWO], ["zone=smooth burst=1 delay=60s"]))
    held = Held(stack, records(11))
    stack.scripted.answers = {name: [3.0] for name in stack.scripted.answers}
    stack.scripted.drop()
    assert held.wait()[0].json["code"] in ("redis_unavailable", "redis_timeout")
    assert counted(stack, "smooth") == {"delayed_records": 11, "given_back_records": 11}
    assert gauge(stack.api()) == 0


def test_what_redis_refuses_after_it_was_held_is_given_back(make_edge):
    stack = make_edge(PATIENT, *limited([TEN], ["zone=smooth burst=1 delay=60s"]))
    stack.scripted.on_xadd = lambda frame: OOM
    assert send(stack.api(), records(9)).json["code"] == "redis_full"
    assert counted(stack, "smooth") == {"delayed_records": 9, "given_back_records": 9}
    assert gauge(stack.api()) == 0


@pytest.mark.parametrize("prefer", ["strict", "lenient"])
def test_what_is_shed_by_the_time_it_was_held_is_given_back(make_edge, prefer):
    """It passes the earlier gates again, and a batch counts as its highest level there."""
    stack = make_edge(*limited([TWO], ["zone=smooth burst=1 delay=60s"]))
    api = stack.api()
    debug, critical = ([{**record, "log_level": level} for record in records(15)]
                       for level in ("DEBUG", "CRITICAL"))
    held = Held(stack, debug, debug[1:] + critical[:1], Prefer=f"handling={prefer}")
    stack.scripted.answers[b"INFO"] = bulk(INFO.replace(b"used_memory:1", b"used_memory:75"))
    wait_until(lambda: metrics(api)[1]['sluice_edge_shed_share{level="DEBUG"}'] == 1, 5, "it is shed")
    refused, taken = held.wait()
    assert (refused.status, refused.json["code"]) == (503, "shed"), refused
    assert "not all of DEBUG is taken now" in refused.json["detail"]
    assert taken.status == 200
    assert counted(stack, "smooth")["given_back_records"] == 15
    assert metrics(api)[1]['sluice_edge_shed_records_total{level="DEBUG"}'] == 15
    assert gauge(api) == gauge(api, "bytes") == 0


def test_held_requests_count_as_in_flight(make_edge):
    stack = make_edge(("sluice_timeout 5s;", "sluice_timeout 5s; sluice_max_inflight requests=2;"),
                      *limited([TWO], ["zone=smooth burst=1 delay=60s"]))
    api = stack.api()
    held = Held(stack, records(11), records(2))
    assert send(api, records(1), "b").json["code"] == "too_many_inflight"
    assert [answer.status for answer in held.wait()] == [200, 200]
    assert send(api, records(1), "b").status == 200


def test_the_rows_of_held_requests_count_as_in_flight(make_edge):
    """They are kept beside the body, and can be larger: of each backslash in JSON they have two."""
    stack = make_edge(("sluice_timeout 5s;", "sluice_timeout 5s; sluice_max_inflight bytes=10m;"),
                      *limited([TWO], ["zone=smooth burst=1 delay=60s"]), workers=1)
    api = stack.api()
    batch = [{**record, "log_data": {"k": "\\" * 100_000}} for record in records(4)]
    size = len(json.dumps(batch))
    # Behind a small one, so that none is released before all are there.
    held = Held(stack, records(14), *[batch] * 4)
    assert 2.8 * 4 * size < gauge(api, "bytes") < 3.1 * 4 * size
    assert send(api, batch).json["code"] == "too_many_inflight"
    assert counted(stack, "smooth")["given_back_records"] == 4
    assert [answer.status for answer in held.wait()] == [200] * 5
    assert gauge(api) == gauge(api, "bytes") == 0


def test_a_keyed_request_that_is_held(make_edge):
    stack = make_edge(*limited([TEN], ["zone=smooth burst=1 delay=5s"]))
    api = stack.api()
    for _ in range(2):
        answer = send(api, records(3), **{"Idempotency-Key": "k"})
        assert answer.status == 200, answer
    assert send(api, records(3)).status == 200
    ids = [frame.u for frame in stack.scripted.frames]
    assert len(ids) == 3 and ids[0] == ids[1] != ids[2]


def test_a_batch_in_part_that_is_held(make_edge):
    stack = make_edge(*limited([TEN, "device_id zone=devices:64k rate=1r/m"],
                               ["zone=smooth burst=1 delay=5s", "zone=devices burst=2"]))
    begun = time.monotonic()
    answer = lenient(stack.api(), of_devices("abab") + [BAD] + of_devices("abc"))
    assert time.monotonic() - begun > 0.35
    assert answer.status == 200, answer
    told = answer.json
    assert (told["count"], told["rejected"]) == (5, 3)
    assert len(told["message_ids"]) == 5
    assert told["withheld"]["indexes"] == [[5, 6]]
    assert [error["index"] for error in told["errors"]] == [4]
    rows = stack.scripted.frames[0].rows.decode().splitlines()
    assert [row.split("\t")[0] for row in rows] == list("ababc")


def test_held_ones_and_others_in_the_same_frames(make_edge):
    """Each gets the id of its own records."""
    stack = make_edge(*limited([TEN], ["zone=smooth burst=1 delay=10s"]))
    rows = {}

    def store(frame):
        answer = stack.scripted.store(frame)
        entry = answer.split(b"\r\n")[1].decode()
        for at, row in enumerate(frame.rows.decode().splitlines()):
            rows[f"{entry}-{at}"] = row.split("\t")[0]
        return answer

    stack.scripted.on_xadd = store
    wrong, running = [], []

    def run(number):
        api = stack.api()
        for i in range(20):
            device = f"{number}-{i}"
            answer = send(api, records(2, device), f"{number}" if i % 4 == 0 else "")
            ids = answer.json.get("message_ids", [])
            if [rows.get(name) for name in ids] != [device] * 2:
                wrong.append((device, answer))

    for number in range(8):
        running.append(threading.Thread(target=run, args=(number,)))
        running[-1].start()
    for thread in running:
        thread.join()
    assert not wrong, wrong[:3]
    assert counted(stack, "smooth")["delayed_records"] > 0
    assert stored(stack) == 8 * 20 * 2
    assert left(stack.api(), "") == 100
