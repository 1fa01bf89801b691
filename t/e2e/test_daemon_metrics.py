"""What the loader and the server count, on the page that nginx makes of theirs."""

import re
import time

from harness import frames
from harness.sluiced import UnixConnection
from harness.waiting import wait_for_a_day, wait_until
from test_metrics import families_of, metrics

PAGE = "/metrics/daemon"
FAMILIES = {
    "sluice_loader_" + name for name in (
        "rows_total frames_total duplicate_frames_total plain_entries_total claimed_entries_total"
        " acknowledged_entries_total trimmed_entries_total lost_entries_total"
        " unknown_version_entries_total clamped_times_total late_frames_total state_losses_total"
        " dead_letters_total last_seen_left_out_rows_total"
        " redis_retries_total postgres_retries_total refused_batches_total careful_batches_total"
        " receipt_to_stored_seconds batch_rows batch_bytes batch_seconds consumers postgres_up"
        " connections buffered_bytes drain_records_per_second edge_clock_skew_seconds"
        " backlog_entries backlog_records backlog_bytes pending_entries postgres_setting"
        " postgres_setting_required partitions tomorrow_partition redis_durability"
        " redis_durability_required").split()
} | {
    "sluice_" + name for name in (
        "http_requests_total http_request_duration_seconds db_queries_total"
        " db_query_duration_seconds active_connections server_running_queries"
        " server_waiting_queries server_gives_way"
        " server_exports_total server_exported_rows_total server_running_exports"
        " tail_clients tail_events_total tail_dropped_records_total tail_gaps_total"
        " tail_refused_clients_total tail_receipt_to_event_seconds").split()
}


class Page:
    """One reading; samples of the loader without its name."""

    def __init__(self, values):
        self.values = {
            re.sub(r'\{loader="[^"]*",?', "{", name).replace("{}", ""): value
            for name, value in values.items()
        }

    def __call__(self, name, **labels):
        inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
        full = f"{name}{{{inside}}}" if inside else name
        return self.values[full if full.startswith("sluice_") else "sluice_loader_" + full]


def read(stack):
    return Page(metrics(stack.api(), PAGE)[1])


def read_socket(path):
    """Straight from a daemon."""
    connection = UnixConnection(path)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if not line.startswith("#")}


def wait_page(stack, condition, what, timeout=15):
    """What is not on the page does not fulfil any condition."""

    def fulfilled():
        try:
            return condition(read(stack))
        except KeyError:
            return False

    wait_until(fulfilled, timeout, what)


def test_all_families_are_there(stack, api):
    assert api.log().status == 200
    api.logs("pump-7")
    wait_page(stack, lambda page: "sluice_loader_backlog_entries" in page.values
              and "sluice_loader_tomorrow_partition" in page.values
              and "sluice_loader_redis_durability" in page.values, "all is known")
    assert families_of(api.get(PAGE)) == FAMILIES


def test_known_traffic_is_counted(stack, api):
    began = time.monotonic()
    for _ in range(3):
        assert api.log().status == 200
    assert api.batch([{"device_id": "d", "log_level": "INFO", "message": "m"}] * 50).status == 200
    stack.wait_drained()
    at_most = 53 * (time.monotonic() - began)
    wait_page(stack, lambda page: page("acknowledged_entries_total") == 4, "all is acknowledged")
    wait_page(stack, lambda page: page("trimmed_entries_total") == 4, "and trimmed")
    wait_page(stack, lambda page: page("backlog_entries") == 0,
              "nothing waits")
    page = read(stack)
    assert page("rows_total") == 53
    assert page("frames_total") == 4
    assert page("pending_entries") == page("backlog_records") == page("backlog_bytes") == 0
    assert page("receipt_to_stored_seconds_count") == 53
    assert page("receipt_to_stored_seconds_bucket", le="+Inf") == 53
    assert page("receipt_to_stored_seconds_bucket", le="60") == 53
    assert 0 < page("receipt_to_stored_seconds_sum") < at_most
    assert page("batch_rows_sum") == 53
    batches = page("batch_rows_count")
    assert 1 <= batches <= 4 and batches == page("batch_seconds_count") == page("batch_bytes_count")
    assert 0 < page("batch_seconds_sum") < at_most
    row_bytes = metrics(api)[1]["sluice_edge_row_bytes_total"]
    assert page("batch_bytes_sum") == row_bytes
    assert page("consumers") == page("postgres_up") == 1
    assert page("connections", to="redis") == page("connections", to="postgres") == 1
    assert page("buffered_bytes") == 0
    assert page("edge_clock_skew_seconds", side="behind") < 5
    assert page("edge_clock_skew_seconds", side="ahead") < 1
    for name in ("duplicate_frames_total", "plain_entries_total", "claimed_entries_total",
                 "lost_entries_total", "refused_batches_total"):
        assert page(name) == 0, name


