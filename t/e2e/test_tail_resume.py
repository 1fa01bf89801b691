"""Who watches and comes back, whatever was restarted meanwhile: nothing is lost and nothing is shown
twice, as long as the stream has it, and else that is said."""

import http.client
import threading

import pytest

from harness import frames
from harness.waiting import wait_until
from test_tail import WINDOW, metric, watch  # noqa: F401


def post(api, count, start=0):
    ids = []
    for number in range(start, start + count):
        answer = api.log(message=str(number))
        assert answer.status == 200
        ids.append(answer.json["message_id"])
    return ids


@pytest.fixture
def stack(make_stack):
    return make_stack(load=WINDOW).start()


class Posting:
    """One after the other, until it is told to stop; what was answered with 200 is kept."""

    def __init__(self, stack):
        self.stack = stack
        self.sent = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        api = self.stack.api()
        number = 0
        while not self.stopping.wait(0.003):
            number += 1
            try:
                answer = api.log(message=str(number))
            except (OSError, http.client.HTTPException):
                continue
            if answer.status == 200:
                self.sent.append(str(number))

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return self.sent


def check(seen, sent, shown_besides=0):
    """All that was acknowledged; what was not may have come in, too. Known by what they say: where
    Redis' reply was lost the edge adds the frame again, and its entry has another id then."""
    wait_until(lambda: set(sent) <= {log["message"] for log in seen.logs}, 20, "all are shown")
    messages = [log["message"] for log in seen.logs]
    assert len(messages) == len(set(messages)), "some are shown twice"
    shown = [log["message_id"] for log in seen.logs]
    assert len(shown) - len(sent) <= shown_besides
    assert shown == sorted(shown, key=lambda text: tuple(map(int, text.split("-"))))
    assert not seen.of_kind("gap") and not seen.of_kind("dropped")


def test_from_every_place_all_behind_it_is_shown(stack, watch):  # noqa: F811
    api = stack.api()
    records = [{"device_id": "d", "log_level": "INFO", "message": str(i)} for i in range(5)]
    ids = [one for _ in range(12) for one in api.batch(records).json["message_ids"]]
    stack.wait_rows(len(ids))
    for place in range(len(ids)):
        seen = watch(stack.nginx.port, last_id=ids[place])
        seen.wait_logs(len(ids) - place - 1)
        assert [log["message_id"] for log in seen.logs] == ids[place + 1:]
        assert not seen.of_kind("gap")
        seen.close()
    # Behind the last one comes what is new.
    seen = watch(stack.nginx.port, last_id=ids[-1])
    more = post(api, 1)
    seen.wait_logs(1)
    assert [log["message_id"] for log in seen.logs] == more


RESTARTS = {
    "server": lambda stack: (stack.server.stop(), stack.server.start()),
    "server killed": lambda stack: (stack.server.kill(), stack.server.start()),
    "nginx reloaded": lambda stack: stack.nginx.reload(),
    "nginx": lambda stack: (stack.nginx.stop(), stack.nginx.start()),
    "redis": lambda stack: (stack.redis.stop(), stack.redis.start(), stack.wait_healthy()),
    "redis killed": lambda stack: (stack.redis.kill(), stack.redis.start(), stack.wait_healthy()),
    "loader": lambda stack: (stack.loader.stop(), stack.loader.start()),
}


@pytest.mark.parametrize("what", RESTARTS)
def test_a_restart_loses_and_repeats_nothing(make_stack, watch, what):  # noqa: F811
    stack = make_stack(load=WINDOW, nginx_edits=[
        ("worker_shutdown_timeout 30s;", "worker_shutdown_timeout 1s;")]).start()
    if what.startswith("server"):
        stack.allow("connect\\(\\) to unix")
        stack.allow("upstream prematurely closed|Connection refused|No such file")
    stack.allow("the tail cannot read the stream")
    seen = watch(stack.nginx.port)
    rare = watch(stack.nginx.port, device_id="nobody")
    posting = Posting(stack)
    for _ in range(2):
        seen.wait_logs(len(seen.logs) + 100)
        RESTARTS[what](stack)
    seen.wait_logs(len(seen.logs) + 100)
    sent = posting.stop()
    check(seen, sent, shown_besides=4 if what.startswith(("redis", "nginx")) else 0)
    assert not rare.events


