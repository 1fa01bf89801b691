"""More comes than can be stored, from clients that come back: what is shed, and what is not.

The loader is made slow, so that how much it can store is known. First it is offered three times that
for a while: what is stored must stay at nearly all of what it can, every ERROR and CRITICAL record
must come in, and once less is offered nobody may be refused soon after. Then Postgres stops while the
load goes on: DEBUG is shed first, and what was acknowledged is stored once it is back.
"""

import argparse
import collections
import heapq
import http.client
import json
import random
import shutil
import sys
import threading
import time

from harness.api import Api
from harness.exact import check_exact
from harness.stack import Stack
from harness.template import make_template

BATCH = 50
# Of a hundred batches; the lower levels are what there is most of.
MIX = {"DEBUG": 40, "INFO": 30, "WARNING": 15, "ERROR": 10, "CRITICAL": 5}
# What must come in, and so is asked for again for as long as it takes; of the others not everything
# can, and their clients lose patience.
URGENT = ("ERROR", "CRITICAL")
PATIENCE = 3
SENDERS = 48
# Records are let in at this rate at most, whatever else it costs to store them.
PACE = 5000
SLOW_STORE = f"""
CREATE UNLOGGED TABLE pace (due timestamptz);
INSERT INTO pace VALUES (now());
CREATE FUNCTION keep_pace() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE at timestamptz;
    BEGIN
        UPDATE pace SET due = greatest(due, clock_timestamp()) + NEW.n * interval '1s' / {PACE}
            RETURNING due INTO at;
        PERFORM pg_sleep(extract(epoch FROM at - clock_timestamp()));
        RETURN NULL;
    END $$;
CREATE TRIGGER keep_pace AFTER INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION keep_pace();
SELECT 1
"""
LOAD = {"SLUICED_LOAD_BATCH_ROWS": "1500", "SLUICED_LOAD_BATCH_AGE_MS": "10"}


class Batch:
    def __init__(self, number, level):
        self.level = level
        self.messages = [f"{number}-{i}" for i in range(BATCH)]
        self.tries = 0
        self.body = json.dumps([
            {"device_id": f"d{number % 997}", "log_level": level, "message": message}
            for message in self.messages])


class Clients:
    """Batches at a given rate, in an open loop: that some are refused slows down no other."""

    def __init__(self, port, seed):
        self.port = port
        self.dice = random.Random(seed)
        self.due = []  # heap of (time, number, batch)
        self.ready = threading.Condition()
        self.stopping = False
        self.number = 0
        self.stored, self.unknown = [], []  # messages
        self.waiting = 0  # urgent batches that were refused and not taken yet
        self.given_up = collections.Counter()  # by level
        self.taken = collections.Counter()
        self.answers = collections.Counter()  # code
        self.refused_at = 0.0  # when somebody was refused last
        self.first_refused = {}  # level: when
        self.threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def offer(self, records_per_s, seconds):
        """New batches for so long."""
        begin = time.monotonic()
        levels = [level for level, share in MIX.items() for _ in range(share)]
        for i in range(int(records_per_s / BATCH * seconds)):
            due = begin + i * BATCH / records_per_s
            if due > time.monotonic() + 0.05:
                time.sleep(due - time.monotonic())
            self.number += 1
            self._put(due, Batch(self.number, self.dice.choice(levels)))

    def finish(self):
        """Those that must come in have come in, and nobody sends any more."""
        deadline = time.monotonic() + 120
        while self.due or self.waiting:
            assert time.monotonic() < deadline, f"{self.waiting} urgent batches were never taken"
            time.sleep(0.1)
        self.stop()

    def stop(self):
        with self.ready:
            self.stopping = True
            self.ready.notify_all()
        for thread in self.threads:
            thread.join()

    def _put(self, due, batch):
        with self.ready:
            heapq.heappush(self.due, (due, batch.messages[0], batch))
            self.ready.notify()

    def _next(self):
        with self.ready:
            while not self.stopping:
                if not self.due:
                    self.ready.wait()
                    continue
                wait = self.due[0][0] - time.monotonic()
                if wait <= 0:
                    return heapq.heappop(self.due)[2]
                self.ready.wait(wait)
        return None

    def _send(self):
        api = Api(self.port)
        while batch := self._next():
            try:
                answer = api.post("/api/logs/batch", batch.body)
            except (OSError, http.client.HTTPException):
                self.unknown += batch.messages
                continue
            self._answered(batch, answer)
        api.close()

    def _answered(self, batch, answer):
        now = time.monotonic()
        urgent = batch.level in URGENT
        if answer.status == 200:
            with self.ready:
                self.stored += batch.messages
                self.taken[batch.level] += 1
                self.waiting -= urgent and batch.tries > 0
            return
        code = answer.json["code"]
        assert answer.status == 503, answer
        with self.ready:
            self.answers[code] += 1
            self.refused_at = now
            self.first_refused.setdefault(batch.level, now)
            self.waiting += urgent and batch.tries == 0
        if code == "outcome_unknown":
            # sent again it would be another batch
            with self.ready:
                self.unknown += batch.messages
                self.waiting -= urgent
            return
        batch.tries += 1
        if batch.tries > PATIENCE and not urgent:
            self.given_up[batch.level] += 1
            return
        self._put(now + int(answer.headers["Retry-After"]), batch)


