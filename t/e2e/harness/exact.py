"""What must hold of the stream and the tables, whatever happened on the way."""

import re

import redis

from .frames import add, frame, row
from .waiting import wait_until

def differences(stored, expected):
    """In words; empty if every message is there once."""
    lost = [message for message in expected if message not in stored]
    twice = [message for message, count in stored.items() if count > 1]
    strange = [message for message in stored if message not in expected]
    return [f"{len(found)} {what}, of {len(expected)}: {found[:5]}"
            for what, found in (("lost", lost), ("twice", twice), ("strange", strange)) if found]


def check_counters(stack):
    """Each row has an id of its own, and is counted in its minute and level."""
    assert stack.postgres.value("SELECT count(*) - count(DISTINCT id) FROM logs") == 0, "row ids"
    assert stack.postgres.value("SELECT coalesce(sum(n), 0) FROM counters") == stack.rows()
    wrong = stack.postgres.query(
        "SELECT minute, log_level, real.n, counted.n FROM ("
        "   SELECT date_trunc('minute', created_at) AS minute, log_level, count(*) AS n"
        "   FROM logs GROUP BY 1, 2) AS real"
        " FULL JOIN (SELECT minute, log_level, sum(n) AS n FROM counters GROUP BY 1, 2) AS counted"
        " USING (minute, log_level) WHERE real.n IS DISTINCT FROM counted.n")
    assert not wrong, f"counters: {wrong[:5]}"
    check_sums(stack)


def wrong_sums(postgres):
    """Of hours and days, what is not as the counters have it: by slot, and nothing for nothing."""
    return [row for unit in ("hour", "day") for row in postgres.query(
        f"SELECT {unit}, log_level, slot, real.n, sums.n FROM ("
        f"   SELECT date_trunc('{unit}', minute, 'UTC') AS {unit}, log_level, slot, sum(n) AS n"
        f"   FROM counters GROUP BY 1, 2, 3) AS real FULL JOIN counters_{unit} AS sums"
        f" USING ({unit}, log_level, slot) WHERE real.n IS DISTINCT FROM sums.n")]


def check_sums(stack):
    assert not (wrong := wrong_sums(stack.postgres)), f"sums of counters: {wrong[:5]}"


def stored_messages(stack):
    """How many rows each message has."""
    return dict(stack.postgres.query("SELECT message, count(*) FROM logs GROUP BY message"))


def wait_finished(stack, timeout):
    """Everything is loaded, acknowledged and trimmed."""
    stack.wait_drained(timeout)
    wait_until(lambda: stack.redis.stream_length() == 0, 20, "the stream is trimmed")
    assert stack.redis.pending() == 0


def check_exact(stack, expected, timeout=60):
    """In the end the logs are these messages, each once."""
    wait_finished(stack, timeout)
    assert not (wrong := differences(stored_messages(stack), set(expected))), wrong
    check_counters(stack)


class Sent:
    """Adds frames to the stream and remembers their messages, of which no two are the same."""

    def __init__(self, stack):
        self.stack = stack
        self.messages = []
        self.unsure = []  # frames of which Redis did not say that it has them

    def frames(self, count, records=3, **options):
        """Only makes them; whoever adds them does it at least once."""
        made = []
        for _ in range(count):
            first = len(self.messages)
            self.messages += [f"m{number}" for number in range(first, first + records)]
            made.append(frame([row(message) for message in self.messages[first:]], **options))
        return made

    def add(self, count=1, **options):
        """The ids of their entries, unless Redis is lost, or takes none."""
        return self._add(self.frames(count, **options))

    def add_again(self):
        """As the edge does, once Redis is back."""
        unsure, self.unsure = self.unsure, []
        return self._add(unsure)

    def _add(self, frames):
        try:
            return add(self.stack.redis, frames)
        except (redis.ConnectionError, redis.ResponseError) as error:
            # The command, with all its rows, stands in front of the error.
            text = str(error)[-200:]
            assert isinstance(error, redis.ConnectionError) or re.search("OOM|MISCONF", text), text
            self.unsure += frames
            return []

    def check(self, timeout=60):
        check_exact(self.stack, self.messages, timeout)
