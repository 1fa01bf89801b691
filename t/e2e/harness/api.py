"""A client of the HTTP API that says what it saw."""

import http.client
import json
import select
import socket


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Api:
    """One connection, kept alive; not for several threads at once."""

    def __init__(self, port, timeout=20, host="127.0.0.1"):
        self.host, self.port = host, port
        self.timeout = timeout
        self.connection = None

    def request(self, method, path, body=None, headers=None):
        """Raises OSError or HTTPException when there was no answer."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        if self._was_closed():
            self.close()
        if self.connection is None:
            self.connection = http.client.HTTPConnection(
                self.host, self.port, timeout=self.timeout
            )
        try:
            self.connection.request(method, path, body, headers or {})
            response = self.connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if response.will_close:
            self.close()
        return answer

    def _was_closed(self):
        """Whether the server has ended the connection meanwhile, as it does with one that rested for
        keepalive_timeout: a socket that waits for no answer has nothing to read but the end."""
        if self.connection is None or self.connection.sock is None:
            return False
        poll = select.poll()
        poll.register(self.connection.sock, select.POLLIN)
        return bool(poll.poll(0))

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, body, **headers):
        return self.request("POST", path, body, {"Content-Type": "application/json", **headers})

    def log(self, device_id="pump-7", log_level="INFO", message="it flows", **fields):
        record = {"device_id": device_id, "log_level": log_level, "message": message, **fields}
        return self.post("/api/log", record)

    def batch(self, records):
        return self.post("/api/logs/batch", {"logs": records})

    def logs(self, device_id, query=""):
        return self.get(f"/api/logs/{device_id}{query}")

    def health(self):
        return self.get("/health")

    def raw(self, text):
        """Sends bytes as they are on a connection of their own, which is returned."""
        connection = socket.create_connection((self.host, self.port), timeout=self.timeout)
        connection.sendall(text)
        return connection
