"""conf/www/openapi.json is OpenAPI 3.1. Debian has no validator of that version, so what a document
may have is said here, by a schema that knows the parts of OpenAPI which are used and no others; the
schemas of bodies are held against JSON Schema 2020-12 itself, and examples against their schemas."""

import re

import jsonschema
import pytest

from harness.description import Description

DESCRIPTION = Description()
TEXT = DESCRIPTION.text


def node(needed, **properties):
    return {"type": "object", "required": needed.split(), "properties": properties,
            "additionalProperties": False}


def named(schema, pattern=None):
    return {"type": "object", "additionalProperties": schema,
            **({"propertyNames": {"pattern": pattern}} if pattern else {})}


def or_reference(name):
    """Where there is a $ref there is nothing else."""
    reference = node("$ref", **{"$ref": {"type": "string", "pattern": "^#/components/"}})
    return {"if": {"required": ["$ref"]}, "then": reference, "else": {"$ref": f"#/$defs/{name}"}}


STRING = {"type": "string", "minLength": 1}
SCHEMA = {"type": "object"}
SHAPE = {
    "$ref": "#/$defs/document",
    "$defs": {
        "document": node(
            "openapi info servers tags paths components",
            openapi={"const": "3.1.0"},
            info=node("title version summary description license", title=STRING, version=STRING,
                      summary=STRING, description=STRING,
                      license=node("name identifier", name=STRING, identifier=STRING)),
            security={"type": "array", "items": named({"type": "array"})},
            servers={"type": "array", "minItems": 1,
                     "items": node("url", url=STRING, description=STRING)},
            tags={"type": "array", "items": node("name description", name=STRING, description=STRING)},
            paths=named(node("", get={"$ref": "#/$defs/operation"}, post={"$ref": "#/$defs/operation"}), "^/"),
            components=node(
                "", schemas=named(SCHEMA, r"^[\w.-]+$"),
                parameters=named({"$ref": "#/$defs/parameter"}, r"^[\w.-]+$"),
                headers=named({"$ref": "#/$defs/header"}, r"^[\w.-]+$"),
                responses=named({"$ref": "#/$defs/response"}, r"^[\w.-]+$"))),
        "operation": node(
            "tags operationId summary description responses",
            tags={"type": "array", "items": STRING, "minItems": 1},
            operationId={"type": "string", "pattern": "^[a-z][A-Za-z]+$"},
            summary={**STRING, "maxLength": 40}, description=STRING,
            parameters={"type": "array", "items": or_reference("parameter")},
            requestBody=node("content", required={"type": "boolean"}, description=STRING,
                             content={"$ref": "#/$defs/content"}),
            responses=named(or_reference("response"), r"^[2-5]\d\d$")),
        "parameter": {
            **node("name in description schema", **{
                "name": STRING, "in": {"enum": ["query", "header", "path"]}, "description": STRING,
                "required": {"type": "boolean"}, "schema": SCHEMA, "example": {}}),
            # Those are said by the media types of bodies, and ignored here.
            "not": {"properties": {"in": {"const": "header"},
                                   "name": {"enum": ["Accept", "Content-Type", "Authorization"]}}},
            "if": {"properties": {"in": {"const": "path"}}},
            "then": {"properties": {"required": {"const": True}}, "required": ["required"]},
        },
        "header": node("description schema", description=STRING, required={"type": "boolean"},
                       schema=SCHEMA, example={}),
        "response": node("description", description=STRING, headers=named(or_reference("header")),
                         content={"$ref": "#/$defs/content"}),
        "content": named({
            **node("schema", schema=SCHEMA, example={}, examples=named(node(
                "summary value", summary=STRING, description=STRING, value={}))),
            "not": {"required": ["example", "examples"]}}, r"^[\w.+-]+/[\w.+-]+$"),
    },
}


def parts(value=TEXT, place="#"):
    """Everything in the document, with where it is."""
    yield place, value
    if isinstance(value, dict):
        for key, one in value.items():
            yield from parts(one, f"{place}/{key}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from parts(one, f"{place}/{number}")


def test_it_has_the_shape_of_openapi():
    errors = jsonschema.Draft202012Validator(SHAPE).iter_errors(TEXT)
    assert not [f"{error.json_path}: {error.message[:200]}" for error in errors]


def test_references_lead_somewhere_and_every_component_is_used():
    used = {value["$ref"] for _, value in parts() if isinstance(value, dict) and "$ref" in value}
    there = {f"#/components/{kind}/{name}" for kind, named_ in TEXT["components"].items()
             for name in named_}
    assert used == there


def test_operations_have_names_and_tags_of_their_own():
    names = [operation.id for operation in DESCRIPTION.operations]
    assert len(set(names)) == len(names) > 10
    tags = [tag["name"] for tag in TEXT["tags"]]
    used = {tag for item in TEXT["paths"].values() for one in item.values() for tag in one["tags"]}
    assert len(set(tags)) == len(tags) and used == set(tags)


@pytest.mark.parametrize("operation", DESCRIPTION.operations, ids=repr)
def test_places_of_the_path_are_parameters(operation):
    assert operation.names("path") == set(re.findall(r"\{(\w+)\}", operation.path))
    given = [(one["in"], one["name"]) for one in operation.parameters]
    assert len(set(given)) == len(given)


def schemas():
    for place, value in parts():
        if re.search(r"/schema$|^#/components/schemas/[^/]+$", place):
            yield place, value


@pytest.mark.parametrize("place, schema", schemas())
def test_every_schema_is_one(place, schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    # A misspelt keyword would be one that nobody heeds.
    known = {"$ref", "allOf", "anyOf", "oneOf", "const", "enum", "type", "properties", "required",
             "additionalProperties", "unevaluatedProperties", "propertyNames", "items", "prefixItems",
             "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum", "pattern",
             "format", "default", "description", "examples"}

    def keywords(value):
        yield from value
        for key in ("properties",):
            for one in value.get(key, {}).values():
                yield from keywords(one)
        for key in ("allOf", "anyOf", "oneOf", "prefixItems"):
            for one in value.get(key, ()):
                yield from keywords(one)
        for key in ("items", "additionalProperties", "propertyNames"):
            if isinstance(value.get(key), dict):
                yield from keywords(value[key])

    assert set(keywords(schema)) <= known, place


def examples():
    for place, value in parts():
        if not isinstance(value, dict) or "/examples/" in place or "/example/" in place:
            continue
        if "schema" in value:
            given = [value["example"]] if "example" in value else []
            given += [one["value"] for one in value.get("examples", {}).values()]
            yield from ((place, value["schema"], one) for one in given)
        elif isinstance(value.get("examples"), list):
            yield from ((place, value, one) for one in value["examples"])
        if "default" in value:
            yield place, value, value["default"]


@pytest.mark.parametrize("place, schema, example", examples())
def test_examples_are_as_their_schema_says(place, schema, example):
    assert not DESCRIPTION.errors(schema, example), place


def test_every_body_has_an_example():
    for operation in DESCRIPTION.operations:
        bodies = [operation.body] if operation.body else []
        bodies += [one["content"] for status, one in operation.responses.items() if "content" in one]
        for content in bodies:
            first = next(iter(content.values()))
            is_page = set(content) == {"text/html"} or operation.path == "/openapi.json"
            assert is_page or "example" in first or "examples" in first, operation


def test_bodies_of_answers_are_closed():
    """What is not described does not pass for what is."""
    for name, schema in TEXT["components"]["schemas"].items():
        if "properties" in schema and name not in ("Record", "Problem"):
            closed = schema.get("additionalProperties", schema.get("unevaluatedProperties"))
            assert closed is False, name
