"""A Redis that misbehaves: every request gets one right answer, and 200 only for what it stored."""

import http.client
import random
import threading
import time

import pytest
from harness.api import Api
from harness.scripted_redis import SETTINGS, ScriptedRedis, bulk
from harness.waiting import wait_until

TIMEOUT_S = 1.0

BODY = b'{"device_id":"d","log_level":"INFO","message":"m"}'
REQUEST = (b"POST /api/log HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
           b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(BODY), BODY))


def start(make_stack, timeout_s, more=""):
    """A stack of which only nginx runs, in front of a scripted Redis, whom nobody shields."""
    stack = make_stack(workers=1, nginx_edits=[
        ("sluice_timeout 5s;", f"sluice_timeout {timeout_s:g}s; sluice_breaker off; {more}"),
    ])
    stack.scripted = ScriptedRedis(stack.folder).start()
    stack.nginx.start()
    wait_until(lambda: stack.api().get("/health/ready").status == 200, 10, "the edge is ready")
    return stack


@pytest.fixture
def scripted(make_stack):
    """Where everything is answered, however slow the machine is."""
    stack = start(make_stack, 60)
    yield stack
    stack.scripted.stop()


@pytest.fixture
def impatient(make_stack):
    """Where something is not answered in time."""
    stack = start(make_stack, TIMEOUT_S)
    yield stack
    stack.scripted.stop()


def metric(stack, name):
    text = stack.api().get("/metrics").body.decode()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