def test_beyond_the_window_it_is_said_and_goes_on_with_what_is_there(make_stack, watch):  # noqa: F811
    stack = make_stack(load={"SLUICED_LOAD_TAIL_WINDOW_MB": "1"}).start()
    first = frames.add(stack.redis, [frames.frame([frames.row("first")])])[0]
    for number in range(40):
        frames.add(stack.redis, [frames.frame([frames.row(f"{number} " + "x" * 90000)])])
    stack.wait_drained()
    wait_until(lambda: stack.redis.stream_length() < 30, 10, "it is trimmed")
    stack.loader.stop()  # and no more from here on
    seen = watch(stack.nginx.port, last_id=f"{first}-0")
    (gap,) = wait_until(lambda: seen.of_kind("gap"), 10, "it is said")
    assert gap.data == {"after": f"{first}-0", "reason": "window_passed"}
    there = stack.redis.stream_length()
    seen.wait_logs(there)
    assert [int(text.split()[0]) for text in seen.messages] == list(range(40 - there, 40))
    assert metric(stack, "sluice_tail_gaps_total") == 1


def test_after_redis_lost_state_it_is_said(stack, watch):  # noqa: F811
    stack.allow("the group is gone|redis lost state|the tail cannot")
    api = stack.api()
    post(api, 5)
    seen = watch(stack.nginx.port)
    ahead = f"{2 ** 47}-0-0"
    stray = watch(stack.nginx.port, last_id=ahead)
    (gap,) = wait_until(lambda: stray.of_kind("gap"), 10, "it is said")
    assert gap.data == {"after": ahead, "reason": "state_lost"}
    ids = post(api, 5, start=5)
    seen.wait_logs(5)
    stack.wait_drained()
    stack.redis.client.flushall()
    stack.wait_group()
    later = watch(stack.nginx.port, last_id=ids[-1])
    for stream in (later, seen):
        (gap,) = wait_until(lambda: stream.of_kind("gap"), 10, "it is said, also to who is here")
        assert gap.data == {"after": ids[-1] if stream is later else gap.data["after"],
                            "reason": "state_lost"}
    more = post(api, 3, start=10)
    for stream in (seen, later, stray):
        wait_until(lambda: more[-1] in [log["message_id"] for log in stream.logs], 10, "it goes on")


def test_redis_that_begins_anew_with_later_ids_is_noticed(stack, watch):  # noqa: F811
    stack.allow("the group is gone|redis lost state|the tail cannot")
    seen = watch(stack.nginx.port)
    ids = post(stack.api(), 5)
    seen.wait_logs(5)
    stack.wait_drained()
    stack.server.pause()
    stack.redis.client.flushall()
    frames.add(stack.redis, [frames.frame([frames.row("anew")])] * 2)
    stack.server.resume()
    seen.wait_logs(6)
    assert [event.kind for event in seen.events] == ["message"] * 5 + ["gap", "message"]
    assert seen.events[5].data["reason"] == "state_lost"
    assert seen.messages[-1] == "anew"
    # Who was there before it, although all that is there came after it.
    later = watch(stack.nginx.port, last_id=ids[2])
    later.wait_logs(1)
    assert [event.kind for event in later.events] == ["gap", "message"]
    assert later.events[0].data == {"after": ids[2], "reason": "state_lost"}


def trim(stack, count):
    """As a loader does that keeps nothing, but to the entry."""
    stack.wait_drained()
    stack.redis.client.xtrim("logs:stream", maxlen=count, approximate=False)


def add_until_shown(stack, rows, streams, count):
    """A frame; the loader, which keeps nothing, could trim it before a slow server has read it."""
    stack.loader.pause()
    entry = frames.add(stack.redis, [frames.frame(rows)])[0]
    for stream in streams:
        stream.wait_logs(count)
    stack.loader.resume()
    return entry


def test_without_a_window_what_was_trimmed_unread_is_said(make_stack, watch):  # noqa: F811
    stack = make_stack().start()  # of 0 MB
    seen = watch(stack.nginx.port)
    add_until_shown(stack, [frames.row("first"), frames.row("second")], [seen], 2)
    trim(stack, 0)
    # That all is trimmed which was read, is nothing.
    add_until_shown(stack, [frames.row("third")], [seen], 3)
    assert not seen.of_kind("gap")
    stack.server.pause()
    for number in range(300):
        frames.add(stack.redis, [frames.frame([frames.row(str(number))])])
    stack.wait_drained()
    wait_until(lambda: stack.redis.stream_length() < 300, 10, "it is trimmed")
    stack.loader.stop()
    there = stack.redis.stream_length()
    stack.server.resume()
    frames.add(stack.redis, [frames.frame([frames.row("last")])])
    wait_until(lambda: "last" in seen.messages, 10)
    (gap,) = seen.of_kind("gap")
    assert gap.data["reason"] == "window_passed"
    assert len(seen.logs) < 3 + 300
    assert seen.messages[-there - 1:] == [str(n) for n in range(300 - there, 300)] + ["last"]
    stack.loader.start()


