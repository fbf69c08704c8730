"""The reference of JSON-RPC for people, `docs/rpc.md`, from the node's own OpenRPC document."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from node.rpc import schema
from node.rpc.openrpc import group_of
from node.rpc.schema import Schema

_OPENING = """# JSON-RPC

Every method of a node, made from its own description by `python -m scripts.rpc_reference --write`;
`rpc.discover` gives the same as an OpenRPC document. [integrators.md](integrators.md) is the guide
with examples.

Requests are JSON-RPC 2.0 over HTTP (POST) or WebSocket on one port, 9944 by default; subscriptions
need a WebSocket. Parameters go by position or by name; those in brackets may be left out or null.
Methods of our own (`openledger_…`) write integers above 32 bits as decimal strings, accounts as
SS58 addresses, bytes and hashes as hex with `0x`, and enumerations by name.
"""
_GENERAL = ("ParseError", "InvalidRequest", "InvalidParams", "InternalError", "ResponseTooBig")
_WIDTH = 110
_WORDS = {
    schema.HASH["pattern"]: "hash",
    schema.HEX["pattern"]: "hex",
    schema.DECIMAL["pattern"]: "decimal",
    schema.HEX_NUMBER["pattern"]: "hex number",
    schema.ADDRESS["pattern"]: "address",
    "^-?[0-9]+$": "signed decimal",
}


def reference(document: Mapping[str, Any]) -> str:
    """Write the reference."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    codes = document["components"]["errors"]
    general = ", ".join(_error(codes[name]) for name in _GENERAL)
    yield _OPENING
    yield from _wrapped(
        f"Any request may be answered with {general}. What to do stands in the error's `data`."
    )
    yield ""
    tags = document["components"]["tags"]
    for group, tag in tags.items():
        yield f"- [{group}](#{group.lower()}): {tag['description']}"
    yield "- [Shapes](#shapes): objects that several methods share."
    for group, tag in tags.items():
        yield from (f"\n## {group}\n", tag["description"])
        for method in document["methods"]:
            if group_of(method["name"]) == group:
                yield from _method(method, codes)
    yield "\n## Shapes"
    for name, shape in document["components"]["schemas"].items():
        yield from _shape(name, shape)


def _method(method: Mapping[str, Any], codes: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n### `{signature(method)}`\n"
    yield from _wrapped(method["summary"])
    for paragraph in method.get("description", "").split("\n\n"):
        if paragraph:
            yield ""
            yield from _wrapped(paragraph)
    yield ""
    for param in method["params"]:
        yield from _item(param["name"], param["schema"], param.get("description", ""))
    yield from _wrapped(f"- Result: {_result(method['result']['schema'])}", "  ")
    subscription = method.get("x-subscription")
    if subscription:
        ends = " or ".join(f"`{name}`" for name in subscription["unsubscribe"])
        until = f"until {ends}" if ends else "until the last one"
        told = f"- Notifications `{subscription['notification']}`, {until}: "
        yield from _wrapped(told + _result(subscription["result"]), "  ")
    names = [reference["$ref"].rpartition("/")[2] for reference in method["errors"]]
    special = ", ".join(_error(codes[name]) for name in names if name not in _GENERAL)
    if special:
        yield from _wrapped(f"- Errors: {special}", "  ")
    if "x-aliases" in method:
        yield from _wrapped("- Also: " + ", ".join(f"`{n}`" for n in method["x-aliases"]), "  ")
    if method.get("x-unsafe"):
        yield "- Unsafe: refused where strangers can reach the node (`--rpc-methods`)"


def signature(method: Mapping[str, Any]) -> str:
    """Write a method's name and parameters; those in brackets may be absent."""
    names = [p["name"] if p["required"] else f"[{p['name']}]" for p in method["params"]]
    return f"{method['name']}({', '.join(names)})"


def _shape(name: str, shape: Schema) -> Iterator[str]:
    yield f"\n### {name}\n"
    if "description" in shape:
        yield from (*_wrapped(shape["description"]), "")
    if "properties" not in shape:
        yield from _wrapped(say(shape))
        return
    for member, inner in shape["properties"].items():
        shown = member if member in shape.get("required", ()) else f"[{member}]"
        yield from _item(shown, inner, inner.get("description", ""))


def _item(name: str, shape: Schema, told: str) -> Iterator[str]:
    news = f" – {told}" if told and told != schema.ADDRESS["description"] else ""
    yield from _wrapped(f"- `{name}`: {say(shape)}{news}", "  ")


def _error(error: Mapping[str, Any]) -> str:
    return f"{error['message']} ({error['code']})"


def _result(shape: Schema) -> str:
    described = shape.get("description")
    return f"{say(shape)} ({described})" if described and "$ref" not in shape else say(shape)


def say(shape: Schema) -> str:
    """Say in a few words what a schema admits."""
    if shape.get("pattern") in _WORDS:
        return _WORDS[shape["pattern"]]
    if "$ref" in shape:
        name = str(shape["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("oneOf", "anyOf"):
        if key in shape:
            return " or ".join(dict.fromkeys(say(part) for part in shape[key]))
    if "const" in shape:
        return f"`{orjson.dumps(shape['const']).decode()}`"
    if "enum" in shape:
        return " or ".join(f"`{orjson.dumps(value).decode()}`" for value in shape["enum"])
    return _typed(shape)


def _typed(shape: Schema) -> str:
    match shape.get("type"):
        case "array":
            return _array(shape)
        case "object":
            return _object(shape)
        case "string":
            return _string(shape)
        case "integer" | "number":
            return "number"
        case "boolean":
            return "true or false"
        case "null":
            return "null"
        case list(types):
            return " or ".join(say({**shape, "type": one}) for one in types)
        case _:
            return "anything"


def _object(shape: Schema) -> str:
    if "properties" not in shape:
        return "object"
    required = shape.get("required", ())
    members = (
        f"`{name if name in required else f'[{name}]'}`: {say(inner)}"
        for name, inner in shape["properties"].items()
    )
    return "{" + ", ".join(members) + "}"


def _array(shape: Schema) -> str:
    items = shape.get("items", {})
    if isinstance(items, list):
        return "[" + ", ".join(map(say, items)) + "]"
    return f"list of {say(items)}"


def _string(shape: Schema) -> str:
    pattern = str(shape.get("pattern", ""))
    if pattern.startswith("^0x[0-9a-f]{"):
        return f"{int(pattern[12:].partition('}')[0]) // 2} bytes of hex"
    return "base64" if shape.get("contentEncoding") == "base64" else "text"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