def post_many(port, number, threads=8):
    """Answers of that many POSTs, each with a message of its own."""
    answers = {}

    def run(first):
        api = Api(port)
        for i in range(first, number, threads):
            answers[i] = api.log(message=f"m{i}")
        api.close()

    running = [threading.Thread(target=run, args=(first,)) for first in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(answers) == number
    return answers


ERRORS = [
    ("OOM command not allowed when used memory > 'maxmemory'.", "redis_full", "OOM"),
    ("READONLY You can't write against a read only replica.", "redis_unavailable", "READONLY"),
    ("LOADING Redis is loading the dataset in memory", "redis_unavailable", "LOADING"),
    ("MISCONF Redis is configured to save RDB snapshots", "redis_refused", "MISCONF"),
    ("NOAUTH Authentication required.", "redis_refused", "NOAUTH"),
    ("WRONGPASS invalid username-password pair", "redis_refused", "WRONGPASS"),
    ("NOPERM this user has no permissions", "redis_refused", "NOPERM"),
    ("WRONGTYPE Operation against a key", "redis_refused", "WRONGTYPE"),
    ("MASTERDOWN Link with MASTER is down", "redis_unavailable", "MASTERDOWN"),
    ("NOREPLICAS Not enough good replicas to write.", "durability_below_minimum", "NOREPLICAS"),
    ("BUSY Redis is busy running a script", "redis_unavailable", "BUSY"),
    ("MOVED 3999 127.0.0.1:6381", "redis_refused", "CLUSTER"),
    ("ERR anything else", "redis_refused", "other"),
]


def test_every_error_has_its_answer_and_its_counter(scripted):
    api = scripted.api()
    for text, code, counter in ERRORS:
        scripted.scripted.on_xadd = lambda frame, text=text: b"-" + text.encode() + b"\r\n"
        wait_until(lambda: api.get("/health/ready").status == 200, 10, "ready again")
        answer = api.log()
        assert answer.status == 503, (text, answer)
        assert answer.json["code"] == code, (text, answer)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert metric(scripted, f'sluice_edge_redis_errors_total{{error="{counter}"}}') == 1, text
    scripted.scripted.on_xadd = scripted.scripted.store
    wait_until(lambda: api.log().status == 200, 10, "POSTs are taken again")


def test_a_redis_that_loads_is_away_and_not_less_durable(scripted):
    answers = dict(scripted.scripted.answers)
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    scripted.scripted.answers.update({name: loading for name in answers})
    scripted.scripted.drop()
    wait_until(lambda: scripted.api().log().json.get("code") == "redis_unavailable", 5)
    health = scripted.api().health().json
    assert (health["checks"]["redis"], health["durability"]) == ("failed", "unknown")
    scripted.scripted.answers.update(answers)
    wait_until(lambda: scripted.api().log().status == 200, 10, "POSTs are taken again")


def test_readonly_leaves_for_another_connection(scripted):
    before = scripted.scripted.accepted
    scripted.scripted.on_xadd = lambda frame: b"-READONLY no\r\n"
    assert scripted.api().log().status == 503
    wait_until(lambda: scripted.scripted.accepted > before, 5, "it connects anew")


def test_replies_byte_by_byte(scripted):
    store = scripted.scripted.store
    scripted.scripted.on_xadd = lambda frame: [bytes([byte]) for byte in store(frame)]
    answers = post_many(scripted.nginx.port, 100)
    assert all(answer.status == 200 for answer in answers.values())
    ids = {answer.json["message_id"] for answer in answers.values()}
    assert len(ids) == 100


def test_a_reply_cut_at_any_byte_is_asked_for_again(scripted):
    """The frame is sent again under the same id, so nobody has to know that it was cut."""
    whole = len(scripted.scripted.store(None))

    def cut_off(reply):
        yield reply
        scripted.scripted.drop()

    for cut in range(whole):
        cuts = [cut]

        def on_xadd(frame, cuts=cuts):
            reply = scripted.scripted.store(frame)
            if not cuts:
                return reply
            return cut_off(reply[: cuts.pop()])

        scripted.scripted.on_xadd = on_xadd
        answer = scripted.api().log(message=f"cut at {cut}")
        assert answer.status == 200, (cut, answer)
        first, second = scripted.scripted.frames[-2:]
        assert first == second, "the same frame under the same id"
    assert metric(scripted, 'sluice_edge_frames_total{outcome="resent"}') == whole


def test_an_outcome_that_stays_unknown_is_told_so(impatient):
    impatient.scripted.on_xadd = lambda frame: None
    begin = time.monotonic()
    answer = impatient.api().log()
    assert answer.status == 503
    assert answer.json["code"] == "outcome_unknown"
    assert time.monotonic() - begin < TIMEOUT_S + 5
    assert len({frame.u for frame in impatient.scripted.frames}) == 1


def test_an_error_after_an_unknown_outcome_does_not_deny_it(impatient):
    outcomes = [None, b"-OOM full\r\n"]
    impatient.scripted.on_xadd = lambda frame: outcomes.pop(0)
    answer = impatient.api().log()
    assert answer.json["code"] == "outcome_unknown"


def test_a_late_reply_answers_nobody_else(impatient):
    """The reply to the first frame comes after its deadline, while others wait."""
    late, answered = threading.Event(), threading.Event()

    def too_late():
        answered.wait(60)
        yield bulk(b"1-1")

    def on_xadd(frame):
        if b"first" in frame.rows and not late.is_set():
            late.set()
            return too_late()
        return impatient.scripted.store(frame)

    impatient.scripted.on_xadd = on_xadd
    answers = {}

    def post(name):
        answers[name] = Api(impatient.nginx.port).log(message=name)
        if name == "first":
            answered.set()

    first = threading.Thread(target=post, args=("first",))
    first.start()
    assert late.wait(20)
    others = [threading.Thread(target=post, args=(f"other {i}",)) for i in range(20)]
    for thread in others:
        thread.start()
    for thread in [first, *others]:
        thread.join()
    assert answers.pop("first").json["code"] == "outcome_unknown"
    for answer in answers.values():
        assert answer.status in (200, 503)
        if answer.status == 200:
            assert not answer.json["message_id"].startswith("1-1-")


@pytest.mark.parametrize("reply", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b":5\r\n", b"+OK\r\n", b"$-1\r\n", b"*0\r\n",
    b"$5\r\nhello\r\n", b"$3\r\n1-x\r\n", b"$99999999\r\n", b"\x00\x00\x00", b"+" + b"x" * 70000, b"-OOM\rfull\r\n",
])
def test_what_is_no_reply_to_xadd_is_no_200(impatient, reply):
    wrong = [reply]
    impatient.scripted.on_xadd = (
        lambda frame: wrong.pop() if wrong else impatient.scripted.store(frame)
    )
    answer = impatient.api().log()
    assert answer.status == 200 or answer.json["code"] == "outcome_unknown", answer
    if answer.status == 200:
        assert len(impatient.scripted.frames) == 2, "sent again, and stored then"
    wait_until(lambda: impatient.api().log().status == 200, 10, "POSTs are taken again")


@pytest.mark.parametrize("setting, value", [
    (b"appendonly", b"no"), (b"appendfsync", b"everysec"), (b"maxmemory-policy", b"allkeys-lru"),
    (b"no-appendfsync-on-rewrite", b"yes"),
])
def test_what_is_sent_again_must_be_durable_too(scripted, setting, value):
    """The connection is lost over an XADD, and what comes back is set lower."""
    replies = [None]

    def on_xadd(frame):
        scripted.scripted.settings[setting] = value
        return replies.pop() if replies else scripted.scripted.store(frame)

    scripted.scripted.on_xadd = on_xadd
    answer = scripted.api().log()
    assert answer.status == 503 and answer.json["code"] == "outcome_unknown", answer
    assert scripted.api().log().json["code"] == "durability_below_minimum"
    assert len(scripted.scripted.frames) == 1
    scripted.scripted.settings[setting] = SETTINGS[setting]
    wait_until(lambda: scripted.api().log().status == 200, 10, "POSTs are taken again")