def test_queries_are_counted_by_the_server_that_answers_them(stack, api):
    assert api.log().status == 200
    stack.wait_drained()
    assert api.logs("pump-7").status == 200
    assert api.logs("pump-7").status == 200, "the cache's"
    assert api.logs("pump-8").status == 200
    assert api.logs("pump-7", "?limit=0").status == 400
    page = read(stack)
    counted = page("sluice_http_requests_total", endpoint="logs", status="200")
    assert 2 <= counted <= 3, "one of them may have come a second later, and not from the cache"
    assert page("sluice_http_requests_total", endpoint="logs", status="400") == 1
    assert page("sluice_db_queries_total", end="done") == counted
    assert page("sluice_db_query_duration_seconds_count") == counted
    took = page("sluice_http_request_duration_seconds_sum", endpoint="logs")
    assert took > page("sluice_db_query_duration_seconds_sum") > 0
    assert 1 <= page("sluice_active_connections", kind="postgres") <= 4
    assert page("sluice_active_connections", kind="http") >= 1
    assert page("sluice_server_running_queries") == page("sluice_server_waiting_queries") == 0
    stack.postgres.stop()
    assert api.logs("pump-9").status == 503
    page = read(stack)
    assert page("sluice_http_requests_total", endpoint="logs", status="503") == 1
    assert page("sluice_db_queries_total", end="failed") + page(
        "sluice_db_queries_total", end="unreachable") >= 1
    wait_page(stack, lambda page: page("postgres_up") == 0 and page("connections", to="postgres") == 0
              and page("postgres_retries_total", **{"class": "lost"}) > 0, "Postgres is away")
    stack.postgres.start()


def test_what_is_not_as_it_should_be_is_counted(stack):
    stack.allow("a record cannot be stored")
    twice = frames.frame([frames.row()] * 3)
    ahead_ms = int(time.time() * 1000) + 7000
    frames.add(stack.redis, [
        twice,
        frames.frame([frames.row(), frames.row(b"a\0b"), frames.row(r"\N")]),
        {"device_id": "d", "log_level": "INFO", "message": "plain"},
        {"device_id": "d", "log_level": "LOUD", "message": "plain"},
        {"nothing": "known"},
        frames.frame([frames.row()], t_ms=ahead_ms),
    ])
    sent = time.time()
    stack.wait_rows(6)
    frames.add(stack.redis, [twice])
    stack.wait_drained()
    page = read(stack)
    assert page("rows_total") == 6
    assert page("duplicate_frames_total") == 1
    assert page("plain_entries_total") == 1
    assert page("dead_letters_total", reason="data") == 1
    assert page("dead_letters_total", reason="constraint") == 1
    assert page("dead_letters_total", reason="entry") == 2
    assert page("dead_letters_total", reason="limit") == 0
    assert page("careful_batches_total") == 1
    assert page("postgres_retries_total", **{"class": "bad_data"}) > 1
    assert ahead_ms / 1000 - sent <= page("edge_clock_skew_seconds", side="ahead") <= 7


def test_a_part_that_is_away_is_missing_and_the_other_is_told(stack, api):
    def has(name):
        families = {line.split()[2] for line in api.get(PAGE).body.decode().splitlines()
                    if line.startswith("# TYPE")}
        return name in families

    assert has("sluice_loader_rows_total") and has("sluice_http_requests_total")
    stack.loader.stop()
    answer = api.get(PAGE)
    assert b"# nothing answers at /metrics/load\n" in answer.body
    assert not has("sluice_loader_rows_total") and has("sluice_http_requests_total")
    stack.server.stop()
    assert b"# nothing answers at /metrics/serve\n" in api.get(PAGE).body
    assert not has("sluice_http_requests_total")
    stack.loader.start()
    wait_until(lambda: has("sluice_loader_rows_total"), 10)
    stack.server.start()


