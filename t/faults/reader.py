"""One who reads while everything fails: he is told that it fails, or shown what was sent, as it was."""

import http.client
import json

from guest import Guest

PAGES = ("/api/logs?limit=200", "/api/logs?min_level=ERROR&limit=50", "/api/logs/device-7?limit=100",
         "/api/logs?device_id=device-8&q=flows", "/api/logs/device-9?format=ndjson&limit=1000")
NUMBERS = ("/api/stats", "/api/hits")


class Reader(Guest):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.rows_shown = 0

    def act(self):
        self.read(self.dice.choice(PAGES + NUMBERS))
        self.stopping.wait(self.dice.choice((0, 0.1, 0.3)))

    def read_all(self):
        """When all is well."""
        for path in PAGES:
            self.read(path)
        self.api.close()

    def read(self, path):
        try:
            answer = self.api.get(path)
        except (OSError, http.client.HTTPException):
            return  # also of what was cut off, which is seen
        if answer.status == 503:
            assert answer.json["code"], answer
            return
        assert answer.status == 200, (path, answer)
        if path in PAGES:
            self.look(self.rows_of(path, answer))

    def rows_of(self, path, answer):
        if "ndjson" in path:
            return [json.loads(line) for line in answer.body.splitlines()]
        return answer.json["data"]

    def look(self, rows):
        messages = {row["message"] for row in rows}
        assert len(messages) == len(rows), "a record is there twice"
        for row in rows:
            wrong = self.book.what_is_wrong_with(row["device_id"], row["log_level"], row["message"],
                                                 row["log_data"])
            assert not wrong, (wrong, row)
        self.rows_shown += len(rows)
