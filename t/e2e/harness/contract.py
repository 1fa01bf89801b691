"""Holds every answer against the description, and remembers what of it has been seen."""

import gzip
import http.client
import json

from .api import Api
from .description import Description

# Of HTTP itself, or on every answer.
HEADERS_OF_ALL = {"server", "date", "connection", "content-type", "content-length",
                  "transfer-encoding", "content-encoding", "x-content-type-options"}
PROBLEM = "application/problem+json"


def media_of(answer):
    return (answer.headers["Content-Type"] or "").partition(";")[0]


def text_of(answer):
    is_packed = answer.headers["Content-Encoding"] == "gzip"
    return (gzip.decompress(answer.body) if is_packed else answer.body).decode()


def header_value(text, schema):
    return int(text) if schema.get("type") == "integer" else text


class Contract:
    def __init__(self):
        self.description = Description()
        self.seen = set()

    def api(self, stack, **options):
        """A client of which each answer must be as described."""
        api = WatchedApi(self, stack.nginx.port, **options)
        stack.apis.append(api)
        return api

    def see(self, path, answer, sent=None):
        operation = self.description.operation_at(path)
        assert operation is not None, f"{path} answers {answer}, and is not described"
        status, media = str(answer.status), media_of(answer)
        where = f"{operation.id} {status}"
        assert status in operation.responses, f"{where} is not described: {answer}"
        response = operation.responses[status]
        self.seen |= {operation.id, where}
        self._see_headers(operation, where, response.get("headers", {}), answer)
        if "content" in response:
            self._see_body(where, response["content"], media, answer)
        if answer.status == 200 and sent is not None and "rejected" not in answer.json:
            self._see_sent(operation, sent)

    def _see_headers(self, operation, where, described, answer):
        assert answer.headers["X-Content-Type-Options"] == "nosniff", f"{where}: {answer}"
        sent = {name.lower() for name in answer.headers} - HEADERS_OF_ALL
        names = {name.lower(): name for name in described}
        assert sent <= set(names), f"{where}: headers are not described: {sent - set(names)}"
        for lower, name in names.items():
            header = self.description.resolve(described[name])
            if lower not in sent:
                assert not header.get("required"), f"{where} has no header {name}"
                continue
            value = header_value(answer.headers[name], header["schema"])
            assert not self.description.errors(header["schema"], value), f"{where}: {name}: {value}"
            self.seen.add(f"{operation.id} header {name}")

    def _see_body(self, where, content, media, answer):
        assert media in content, f"{where}: {media} is not described: {answer}"
        self.seen.add(f"{where} {media}")
        text = text_of(answer)
        is_json = media.endswith("json") and "ndjson" not in media
        body = json.loads(text) if is_json else text
        schema = content[media]["schema"]
        errors = self.description.errors(schema, body)
        assert not errors, f"{where}: {errors}: {answer}"
        self.seen |= set(self.description.facts_in(f"{where} {media}", schema, body))
        if media == PROBLEM:
            self.seen.add(f"{where} {body['code']}")
        if media == "application/x-ndjson":
            for line in body.splitlines():
                assert not self.description.errors(
                    {"$ref": "#/components/schemas/Log"}, json.loads(line)), line

    def _see_sent(self, operation, sent):
        """What was taken is what may be sent."""
        media, body = sent
        assert media in operation.body, f"{operation} takes {media}, which is not described"
        self.seen.add(f"{operation.id} takes {media}")
        if media == "application/json":
            errors = self.description.errors(operation.body[media]["schema"], json.loads(body))
            assert not errors, f"{operation} takes {body[:300]}, but: {errors}"

    def all_described(self):
        """All that must be seen."""
        for operation in self.description.operations:
            yield operation.id
            yield from (f"{operation.id} takes {media}" for media in operation.body)
            for status, response in operation.responses.items():
                where = f"{operation.id} {status}"
                yield where
                yield from (f"{operation.id} header {name}" for name in response.get("headers", ()))
                for media, one in response.get("content", {}).items():
                    facts = set(self.description.facts_of(f"{where} {media}", one["schema"]))
                    yield f"{where} {media}"
                    yield from facts
                    if media == PROBLEM:
                        top = one["schema"]["$ref"].rpartition("/")[2]
                        yield from (f"{where} {fact.partition('=')[2]}" for fact in facts
                                    if fact.startswith(f"{top}.code="))


class WatchedApi(Api):
    def __init__(self, contract, port, **options):
        super().__init__(port, **options)
        self.contract = contract

    def request(self, method, path, body=None, headers=None):
        answer = super().request(method, path, body, headers)
        self.contract.see(path, answer, self._sent(method, body, headers or {}))
        return answer

    @staticmethod
    def _sent(method, body, headers):
        if method != "POST" or body is None or "Content-Encoding" in headers:
            return None
        text = json.dumps(body) if isinstance(body, (dict, list)) else body
        return headers.get("Content-Type", "application/json"), text

    def get_from(self, address, path):
        """From another address of this machine."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout,
                                                source_address=(address, 0))
        self.close()
        self.connection = connection
        try:
            return self.get(path)
        finally:
            self.close()
