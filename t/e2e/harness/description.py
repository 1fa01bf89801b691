"""The description of the API, conf/www/openapi.json: walked through, and held against answers."""

import json
import re

import jsonschema

from .build import ROOT

PATH = ROOT / "conf" / "www" / "openapi.json"

# The API's times are all alike.
FORMATS = jsonschema.FormatChecker(formats=())
FORMATS.checks("date-time")(
    lambda value: not isinstance(value, str)
    or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value) is not None)


class Operation:
    def __init__(self, path, method, text, description):
        self.path = path
        self.method = method.upper()
        self.id = text["operationId"]
        self.parameters = [description.resolve(one) for one in text.get("parameters", ())]
        self.body = text.get("requestBody", {}).get("content", {})
        self.responses = {status: description.resolve(one)
                          for status, one in text["responses"].items()}

    def names(self, place):
        return {one["name"] for one in self.parameters if one["in"] == place}

    def answers_at(self, path):
        # A slash in a place of the path is a client's mistake, which is told as that operation's.
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(self.path))
        return re.fullmatch(pattern, path.partition("?")[0]) is not None

    def __repr__(self):
        return self.id


class Description:
    def __init__(self):
        self.text = json.loads(PATH.read_text())
        self.resolver = jsonschema.RefResolver("", self.text)
        self.operations = [Operation(path, method, one, self)
                           for path, item in self.text["paths"].items()
                           for method, one in item.items()]

    def resolve(self, value):
        while "$ref" in value:
            value = self.resolver.resolve(value["$ref"])[1]
        return value

    def operation(self, name):
        return next(one for one in self.operations if one.id == name)

    def operation_at(self, path):
        """The one that this path belongs to: one without places before one with them."""
        found = [one for one in self.operations if one.answers_at(path)]
        return min(found, key=lambda one: "{" in one.path, default=None)

    def errors(self, schema, value):
        validator = jsonschema.Draft202012Validator(
            schema, resolver=self.resolver, format_checker=FORMATS)
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def codes(self):
        """Every code that there is: a constant below a property of that name."""
        found = set()

        def walk(value, inside=False):
            if isinstance(value, dict):
                if inside and "const" in value:
                    found.add(value["const"])
                for key, one in value.items():
                    walk(one, inside or key == "code")
            elif isinstance(value, list):
                for one in value:
                    walk(one, inside)

        walk(self.text["components"]["schemas"])
        return found

    def facts_of(self, name, schema):
        """What a schema says there can be, by the name of the one it is in: fields and codes."""
        schema = dict(schema)
        if "$ref" in schema:
            reference = schema["$ref"]
            yield from self.facts_of(reference.rpartition("/")[2], self.resolve(schema))
            return
        for part in schema.get("allOf", ()):
            yield from self.facts_of(name, self.resolve(part))
        for field, one in schema.get("properties", {}).items():
            yield f"{name}.{field}"
            for choice in one.get("oneOf", (one,)):
                if field == "code" and "const" in choice:
                    yield f"{name}.code={choice['const']}"
            yield from self.facts_of(f"{name}.{field}", one)
        for part in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
            yield from self.facts_of(name, part)
        for part in (schema.get("items"), schema.get("additionalProperties")):
            if isinstance(part, dict):
                yield from self.facts_of(name, part)

    def facts_in(self, name, schema, value):
        """Which of these a value shows."""
        if "$ref" in schema:
            yield from self.facts_in(schema["$ref"].rpartition("/")[2], self.resolve(schema), value)
            return
        for part in schema.get("allOf", ()):
            yield from self.facts_in(name, self.resolve(part), value)
        for part in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
            if not self.errors(part, value):
                yield from self.facts_in(name, part, value)
        if isinstance(value, list) and isinstance(schema.get("items"), dict):
            for item in value:
                yield from self.facts_in(name, schema["items"], item)
        if isinstance(value, dict):
            for field, one in schema.get("properties", {}).items():
                if field in value:
                    yield f"{name}.{field}"
                    if field == "code":
                        yield f"{name}.code={value[field]}"
                    yield from self.facts_in(f"{name}.{field}", one, value[field])
            if isinstance(schema.get("additionalProperties"), dict):
                for item in value.values():
                    yield from self.facts_in(name, schema["additionalProperties"], item)
