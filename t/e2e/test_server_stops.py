"""The server is stopped while it has questions open: these are answered, and no others come in."""

import signal
import threading

from harness.waiting import wait_until


def is_refusing_connections(stack):
    try:
        stack.server.connection().connect()
        return False
    except ConnectionRefusedError:
        return True


def test_open_questions_are_answered_and_new_ones_refused(make_stack):
    stack = make_stack(serve={"SLUICED_SERVE_QUERY_TIMEOUT_MS": "60000"}).start()
    api = stack.api()
    assert api.log("pump-7").status == 200
    stack.wait_rows(1)
    kept = stack.server.connection()
    kept.request("GET", "/health/live")
    assert kept.getresponse().read()

    lock = stack.postgres.connect()
    lock.autocommit = False
    lock.cursor().execute("LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(stack.api().logs("pump-7")))
    waiting.start()
    wait_until(lambda: stack.postgres.value(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'sluiced-serve' AND wait_event_type = 'Lock'") == 1,
        10, "the query waits")

    stack.server.signal(signal.SIGTERM)
    wait_until(lambda: is_refusing_connections(stack), 5, "it takes no more connections")
    kept.request("GET", "/health/live")
    last = kept.getresponse()
    assert (last.status, last.headers["Connection"]) == (200, "close")
    # nginx may have kept a connection or two, on which this is refused as it always is.
    refused = wait_until(lambda: (answer := api.logs("pump-7", "?limit=0")).status != 400 and answer,
                         5, "nginx cannot reach it any more")
    assert (refused.status, refused.json["code"]) == (503, "server_unavailable")
    assert refused.headers["Retry-After"]

    lock.rollback()
    lock.close()
    waiting.join()
    assert answers[0].status == 200 and answers[0].json["total"] == 1
    assert stack.server.process.wait(40) == 0
