"""When each device was seen last: beside the rows, a little behind them, and never in their way."""

import time

from harness import frames
from harness.exact import Sent
from harness.waiting import wait_until
from test_daemon_metrics import read_socket

LEFT_OUT = 'sluice_loader_last_seen_left_out_rows_total{loader="one"}'
STRANGE = ['a"b', "a\\b", '\\"', "{a,b}", "NULL", " spaced ", "ä/€/😀", "'; --", "\\N", "\\.", "$1"]


def seen(stack):
    """Milliseconds since 1970 by device."""
    return dict(stack.postgres.query(
        "SELECT device_id, (extract(epoch FROM last_seen) * 1000)::bigint FROM devices"))


def newest(stack):
    return dict(stack.postgres.query(
        "SELECT device_id, (extract(epoch FROM max(created_at)) * 1000)::bigint FROM logs"
        " GROUP BY device_id"))


def wait_seen(stack, devices):
    """They are noted each some seconds: what is known may be what was so before."""
    wait_until(lambda: set(found := seen(stack)) == set(devices) and found == newest(stack), 20,
               "all devices are known")


def test_devices_by_any_name_with_the_time_of_their_newest_record(stack, api):
    for device in STRANGE:
        assert api.log(device).status == 200
    assert api.batch([{"device_id": f"device-{number % 7}", "log_level": "INFO", "message": "m"}
                      for number in range(100)]).status == 200
    wait_seen(stack, [*STRANGE, *(f"device-{number}" for number in range(7))])
    # Another name of the same bytes would be another device.
    assert not set(STRANGE) - {device for device, in stack.postgres.query(
        "SELECT device_id FROM logs WHERE device_id = ANY (%s)", STRANGE)}


def test_what_is_older_does_not_set_it_back(make_stack):
    stack = make_stack().start_loading()
    now = int(time.time() * 1000)
    for t_ms in (now, now - 50000, now - 4000, now + 7):
        frames.add(stack.redis, [frames.frame([frames.row(device_id="pump")], t_ms=t_ms)])
        stack.wait_drained()
        wait_until(lambda: "pump" in seen(stack), 20, "it is known")
    wait_until(lambda: seen(stack) == {"pump": now + 7}, 20, "it is known to be newer")


def test_a_loader_that_stops_leaves_nothing_behind(make_stack):
    stack = make_stack(load={"SLUICED_LOAD_CONSUMERS": "2"}).start_loading()
    frames.add(stack.redis, [frames.frame([frames.row(device_id=f"d{number}")])
                             for number in range(3000)])
    wait_until(lambda: stack.rows() > 0, 10, "it has begun")
    stack.loader.stop()
    assert stack.rows() > 0 and seen(stack) == newest(stack)


def test_who_holds_the_table_holds_up_no_batch(make_stack):
    stack = make_stack().start_loading()
    holder = stack.postgres.connect()
    holder.autocommit = False
    holder.cursor().execute("LOCK TABLE devices IN EXCLUSIVE MODE")
    sent = Sent(stack)
    sent.add(10)
    wait_until(lambda: stack.loader.events("last-seen times of devices are stored later"), 20,
               "it was tried")
    sent.add(10)
    sent.check(10)
    assert seen(stack) == {}
    holder.rollback()
    holder.close()
    wait_seen(stack, ["d"])


def test_rows_that_are_refused_make_no_device(make_stack):
    stack = make_stack().start_loading()
    stack.allow("a record cannot be stored")
    bad = frames.row(device_id="refused", log_data='{"a":"\\\\u0000"}')
    frames.add(stack.redis, [frames.frame(
        [frames.row(device_id="good-1"), bad, frames.row(device_id="good-2")])])
    stack.wait_rows(2)
    wait_seen(stack, ["good-1", "good-2"])


def test_of_too_many_at_once_some_are_left_out(make_stack):
    stack = make_stack(load={"SLUICED_LOAD_NAME": "one"}).start_loading()
    frames.add(stack.redis, [
        frames.frame([frames.row(device_id=f"d{first + number}") for number in range(1000)])
        for first in range(0, 30000, 1000)])
    stack.wait_rows(30000, 60)
    left_out = wait_until(lambda: read_socket(stack.folder / "load.sock")[LEFT_OUT], 20, "it is told")
    assert 0 < left_out <= 30000 - len(seen(stack))
    assert len(seen(stack)) >= 10000


def test_killed_it_knows_a_device_again_when_it_sends_again(make_stack):
    stack = make_stack().start_loading()
    sent = Sent(stack)
    sent.add(5)
    wait_until(lambda: stack.rows() > 0, 10, "stored")
    stack.loader.kill()
    stack.loader.start()
    sent.add(5)
    sent.check()
    wait_seen(stack, ["d"])


def test_two_loaders_that_meet_the_same_devices(make_stack):
    stack = make_stack()
    second = stack.add_loader()
    stack.start_loading()
    second.start()
    for turn in range(20):
        frames.add(stack.redis, [frames.frame(
            [frames.row(device_id=f"d{(number * 7919 + turn) % 500}") for number in range(500)])
            for _ in range(2)])
        time.sleep(0.5)
    stack.wait_drained()
    wait_seen(stack, [f"d{number}" for number in range(500)])
    assert "40P01" not in stack.loader.log_text() + second.log_text()


def test_frames_that_come_behind_the_settled_horizon_are_told_of(make_stack):
    stack = make_stack().start_loading()
    now = int(time.time() * 1000)
    frames.add(stack.redis, [frames.frame([frames.row()], t_ms=now - ago)
                             for ago in (0, 3000, 60000, 3600000)])
    stack.wait_rows(4)
    told = wait_until(lambda: stack.loader.events(
        "frames were late: pages whose time had been called settled lack their records"), 10,
        "it is told")
    assert sum(int(event["frames"]) for event in told) == 2