class Overload:
    def __init__(self, template, seed, backlog):
        shed = f"sluice_timeout 5s; sluice_shed records={backlog};"
        self.stack = Stack(template, load=LOAD, nginx_edits=[("sluice_timeout 5s;", shed)])
        self.stack.allow("postgres failed")
        self.stack.start()
        self.stack.postgres.query(SLOW_STORE)
        self.clients = Clients(self.stack.nginx.port, seed)

    def rows_told(self):
        return int(self.stack.postgres.value("SELECT coalesce(sum(n), 0) FROM counters"))

    def rate(self, seconds):
        """Rows stored a second."""
        before, begin = self.rows_told(), time.monotonic()
        time.sleep(seconds)
        return (self.rows_told() - before) / (time.monotonic() - begin)

    def overrun(self, seconds):
        """What was stored a second meanwhile, and what the loader then stores of what is left, with
        nothing else going on."""
        load = threading.Thread(target=self.clients.offer, args=(3 * PACE, seconds))
        load.start()
        time.sleep(3)
        rate = self.rate(seconds - 4)
        load.join()
        with self.clients.ready:  # nobody sends
            return rate, self.rate(4)

    def recover(self, capacity):
        """How long after the overload somebody was refused for the last time."""
        begin = time.monotonic()
        self.clients.offer(0.8 * capacity, 60)
        return max(0.0, self.clients.refused_at - begin)

    def without_postgres(self, capacity, seconds):
        """In which order levels were refused."""
        self.stack.wait_drained(60)
        self.clients.first_refused.clear()
        load = threading.Thread(target=self.clients.offer, args=(0.8 * capacity, seconds + 5))
        load.start()
        time.sleep(2)
        self.stack.postgres.stop()
        time.sleep(seconds)
        self.stack.postgres.start()
        load.join()
        return sorted(self.clients.first_refused, key=self.clients.first_refused.get)

    def check(self):
        self.clients.finish()
        stored = self.clients.stored
        if not self.clients.unknown:
            check_exact(self.stack, stored, 120)
        return len(stored)


def main():
    parser = argparse.ArgumentParser(prog="scripts/faults overload")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    print(f"--seed {options.seed}", flush=True)
    template = make_template()
    run = Overload(template.data, options.seed, backlog=25000)
    passed = False
    try:
        stored, capacity = run.overrun(options.seconds)
        kept = stored / capacity
        print(f"{3 * PACE:,} records/s for {options.seconds} s where {capacity:,.0f} can be stored: "
              f"{stored:,.0f} are, {kept:.2f} of it (bar 0.90)", flush=True)
        waited = run.recover(capacity)
        print(f"then 0.8 of it: the last refusal after {waited:.1f} s (bar 30)", flush=True)
        order = run.without_postgres(capacity, options.seconds)
        print(f"Postgres away for {options.seconds} s: shed in this order: {', '.join(order)}", flush=True)
        acknowledged = run.check()
        clients = run.clients
        print(f"{acknowledged:,} records acknowledged, each stored once; refusals: {dict(clients.answers)}; "
              f"batches given up: {dict(clients.given_up)}; taken: {dict(clients.taken)}")
        assert kept >= 0.9 and waited <= 30, "a bar is missed"
        assert order[0] == "DEBUG", order
        assert not clients.unknown, f"{len(clients.unknown)} records without an answer"
        assert not any(clients.given_up[level] for level in URGENT)
        troubles = run.stack.close()
        print("\n".join(troubles) or "nothing wrong")
        passed = not troubles
    finally:
        run.clients.stop()
        if not passed:
            print("logs kept in", run.stack.keep_logs("stress-overload"))
        run.stack.remove()
        shutil.rmtree(template.folder, ignore_errors=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
