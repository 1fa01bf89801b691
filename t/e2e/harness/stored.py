"""Logs that are in Postgres already, as a loader would have left them there, and pages of them."""

import datetime
import json
import urllib.parse

from .api import Answer

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
UTC = datetime.timezone.utc


def rfc3339(time):
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Log:
    def __init__(self, row_id, created_at, device_id="pump-7", log_level="INFO",
                 message="it flows", log_data=None):
        self.id = row_id
        self.created_at = created_at
        self.device_id = device_id
        self.log_level = log_level
        self.message = message
        self.log_data = log_data or {}

    @property
    def place(self):
        return (self.created_at, self.id)


def make_days(cursor, *times):
    """Partitions of logs, as a loader makes them."""
    for day in sorted({time.astimezone(UTC).date() for time in times}):
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS logs_{day:%Y%m%d} PARTITION OF logs"
            f" FOR VALUES FROM ('{day} 00:00Z') TO ('{day + datetime.timedelta(1)} 00:00Z')")


def make_last_minutes(cursor):
    """The days of now and of a while ago, which are two where one has just begun."""
    now = datetime.datetime.now(UTC)
    make_days(cursor, now, now - datetime.timedelta(minutes=10))


def store(postgres, logs):
    """Rows and their counters, in one transaction, as ever."""
    connection = postgres.connect()
    connection.autocommit = False
    with connection.cursor() as cursor:
        make_days(cursor, *(log.created_at for log in logs))
        for start in range(0, len(logs), 1000):
            part = logs[start:start + 1000]
            rows = ",".join(cursor.mogrify(
                "(%s,%s,%s,%s,%s,%s)", (log.id, log.created_at, log.device_id, log.log_level,
                                        log.message, json.dumps(log.log_data))).decode()
                for log in part)
            cursor.execute("INSERT INTO logs (id, created_at, device_id, log_level, message,"
                           f" log_data) VALUES {rows}")
        sums = {}
        for log in logs:
            key = (log.created_at.replace(second=0, microsecond=0), log.log_level)
            sums[key] = sums.get(key, 0) + 1
        rows = ",".join(cursor.mogrify("(%s,%s,'test',%s)", (*key, n)).decode()
                        for key, n in sorted(sums.items()))
        cursor.execute(f"INSERT INTO counters VALUES {rows} ON CONFLICT (minute, log_level, slot)"
                       " DO UPDATE SET n = counters.n + excluded.n")
    connection.commit()
    connection.close()


def store_haystack(postgres, count):
    """Messages that take long to look through, all within a minute or so, with ids from 2 on."""
    connection = postgres.connect()
    make_last_minutes(connection.cursor())
    connection.cursor().execute(
        "INSERT INTO logs (id, created_at, device_id, log_level, message, log_data)"
        " SELECT g + 1, now() - g * interval '1 ms', 'd', 'INFO', repeat('hay stack ', 1000), '{}'"
        f" FROM generate_series(1, {count}) AS g;"
        "INSERT INTO counters SELECT date_trunc('minute', created_at), log_level, 'more', count(*)"
        " FROM logs WHERE id > 1 GROUP BY 1, 2")
    connection.close()


class Pages:
    """Asks the server itself, past nginx and its cache."""

    def __init__(self, server):
        self.server = server
        self.connection = None

    def ask(self, path, method="GET", **parameters):
        if parameters:
            # A word of the language stands in the way of one of ours.
            parameters = {name.rstrip("_"): value for name, value in parameters.items()}
            path += "?" + urllib.parse.urlencode(parameters)
        if self.connection is None:
            self.connection = self.server.connection()
        try:
            self.connection.request(method, path)
            response = self.connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except OSError:
            self.close()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def page(self, **parameters):
        answer = self.ask("/api/logs", **parameters)
        assert answer.status == 200, answer
        assert answer.json["total"] == len(answer.json["data"])
        return answer.json

    def walk(self, **parameters):
        """The ids of all pages, in the order in which they come."""
        ids = []
        for _ in range(10000):
            page = self.page(**parameters)
            ids += [log["id"] for log in page["data"]]
            if page["next_cursor"] is None:
                return ids
            if parameters.get("order") == "asc" and not page["data"]:
                return ids
            parameters["cursor"] = page["next_cursor"]
            parameters.pop("offset", None)
        raise AssertionError("the walk does not end")
