"""Holds the examples of an OpenAPI document against their schemas, and tells what lacks one.

python examples.py openapi.json
"""

import json
import sys
from decimal import Decimal

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

HERE = "urn:document"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
PROBLEM = "application/problem+json"

# Money is exact: a float is hardly ever a multiple of 0.01.
document = json.load(open(sys.argv[1], encoding="utf-8"), parse_float=Decimal)
registry = Registry().with_resource(HERE, Resource(contents=document, specification=DRAFT202012))
faults = []


def pointer(*names):
    return "".join("/" + str(name).replace("~", "~0").replace("/", "~1") for name in names)


def resolve(value, at):
    """What a value is or refers to, and where that stands."""
    while "$ref" in value:
        at = value["$ref"].removeprefix("#")
        value = document
        for name in at.split("/")[1:]:
            value = value[name.replace("~1", "/").replace("~0", "~")]
    return value, at


def check(example, schema_at, what):
    escaped = schema_at.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    validator = Draft202012Validator(
        {"$ref": HERE + "#" + escaped},
        registry=registry,
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )
    for error in validator.iter_errors(example):
        faults.append(f"{what}: {json.dumps(example, default=str)[:200]}: {error.message[:200]}")


class Lacks(Exception):
    """A schema of which no value is shown."""


def sample(schema, at):
    """A value of a schema, made of the examples in it."""
    schema, at = resolve(schema, at)
    if "example" in schema:
        return schema["example"]
    for several in ("examples", "enum"):
        if schema.get(several):
            return schema[several][0]
    for single in ("default", "const"):
        if single in schema:
            return schema[single]
    for several in ("oneOf", "anyOf"):
        if several in schema:
            parts = [(part, f"{at}/{several}/{number}") for number, part in enumerate(schema[several])]
            return sample(*next(part for part in parts if part[0].get("type") != "null"))
    if "allOf" in schema:
        value = {}
        for number, part in enumerate(schema["allOf"]):
            value.update(sample(part, f"{at}/allOf/{number}"))
        return value
    types = schema.get("type", "object")
    types = [types] if isinstance(types, str) else types
    if "array" in types:
        return [sample(schema["items"], at + "/items")] * max(1, schema.get("minItems", 1))
    if "object" in types:
        members = schema.get("properties", {})
        return {name: sample(member, at + pointer("properties", name)) for name, member in members.items()}
    if "boolean" in types:
        return True
    raise Lacks(at)


def shown(schema, at, what):
    """Checks the value that readers are shown."""
    try:
        check(sample(schema, at), at, what)
    except Lacks as lacks:
        faults.append(f"{what}: no example at {lacks}")


def shown_beside(media):
    """The examples that stand beside a schema."""
    examples = [media["example"]] if "example" in media else []
    return examples + [resolve(example, "")[0]["value"] for example in media.get("examples", {}).values()]


def content(media, at, what, lacks_is_fault=True):
    """Checks what stands as example beside a schema, or is made of those in it."""
    if "schema" not in media:
        return
    examples = shown_beside(media)
    for example in examples:
        check(example, at + "/schema", what)
    if not examples and lacks_is_fault:
        shown(media["schema"], at + "/schema", what)


def problem(response, at, status, what):
    media = response.get("content", {}).get(PROBLEM)
    if media is None:
        faults.append(f"{what}: no problem")
        return
    examples = shown_beside(media)
    if not examples:
        faults.append(f"{what}: no example of its problem")
    for example in examples:
        if str(example["status"]) != status:
            faults.append(f"{what}: the example has another status")


for path, item in document["paths"].items():
    for method in METHODS:
        if method not in item:
            continue
        operation, at, name = item[method], pointer("paths", path, method), f"{method} {path}"
        for number, parameter in enumerate(operation.get("parameters", [])):
            content(parameter, at + pointer("parameters", number), f"{name}: {parameter['name']}")
        for kind, media in operation.get("requestBody", {}).get("content", {}).items():
            content(media, at + pointer("requestBody", "content", kind), f"{name}: body")
        for status, response in operation["responses"].items():
            what = f"{name}: {status}"
            response, response_at = resolve(response, at + pointer("responses", status))
            for kind, media in response.get("content", {}).items():
                json_like = kind == "application/json" or kind.endswith("+json")
                content(media, response_at + pointer("content", kind), what, json_like)
            for field, header in response.get("headers", {}).items():
                header, header_at = resolve(header, response_at + pointer("headers", field))
                content(header, header_at, f"{what}: {field}", False)
            if int(status) >= 400:
                problem(response, response_at, status, what)

print("\n".join(faults))
sys.exit(bool(faults))