def test_what_nobody_waits_for_is_not_sent_again(scripted):
    scripted.scripted.on_xadd = lambda frame: [0.3, b""]  # no reply
    connection = scripted.api().raw(REQUEST)
    wait_until(lambda: scripted.scripted.frames, 5)
    connection.close()
    wait_until(lambda: metric(scripted, "sluice_edge_requests_abandoned_total") == 1, 5)
    scripted.scripted.on_xadd = scripted.scripted.store
    scripted.scripted.drop()
    wait_until(lambda: scripted.api().log().status == 200, 10, "POSTs are taken again")
    assert len({frame.u for frame in scripted.scripted.frames}) == len(scripted.scripted.frames)


def test_impatient_clients_do_not_leave_a_dead_connection_behind(make_stack):
    """Each worker gives its own up, whether it is the one that watches Redis or not."""
    stack = make_stack(workers=2, nginx_edits=[("sluice_timeout 5s;", "sluice_timeout 1s;")])
    scripted = ScriptedRedis(stack.folder).start()
    stack.nginx.start()
    wait_until(lambda: stack.api().get("/health/ready").status == 200, 10, "the edge is ready")
    wait_until(lambda: scripted.accepted >= 2, 5, "both workers are connected")
    stuck = set()

    def on_xadd(frame):
        name = threading.current_thread().name
        if len(stuck) < 2 or name in stuck:
            stuck.add(name)
            return [0.0]  # never a reply on this connection
        return scripted.store(frame)

    scripted.on_xadd = on_xadd

    def post():
        try:
            return Api(stack.nginx.port, timeout=0.3).log().status == 200
        except OSError:
            return False

    wait_until(lambda: all(post() for _ in range(20)), 15, "both workers answer again")
    scripted.stop()


def test_a_reply_that_nobody_asked_for(scripted):
    scripted.scripted.on_xadd = lambda frame: scripted.scripted.store(frame) + b"$3\r\n9-9\r\n"
    answer = scripted.api().log()
    assert answer.status == 200
    assert not answer.json["message_id"].startswith("9-9")
    scripted.scripted.on_xadd = scripted.scripted.store
    wait_until(lambda: scripted.api().log().status == 200, 10, "POSTs are taken again")
    assert all(not a.json["message_id"].startswith("9-9")
               for a in post_many(scripted.nginx.port, 20).values())


def test_chaos_acknowledges_only_what_was_stored(impatient):
    """Delays, cuts, errors and garbage, at random: the acknowledged are among the stored."""
    rng = random.Random(11)
    stored = set()

    def on_xadd(frame):
        dice = rng.random()
        rows = frame.rows.decode().splitlines()
        if dice < 0.70:
            stored.update(row.split("\t")[2] for row in rows)
            return impatient.scripted.store(frame)
        if dice < 0.80:
            stored.update(row.split("\t")[2] for row in rows)
            return [rng.random() * 0.2, impatient.scripted.store(frame)]
        if dice < 0.88:
            stored.update(row.split("\t")[2] for row in rows)
            return None
        if dice < 0.94:
            return None
        if dice < 0.97:
            return b"-OOM full\r\n"
        return b"?garbage\r\n"

    impatient.scripted.on_xadd = on_xadd
    answers = post_many(impatient.nginx.port, 2000, threads=32)
    counts = {}
    for i, answer in answers.items():
        code = "queued" if answer.status == 200 else answer.json["code"]
        counts[code] = counts.get(code, 0) + 1
        assert answer.status != 200 or f"m{i}" in stored, (i, answer)
        assert answer.status in (200, 503)
    assert counts["queued"] > 1000, counts
    wait_until(lambda: metric(impatient, "sluice_edge_inflight_requests") == 0, 5)


def test_a_stopped_redis_bounds_what_waits(make_stack):
    stack = start(make_stack, 5, "sluice_max_inflight requests=50;")
    stack.scripted.on_xadd = lambda frame: [60.0]
    connections = []
    for _ in range(120):
        connections.append(stack.api().raw(REQUEST))
    codes = []
    for connection in connections:
        response = http.client.HTTPResponse(connection)
        response.begin()
        codes.append((response.status, b"too_many_inflight" in response.read()))
        connection.close()
    assert all(status == 503 for status, _ in codes)
    assert sum(too_many for _, too_many in codes) == 70
    stack.scripted.stop()
