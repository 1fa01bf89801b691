"""Adds frames to the stream for as long as it is told to, each until Redis says that it has it, and
remembers what has to become of them."""

import collections
import os
import queue
import random
import threading
import time

import redis

from harness.frames import frame, keyed_id, row

STREAM = "logs:stream"
HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS
# What waits to be loaded; while it is more, nothing is added.
BACKLOG_ENTRIES = 3000
POISON = row(level="LOUD")


class Feeder(threading.Thread):
    def __init__(self, server, seed):
        super().__init__()
        self.dice = random.Random(seed)
        self.name_of_seed = f"f{seed}"
        self.client = server.new_client(socket_timeout=5)
        self.stopping = threading.Event()
        self.messages = []  # stored once
        self.dead = set()  # (u, position) of the dead letters
        self.plain = collections.Counter()  # message: how often an entry of it may be in the stream
        self.again = 0  # frames added twice, knowingly or not
        self.days_ahead = 1  # of which the partitions are there
        self.wanted = queue.SimpleQueue()
        self.failure = None

    def run(self):
        try:
            while not self.stopping.is_set():
                if not self.wanted.empty():
                    self._provoke(self.wanted.get())
                elif self._call(self.client.xlen, STREAM) < BACKLOG_ENTRIES:
                    self._add_some()
                else:
                    self.stopping.wait(0.05)
        except Exception as failure:
            self.failure = failure

    def stop(self):
        self.stopping.set()
        self.join()
        if self.failure:
            raise self.failure

    def _call(self, command, *arguments):
        """Until it is answered."""
        while True:
            try:
                return command(*arguments)
            except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
                self.again += 1
                time.sleep(0.01)

    def _add(self, fields):
        self._call(self.client.xadd, STREAM, fields)

    def provoke(self, step):
        """Soon there is a reason to take the loader's step."""
        self.wanted.put(step)

    def _provoke(self, step):
        self._add_plain()
        self._add_keyed()
        self._add_poisoned()
        if step.startswith("make"):
            self.days_ahead += 1
            self._add(self._frame(int(time.time() * 1000) + self.days_ahead * DAY_MS))

    def _add_some(self):
        """One frame, of any kind."""
        kind = self.dice.random()
        if kind < 0.02:
            self._add_plain()
        elif kind < 0.05:
            self._add_keyed()
        elif kind < 0.06:
            self._add_poisoned()
        else:
            fields = self._frame(self._time())
            self._add(fields)
            if kind < 0.15:
                self.again += 1
                self._add(fields)

    def _rows(self, count):
        first = len(self.messages)
        self.messages += [f"{self.name_of_seed}-{n}" for n in range(first, first + count)]
        return [row(message) for message in self.messages[first:]]

    def _frame(self, t_ms, **options):
        return frame(self._rows(self.dice.choice((1, 1, 1, 5, 50))), t_ms=t_ms, **options)

    def _time(self):
        """Now, mostly; else around a boundary of partitions that is not long ago."""
        now_ms = int(time.time() * 1000)
        if self.dice.random() < 0.95:
            return now_ms
        unit = self.dice.choice((HOUR_MS, DAY_MS))
        return now_ms // unit * unit + self.dice.choice((-1, 0, 1))

    def _add_plain(self):
        """It has no id of its own: sent again it is another record."""
        message = f"{self.name_of_seed}-plain-{len(self.plain)}"
        before = self.again
        self._add({"device_id": "plain", "log_level": "INFO", "message": message})
        self.plain[message] = 1 + self.again - before

    def _add_keyed(self):
        """The same request, sent again a little later."""
        now_ms = int(time.time() * 1000)
        fields = self._frame(now_ms, u=keyed_id())
        for again in range(2):
            self._add({**fields, "t": now_ms + again})
        self.again += 1

    def _add_poisoned(self):
        rows = self._rows(self.dice.randint(1, 5))
        position = self.dice.randint(0, len(rows))
        rows.insert(position, POISON)
        u = os.urandom(16)
        self.dead.add((u, position))
        self._add(frame(rows, u=u))