def test_not_everybody_may_ask(make_stack):
    stack = make_stack(nginx_edits=[("allow 127.0.0.1;", "")]).start()
    api = stack.api()
    assert api.get(PAGE).status == 403
    assert api.get("/metrics").status == 403
    assert api.get("/metrics/load").status == 404
    assert api.get("/metrics/serve").status == 404


def has_connected(path, consumers):
    """What a loader tells once its consumers and its keeper have asked Postgres."""
    values = read_socket(path)
    by_name = {name.partition("{")[0]: value for name, value in values.items()}
    return (by_name["sluice_loader_postgres_up"] == consumers
            and "sluice_loader_tomorrow_partition" in by_name and values)


def test_each_loader_tells_its_own(make_stack):
    stack = make_stack(load={"SLUICED_LOAD_NAME": 'a "b"', "SLUICED_LOAD_CONSUMERS": "2",
                             "SLUICED_LOAD_CLAIM_IDLE_MS": "1000"})
    second = stack.add_loader(SLUICED_LOAD_CLAIM_IDLE_MS="1000")
    stack.start_loading()
    # libpq writes to stderr what Postgres says last to who is connecting.
    values = wait_until(lambda: has_connected(stack.folder / "load.sock", 2), 15, "all are connected")
    assert values[r'sluice_loader_consumers{loader="a \"b\""}'] == 2
    stack.postgres.stop()
    frames.add(stack.redis, [frames.frame([frames.row()] * 2) for _ in range(5)])
    wait_until(lambda: stack.redis.pending() == 5, 10, "they are read")
    stack.loader.kill()
    time.sleep(1.1)  # until they may be taken over
    stack.postgres.start()
    second.start()
    stack.wait_rows(10)
    stack.wait_drained()
    name = second.name
    values = read_socket(stack.folder / f"{name}.sock")
    assert values[f'sluice_loader_claimed_entries_total{{loader="{name}"}}'] == 5
    assert values[f'sluice_loader_rows_total{{loader="{name}"}}'] == 10


def test_sockets_are_for_their_user_and_group_alone(stack):
    """nginx, which is one of them, asks them both."""
    assert stack.api().get("/metrics/daemon").status == 200
    assert stack.api().get("/api/logs").status == 200
    for name in ("load.sock", "serve.sock"):
        assert (stack.folder / name).stat().st_mode & 0o777 == 0o660


def test_nothing_that_only_tells_keeps_records_from_being_stored(make_stack):
    stack = make_stack(load={"SLUICED_LOAD_LISTEN": "unix:/nowhere/load.sock"})
    stack.allow("there will be no metrics")
    quiet = stack.add_loader()
    quiet.settings["SLUICED_LOAD_LISTEN"] = ""
    stack.start_loading()
    (event,) = stack.loader.events("there will be no metrics")
    assert event["setting"] == "load.listen"
    assert event["error"].startswith("cannot listen on unix:/nowhere/load.sock: ")
    frames.add(stack.redis, [frames.frame([frames.row()])])
    stack.wait_rows(1)
    stack.loader.stop()
    quiet.start()
    frames.add(stack.redis, [frames.frame([frames.row()])])
    stack.wait_rows(2)
    assert not quiet.events("there will be no metrics")


def take_tomorrow_away(stack):
    """The loader then thinks that it is another day, so that it does not make it again."""
    stack.loader.stop()
    name = stack.postgres.value(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ="
        " 'logs_' || to_char((now() AT TIME ZONE 'UTC') + interval '1 day', 'YYYYMMDD')")
    connection = stack.postgres.connect()
    connection.cursor().execute(f"DROP TABLE {name}")
    connection.close()
    stack.loader.wall_clock = "-2d"
    stack.loader.start()


def give_tomorrow_back(stack):
    stack.loader.stop()
    stack.loader.wall_clock = None
    stack.loader.start()


def test_a_missing_partition_of_tomorrow_is_told(stack):
    wait_for_a_day()
    # It looks at the start and each minute: the first look may have come before all were made.
    stack.wait_partitions()
    stack.loader.stop()
    stack.loader.start()
    wait_page(stack, lambda page: page("tomorrow_partition") == 1, "it is there")
    before = read(stack)("partitions", table="logs")
    assert before >= 2 and read(stack)("partitions", table="ledger") >= 3
    take_tomorrow_away(stack)
    wait_page(stack, lambda page: page("tomorrow_partition") == 0, "it is missing")
    give_tomorrow_back(stack)
    wait_page(stack, lambda page: page("tomorrow_partition") == 1, "it is made")
