"""Redis forgets, is set back, is full, or serves others too: what comes next is stored."""

import shutil
import threading

import pytest

from harness.exact import Sent
from harness.waiting import wait_until

STREAM, GROUP = "logs:stream", "log_workers"
STATE_LOST = "redis lost state, or its group was set back"
MEGABYTE = 1 << 20


@pytest.fixture
def stack(make_stack):
    stack = make_stack()
    stack.allow(STATE_LOST)
    return stack.start_loading()


def state_losses(loader):
    """As it says itself when it has stopped."""
    loader.stop()
    return loader.events("loader stopped")[-1]["state_losses"]


LOSSES = {
    "FLUSHALL": lambda client: client.flushall(),
    "DEL": lambda client: client.delete(STREAM),
    "XGROUP DESTROY": lambda client: client.xgroup_destroy(STREAM, GROUP),
    "XGROUP SETID back": lambda client: client.xgroup_setid(STREAM, GROUP, "0-1"),
}


def test_lost_state_is_noticed_and_new_frames_are_stored(stack):
    """Also those that get ids which others had before, as from a Redis whose clock is behind."""
    client = stack.redis.client
    sent = Sent(stack)
    for times, (name, lose) in enumerate(LOSSES.items(), 1):
        first_id = sent.add(50)[0]
        sent.check()
        lose(client)
        if name in ("FLUSHALL", "DEL"):
            (frame,) = sent.frames(1)
            client.xadd(STREAM, frame, id=first_id)
        if name != "XGROUP SETID back":  # which would not matter, once something is read behind it
            sent.add(50)
        wait_until(lambda: stack.loader.log_text().count(STATE_LOST) >= times, 15,
                   f"the loader says that there was {name}")
        sent.add(1)
        sent.check()
    assert state_losses(stack.loader) >= len(LOSSES)


def test_what_was_added_in_a_transaction_outlives_redis(stack):
    """Redis runs it as the user default when it loads its append-only file."""
    stack.loader.stop()
    sent = Sent(stack)
    pipeline = stack.redis.client.pipeline(transaction=True)
    for frame in sent.frames(3):
        pipeline.xadd(STREAM, frame)
    pipeline.execute()
    stack.redis.kill()
    stack.redis.start()
    stack.loader.start()
    sent.check()


def test_a_group_that_is_lost_again_and_again_under_load(stack):
    """The stream stays: nothing of it is lost, and what is read again is not stored again."""
    sent = Sent(stack)
    for number in range(60):
        sent.add(40)
        LOSSES["XGROUP DESTROY" if number % 2 else "XGROUP SETID back"](stack.redis.client)
        wait_until(lambda: stack.redis.client.xinfo_groups(STREAM), 15, "there is a group")
    sent.check()


def test_a_redis_that_comes_back_as_it_was_before(stack):
    """An older append-only file, or a replica that was behind: it issues ids again."""
    sent = Sent(stack)
    sent.add(20)
    stack.wait_drained()
    stack.redis.stop()
    shutil.copytree(stack.folder / "redis", stack.folder / "redis-before")
    stack.redis.start()
    sent.add(20)
    stack.wait_drained()
    stack.redis.kill()
    shutil.rmtree(stack.folder / "redis")
    shutil.move(stack.folder / "redis-before", stack.folder / "redis")
    stack.redis.start()
    sent.add(20)
    sent.check()
    assert state_losses(stack.loader) >= 1


def test_a_full_redis_is_drained_by_a_loader_that_comes_back(stack):
    """Without an operator, and its memory returns to what it was."""
    client = stack.redis.client
    sent = Sent(stack)
    sent.add(20)
    sent.check()
    stack.loader.stop()
    base = client.info("memory")["used_memory"]
    client.config_set("maxmemory", base + 8 * MEGABYTE)
    while not sent.unsure:
        sent.add(records=2000)
    assert client.info("memory")["used_memory"] > base + 6 * MEGABYTE
    stack.loader.start()
    wait_until(lambda: client.info("memory")["used_memory"] < base + 4 * MEGABYTE, 30,
               "there is room")
    sent.add_again()
    sent.check()
    wait_until(lambda: client.info("memory")["used_memory"] < base + MEGABYTE // 2, 15,
               "memory is as before")


def test_a_full_redis_without_the_group_is_drained_while_clients_go_on(make_stack):
    """XGROUP CREATE wants memory, and whatever becomes free the next client takes."""
    stack = make_stack(
        nginx_edits=[("sluice_timeout 5s;", "sluice_timeout 5s; sluice_shed off;")]).start()
    stack.loader.stop()
    client = stack.redis.client
    client.xgroup_destroy(STREAM, "log_workers")
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 4 * MEGABYTE)
    stop = threading.Event()

    def go_on():
        api = stack.api()
        while not stop.is_set():
            api.batch([{"device_id": "d", "log_level": "INFO", "message": "x" * 900}] * 50)

    clients = [threading.Thread(target=go_on) for _ in range(2)]
    for thread in clients:
        thread.start()
    try:
        wait_until(lambda: stack.api().log().status == 503, 30, "Redis is full")
        stack.loader.start()
        wait_until(lambda: stack.rows() > 1000, 30, "it drains")
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    stack.wait_drained()


def place(entry_id):
    return tuple(map(int, entry_id.split("-")))


def oldest(client):
    return place(client.xrange(STREAM, count=1)[0][0].decode())


def add_group_left_behind(stack, sent):
    """A group that has read only the first of what is there."""
    client = stack.redis.client
    client.xgroup_create(STREAM, "others", id="0")
    ids = sent.add(300, records=1)
    ((_, entries),) = client.xreadgroup("others", "one", {STREAM: ">"}, count=150)
    client.xack(STREAM, "others", *[entry_id for entry_id, _ in entries[:100]])
    return ids


def have_it_trimmed(stack, sent):
    """Acknowledging makes the loader look how far it may, soon."""
    def rounds():
        return stack.redis.client.info("commandstats")["cmdstat_xtrim"]["calls"]

    before = rounds()
    wait_until(lambda: sent.add() and rounds() >= before + 2, 15, "trimming was tried")


def test_a_group_that_is_named_holds_back_trimming(make_stack):
    stack = make_stack(load={"SLUICED_REDIS_OTHER_GROUPS": "others"})
    stack.start_loading()
    wait_until(lambda: "a configured group does not exist" in stack.loader.log_text(), 15,
               "the loader misses the other group")
    client = stack.redis.client
    sent = Sent(stack)
    ids = add_group_left_behind(stack, sent)
    stack.wait_drained(by=GROUP)
    wait_until(lambda: stack.redis.stream_length() < 300, 15, "it is trimmed a little")
    assert oldest(client) <= place(ids[100]), "what it has not acknowledged"
    have_it_trimmed(stack, sent)
    assert oldest(client) <= place(ids[100]), "what it has not acknowledged"
    client.xack(STREAM, "others", *ids[100:150])
    have_it_trimmed(stack, sent)
    assert oldest(client) <= place(ids[150]), "what it has not read"
    while entries := client.xreadgroup("others", "one", {STREAM: ">"}):
        client.xack(STREAM, "others", *[entry_id for entry_id, _ in entries[0][1]])
    client.xack(STREAM, "others", *ids)
    sent.check()


def test_a_group_that_is_not_named_does_not(stack):
    sent = Sent(stack)
    add_group_left_behind(stack, sent)
    stack.wait_drained(by=GROUP)
    wait_until(lambda: stack.redis.stream_length() == 0, 15, "the stream is trimmed")