def test_the_rest_of_a_frame_that_was_trimmed_last_is_missed(make_stack, watch):  # noqa: F811
    stack = make_stack().start()
    seen = watch(stack.nginx.port)
    rows = [frames.row(text) for text in ("first", "second", "third")]
    entry = add_until_shown(stack, rows, [seen], 3)
    wait_until(lambda: seen.parser.last_id not in ("", f"{entry}-2"), 15, "all of it is behind him")
    trim(stack, 0)
    later = watch(stack.nginx.port, last_id=f"{entry}-0")
    (gap,) = wait_until(lambda: later.of_kind("gap"), 10, "it is said")
    assert gap.data == {"after": f"{entry}-0", "reason": "window_passed"}
    # Not to who was behind it.
    whole = watch(stack.nginx.port, last_id=seen.parser.last_id)
    add_until_shown(stack, [frames.row("fourth")], (later, whole), 1)
    for stream in (later, whole):
        assert stream.messages == ["fourth"]
    assert not whole.of_kind("gap")


def test_what_is_trimmed_before_a_slow_one_comes_to_it_is_said(make_stack, watch):  # noqa: F811
    """He has missed something before, so that where he was need not be there."""
    stack = make_stack(load=WINDOW).start()
    # Many more than are read at once.
    frames.add(stack.redis, [frames.frame([frames.row(f"{number} " + "x" * 90000)])
                             for number in range(120)])
    trim(stack, 118)
    slow = watch(stack.folder / "serve.sock", last_id="1-0-0", comes_back=False, paused=True)
    wait_until(lambda: metric(stack, "sluice_tail_gaps_total") == 1, 10)
    wait_until(lambda: metric(stack, "sluice_tail_events_total") >= 2, 10)
    trim(stack, 2)
    slow.paused.clear()
    wait_until(lambda: len(slow.of_kind("gap")) == 2, 10, "it is said again")
    wait_until(lambda: [text.split()[0] for text in slow.messages][-2:] == ["118", "119"], 10)
    assert slow.of_kind("gap")[1].data["reason"] == "window_passed"
    assert len(slow.logs) < 118


def test_who_is_shown_nothing_comes_back_to_where_it_was(stack, watch):  # noqa: F811
    rare = watch(stack.nginx.port, device_id="rare")
    ids = post(stack.api(), 20)
    wait_until(lambda: rare.parser.last_id > ids[-1], 15, "a heartbeat says how far it has come")
    assert rare.parser.last_id.startswith(ids[-1].rpartition("-")[0])
    assert not rare.events


def test_while_redis_is_away_nobody_is_sent_away(stack, watch):  # noqa: F811
    stack.allow("the tail cannot read the stream")
    seen = watch(stack.nginx.port)
    post(stack.api(), 1)
    seen.wait_logs(1)
    stack.redis.stop()
    new = watch(stack.nginx.port)
    stack.redis.start()
    # Each worker connects anew by itself.
    wait_until(lambda: stack.api().log(message="1").status == 200, 10, "POSTs are taken again")
    wait_until(lambda: seen.messages == ["0", "1"], 10, "it goes on")
    wait_until(lambda: "1" in new.messages, 10, "for who came meanwhile, too")
    assert seen.connections == new.connections == 1


def test_a_server_that_leaves_ends_all_at_once(stack, watch):  # noqa: F811
    streams = [watch(stack.folder / "serve.sock", comes_back=False) for _ in range(5)]
    stack.server.stop()
    for stream in streams:
        stream.thread.join(5)
        assert not stream.thread.is_alive()
    events = stack.server.events("server stopped")
    assert events, "it did not have to be cut off"


def test_through_a_socket_that_the_next_server_has(make_stack, watch):  # noqa: F811
    stack = make_stack(load=WINDOW)
    stack.server.hold_socket()
    stack.start()
    seen = watch(stack.nginx.port)
    posting = Posting(stack)
    for _ in range(3):
        seen.wait_logs(len(seen.logs) + 50)
        stack.server.stop()
        stack.server.start()
    seen.wait_logs(len(seen.logs) + 50)
    check(seen, posting.stop())
