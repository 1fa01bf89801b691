"""Every part is killed while logs flow: what was answered 200 is stored once, the rest never twice."""

import http.client
import threading

from harness.waiting import wait_until

THREADS = 6
BATCH = 10


class Writer(threading.Thread):
    """Posts numbered records, one by one and in batches, and remembers the outcome of each."""

    def __init__(self, stack, number):
        super().__init__()
        self.api = stack.api(timeout=30)
        self.number = number
        self.stopping = threading.Event()
        self.stored = []  # answered 200
        self.refused = []  # the edge said that it is not stored
        self.unknown = []  # no answer, or "outcome unknown"

    def run(self):
        sent = 0
        while not self.stopping.is_set():
            count = BATCH if sent % 3 else 1
            names = [f"{self.number}-{sent + n}" for n in range(count)]
            sent += count
            self._outcome(names).extend(names)

    def _outcome(self, names):
        records = [{"device_id": f"w{self.number}", "log_level": "INFO", "message": name}
                   for name in names]
        try:
            if len(records) == 1:
                answer = self.api.post("/api/log", records[0])
            else:
                answer = self.api.batch(records)
        except ConnectionRefusedError:
            self.stopping.wait(0.02)  # paces the client while nginx is away; nothing depends on it
            return self.refused
        except (OSError, http.client.HTTPException):
            return self.unknown
        if answer.status == 200:
            return self.stored
        assert answer.status == 503, answer
        return self.unknown if answer.json["code"] == "outcome_unknown" else self.refused


def kill_and_restart(part):
    part.kill()
    part.start()


def test_exactly_once_through_kills(stack):
    stack.allow(r"connect\(\) to unix:.* failed")
    writers = [Writer(stack, number) for number in range(THREADS)]
    for writer in writers:
        writer.start()

    def stored():
        return sum(len(writer.stored) for writer in writers)

    def wait_stored(more):
        target = stored() + more
        wait_until(lambda: stored() >= target, 30, f"{more} more records are answered 200")

    try:
        for _ in range(2):
            for part in (stack.loader, stack.postgres, stack.redis, stack.nginx, stack.server):
                wait_stored(300)
                kill_and_restart(part)
        wait_stored(300)
    finally:
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join()
    stack.wait_drained(60)
    check_storage(stack, writers)


def check_storage(stack, writers):
    counts = dict(stack.postgres.query("SELECT message, count(*) FROM logs GROUP BY message"))
    stored = [name for writer in writers for name in writer.stored]
    unknown = {name for writer in writers for name in writer.unknown}
    refused = {name for writer in writers for name in writer.refused}
    assert len(stored) >= 3000
    lost = [name for name in stored if counts.get(name, 0) == 0]
    assert not lost, f"{len(lost)} of {len(stored)} answered 200 and lost: {lost[:5]}"
    twice = [name for name, count in counts.items() if count > 1]
    assert not twice, f"{len(twice)} stored twice: {twice[:5]}"
    wrongly = [name for name in counts if name in refused]
    assert not wrongly, f"{len(wrongly)} refused and yet stored: {wrongly[:5]}"
    assert set(counts) <= set(stored) | unknown
    total = stack.rows()
    assert stack.postgres.value("SELECT coalesce(sum(n), 0) FROM counters") == total
