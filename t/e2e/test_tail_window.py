"""What stays in the stream for those who watch: as much as is set, and nobody else suffers from it."""

import signal

from harness import frames
from harness.waiting import wait_until
from test_backlog import RECORDS, add, backlog, rows_added, wait_backlog

WINDOW = {"SLUICED_LOAD_TAIL_WINDOW_MB": "1"}
KEY = "logs:stream"
MEGABYTE = 1 << 20


def kept(stack):
    return int(stack.redis.client.hget(KEY + ":kept", "entries") or 0)


def start(make_stack, load=(), **options):
    return make_stack(load={**WINDOW, **dict(load)}, **options).start_loading()


def entry_bytes(text="x" * 100):
    return (len(frames.row(text)) + 1) * RECORDS + 64


def wait_kept(stack, least, most):
    wait_until(lambda: least <= stack.redis.stream_length() <= most, 15,
               f"{least} to {most} entries are kept")
    wait_until(lambda: kept(stack) == stack.redis.stream_length(), 5, "it is told")


def test_the_newest_are_kept_and_do_not_wait(make_stack):
    stack = start(make_stack)
    fit = MEGABYTE // entry_bytes()
    rows_added(stack, fit // 2)
    wait_kept(stack, fit // 2, fit // 2)
    rows_added(stack, 3 * fit)
    # Nodes of up to a hundred entries go as a whole.
    wait_kept(stack, fit, fit + 100)
    wait_backlog(stack, 0)
    stack.postgres.stop()
    add(stack, 200)
    wait_backlog(stack, 200)
    stack.postgres.start()


def test_it_is_kept_by_several_loaders_that_come_and_go(make_stack):
    stack = start(make_stack, {"SLUICED_LOAD_CONSUMERS": "3"})
    second = stack.add_loader(**WINDOW)
    second.start()
    fit = MEGABYTE // entry_bytes()
    for _ in range(3):
        rows_added(stack, 2 * fit)
        # Each goes by what it has seen itself, a large one among others.
        wait_kept(stack, fit // 2, fit + 100)
        second.kill()
        stack.loader.kill()
        stack.loader.start()
        # Entries of another size do not make it forget those that are there.
        frames.add(stack.redis, [frames.frame([frames.row("y" * 50000)])])
        stack.wait_drained()
        second.start()
        assert stack.redis.stream_length() > fit // 2


def test_after_a_restart_of_redis_what_is_kept_does_not_wait(make_stack):
    """Redis 7.0 does not know then how many entries the group was given."""
    stack = start(make_stack, {"SLUICED_LOAD_BATCH_ROWS": "1000"})
    rows_added(stack, 300)
    wait_kept(stack, 300, 300)
    stack.postgres.stop()
    add(stack, 200)
    wait_backlog(stack, 200)
    stack.redis.stop()
    stack.redis.start()
    wait_backlog(stack, 200)
    stack.postgres.start()
    stack.wait_drained()


def test_without_a_loader_neither_the_edge_nor_status_take_it_for_a_backlog(make_stack):
    stack = make_stack(load=WINDOW).start()
    api = stack.api()
    records = [{"device_id": "d", "log_level": "INFO", "message": "m"}] * 40
    for _ in range(100):
        assert api.batch(records).status == 200
    stack.wait_rows(4000)
    stack.wait_drained()
    wait_until(lambda: kept(stack) == stack.redis.stream_length() > 0, 5, "it is told")
    stack.loader.stop()
    for _ in range(10):
        assert api.batch(records).status == 200

    def estimate():
        return float(next(line for line in api.get("/metrics").body.decode().splitlines() if line.startswith(
            "sluice_edge_backlog_records ")).split()[1])

    wait_until(lambda: 0 < estimate() <= 500, 15, f"the edge's estimate is right: {estimate()}")
    report = stack.loader.run("status", "--json").stdout.replace(" ", "")
    waiting = stack.redis.stream_length() - kept(stack)
    assert f'"backlog":{{"entries":{waiting},' in report, report


def test_it_gives_way_before_anybody_is_refused(make_stack):
    """Also when Postgres is away and nothing is acknowledged any more."""
    stack = start(make_stack, {"SLUICED_LOAD_TAIL_WINDOW_MB": "64",
                               "SLUICED_LOAD_BATCH_ROWS": "1000"})
    client = stack.redis.client
    rows_added(stack, 2000)
    stack.postgres.stop()
    used = client.info("memory")["used_memory"]
    assert stack.redis.stream_length() == 2000
    client.config_set("maxmemory", int(used / 0.52))
    wait_until(lambda: stack.redis.stream_length() <= 128, 10, "it is trimmed")
    assert client.info("memory")["used_memory"] < used
    client.config_set("maxmemory", 256 * MEGABYTE)
    stack.postgres.start()


def test_a_small_redis_keeps_little(make_stack):
    stack = start(make_stack, {"SLUICED_LOAD_TAIL_WINDOW_MB": "64"})
    stack.redis.client.config_set("maxmemory", 32 * MEGABYTE)
    fit = 2 * MEGABYTE // entry_bytes()
    rows_added(stack, 3 * fit)
    wait_kept(stack, fit, fit + 100)
    assert backlog(stack)[0] == 0


def test_it_is_set_anew_while_the_loader_runs(make_stack):
    stack = make_stack()
    # Not by the environment, which stays what it is.
    del stack.loader.settings["SLUICED_LOAD_TAIL_WINDOW_MB"]
    stack.start_loading()
    rows_added(stack, 1000)
    wait_kept(stack, 1000, 1000)
    path = stack.loader.conf_path
    path.write_text(path.read_text().replace("tail_window_mb = 32", "tail_window_mb = 1"))
    stack.loader.signal(signal.SIGHUP)
    fit = MEGABYTE // entry_bytes()
    wait_kept(stack, fit, fit + 100)
