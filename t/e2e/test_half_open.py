"""A loader's machine is gone, and nobody tells Postgres, which waits for the rest of its rows."""

import sys
import threading
import time

import pytest

from harness import frames
from harness.build import ROOT
from harness.waiting import wait_until

sys.path.append(str(ROOT / "t" / "faults"))
from network import HOST, Network, own_network  # noqa: E402

LINK = "loader to postgres"
FRAMES, RECORDS = 40, 500


def stop_in_copy(stack):
    """Adds frames until the loader stands still in the middle of storing some; returns the backend
    that waits for more rows, and how many rows there will be."""
    connection = stack.postgres.connect()
    cursor = connection.cursor()

    def copying():
        cursor.execute("SELECT pid, wait_event FROM pg_stat_activity"
                       " WHERE state = 'active' AND query LIKE 'COPY%'")
        return cursor.fetchall()

    added = 0

    def caught():
        nonlocal added
        frames.add(stack.redis, [frames.frame([frames.row(f"row {n} {i}") for i in range(RECORDS)])
                                 for n in range(FRAMES)])
        added += FRAMES * RECORDS
        until = time.monotonic() + 2
        while not copying():
            if time.monotonic() > until:
                return None
        stack.loader.pause()
        # What the loader has sent is read first.
        until = time.monotonic() + 1
        while [wait for _, wait in copying()] != ["ClientRead"]:
            if time.monotonic() > until:
                stack.loader.resume()
                return None
        return copying()[0][0]  # all of it stands still, so this does, too

    try:
        return wait_until(caught, 30, "the loader is stopped in a COPY"), added
    finally:
        connection.close()


def lose_the_loader(stack, network):
    stack.postgres.conf = stack.postgres.conf.replace(
        "listen_addresses = ''", f"listen_addresses = '{HOST}'")
    stack.postgres.hba += f"host all all {HOST}/16 trust\n"
    stack.loader.settings["SLUICED_POSTGRES_DSN"] = f"host={network.address(LINK)} dbname=sluice"
    stack.start_loading()
    stack.wait_partitions()
    backend, rows = stop_in_copy(stack)
    network.forget(LINK)
    stack.loader.kill()
    stack.loader.start()
    stack.wait_drained(60)
    assert stack.rows() == rows
    # It lets its locks go a little before it is gone.
    wait_until(lambda: backend not in [pid for pid, in stack.postgres.query(
        "SELECT pid FROM pg_stat_activity")], 2, "its backend is gone")


def test_what_a_lost_loader_had_begun_is_stored_by_another(make_stack):
    """A network namespace is a thread's, and of what it starts."""
    stack = make_stack(load={"SLUICED_POSTGRES_TIMEOUT_MS": "1000"})
    outcome = []

    def run():
        try:
            network = Network(own_network(), [LINK])
        except OSError as error:
            outcome.append(error)
            return
        try:
            lose_the_loader(stack, network)
        except BaseException as failure:
            outcome.append(failure)
        finally:
            stack.loader.stop()
            network.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if outcome and isinstance(outcome[0], PermissionError):
        pytest.skip(f"no network namespace can be made: {outcome[0]}")
    if outcome:
        raise outcome[0]
