"""What was sent, and what its sender was told: of every record its identity, what it says, and its
outcome."""

import collections
import json
import threading
import time

ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"


class Book:
    """A record is known by its message, of which no two are the same."""

    def __init__(self):
        self.lock = threading.Lock()
        self.records = {}  # by message
        self.outcomes = {}  # message: outcome, and when it was known

    def sent(self, records):
        """Before the first byte leaves: whatever happens then is written down."""
        with self.lock:
            for record in records:
                self.records[record["message"]] = record
                self.outcomes[record["message"]] = (UNKNOWN, time.monotonic())

    def told(self, records, outcome):
        with self.lock:
            for record in records:
                self.outcomes[record["message"]] = (outcome, time.monotonic())

    def count(self, outcome):
        with self.lock:
            return sum(known == outcome for known, _ in self.outcomes.values())

    def judge(self, rows):
        """rows: (device_id, log_level, message, log_data as text). What is not as it was told, by
        what is wrong with it."""
        found = collections.Counter(message for _, _, message, _ in rows)
        wrong = collections.defaultdict(list)
        for message, (outcome, _) in self.outcomes.items():
            times = found[message]
            if times > 1:
                wrong["twice"].append(message)
            elif outcome == ACKNOWLEDGED and times == 0:
                wrong["lost"].append(message)
            elif outcome == REFUSED and times != 0:
                wrong["refused, and there"].append(message)
        for device, level, message, log_data in rows:
            what = self.what_is_wrong_with(device, level, message, json.loads(log_data))
            if what:
                wrong[what].append(message)
        return wrong

    def what_is_wrong_with(self, device, level, message, log_data):
        sent = self.records.get(message)
        if sent is None:
            return "strange"
        stored = {"device_id": device, "log_level": level, "message": message, "log_data": log_data}
        return None if stored == sent else "changed"

    def known_outside(self, messages, spans):
        """Those whose outcome was known at none of these times."""
        return [message for message in messages
                if not any(since <= self.outcomes[message][1] <= until for since, until in spans)]
