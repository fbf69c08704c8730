"""The OpenRPC document of the node (https://spec.open-rpc.org, 1.3.2), made from its methods.

Beside what OpenRPC knows: `x-aliases` are further names of a method; `x-unsafe` marks methods that
strangers are refused; `x-subscription` tells of a subscription its notifications (their method name
and the schema of their `result`) and the methods that end it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from node.rpc import schema
from node.rpc.kinds import AnyMethod, SubscribeMethod
from node.rpc.openrpc_errors import ERRORS, errors_of
from node.rpc.params import Param

VERSION = "1.3.2"
_SHAPES = "#/components/schemas/"
_SUBSCRIPTION: schema.Schema = {**schema.TEXT, "description": "id of the subscription"}

GROUPS = {
    "openledger": "Pages of an explorer, proofs of finality, blobs, committees: our own methods.",
    "system": "Who the node is, how it fares, and nonces.",
    "chain": "Blocks, headers and heads.",
    "state": "Storage, proofs, runtime calls and metadata behind a block.",
    "childstate": "Child tries, of which this chain has none.",
    "author": "Extrinsics into the pool, and keys.",
    "payment": "What an extrinsic would cost.",
    "account": "Accounts.",
    "offchain": "The node's own storage beside the chain.",
    "dev": "Figures for developers.",
    "chainHead": "New API: the head of the chain, block by block, without gaps.",
    "chainSpec": "New API: what the chain is.",
    "transaction": "New API: extrinsics on their way into the chain.",
    "transactionWatch": "New API: extrinsics that are followed into the chain.",
    "archive": "New API: old blocks and states.",
    "rpc": "The methods themselves.",
}


def document(methods: Sequence[AnyMethod], *, title: str, version: str) -> dict[str, Any]:
    """Describe the methods, by name."""
    described = [described_method for method in methods for described_method in _methods(method)]
    described.sort(key=lambda method: str(method["name"]))
    used = {group_of(str(method["name"])) for method in described}
    groups = [group for group in GROUPS if group in used]
    return {
        "openrpc": VERSION,
        "info": {
            "title": title,
            "version": version,
            "description": (
                "JSON-RPC 2.0 over HTTP (POST) and WebSocket on one port. Subscriptions need a "
                "WebSocket. Unless a shape says otherwise, integers above 32 bits are decimal "
                "strings in the methods of our own, and hex in those that the ecosystem shares."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "servers": [_server("http"), _server("ws")],
        "methods": described,
        "components": {
            "schemas": _shapes(described),
            "errors": {name: {"code": c, "message": m} for name, (c, m) in ERRORS.items()},
            "tags": {group: {"name": group, "description": GROUPS[group]} for group in groups},
        },
    }


def _shapes(methods: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the named shapes that methods refer to, and those that these refer to."""
    found: dict[str, Any] = {}
    waiting = _named(methods)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = schema.SHARED[name]
            waiting |= _named(found[name])
    return dict(sorted(found.items()))


def _named(value: Any) -> set[str]:
    """Return the names of the shapes that a value refers to."""
    if isinstance(value, dict):
        target = str(value.get("$ref", ""))
        own = {target.removeprefix(_SHAPES)} if target.startswith(_SHAPES) else set()
        return own.union(*map(_named, value.values()))
    if isinstance(value, list):
        return set().union(*map(_named, value))
    return set()


def group_of(name: str) -> str:
    """Return the group of a method: what stands before the first underscore or full stop."""
    found = name.replace(".", "_").partition("_")[0]
    return found if found in GROUPS else "rpc"


def doc_of(method: AnyMethod) -> str:
    """Return what is told to people of a method."""
    return method.doc or (inspect.getdoc(method.call) or "")


def _methods(method: AnyMethod) -> list[dict[str, Any]]:
    """Describe a method; a subscription with the methods that end it."""
    summary, _, rest = doc_of(method).partition("\n\n")
    found: dict[str, Any] = {
        "name": method.name,
        "tags": [{"$ref": f"#/components/tags/{group_of(method.name)}"}],
        "summary": _line(summary),
        "paramStructure": "either",
        "params": _params(method.params),
        "result": {"name": "result", "schema": method.result or schema.ANY},
        "errors": [{"$ref": f"#/components/errors/{name}"} for name in errors_of(method)],
    }
    if rest:
        found["description"] = _line(rest)
    if method.aliases:
        found["x-aliases"] = list(method.aliases)
    if method.unsafe:
        found["x-unsafe"] = True
    if not isinstance(method, SubscribeMethod):
        return [found]
    found["result"] = {"name": "subscription", "schema": _SUBSCRIPTION}
    found["x-subscription"] = {
        "notification": method.notification,
        "unsubscribe": list(method.unsubscribe),
        "result": method.result or schema.ANY,
    }
    return [found, *_endings(method)]


def _endings(method: SubscribeMethod) -> list[dict[str, Any]]:
    """Describe the first method that ends a subscription; the others are its aliases."""
    if not method.unsubscribe:
        return []
    name, *aliases = method.unsubscribe
    found: dict[str, Any] = {
        "name": name,
        "tags": [{"$ref": f"#/components/tags/{group_of(method.name)}"}],
        "summary": f"End a subscription of `{method.name}`; tells whether there was one.",
        "paramStructure": "either",
        "params": [
            {
                "name": "subscription",
                "required": True,
                "description": f"What `{method.name}` returned.",
                "schema": schema.TEXT,
            }
        ],
        "result": {"name": "result", "schema": schema.BOOLEAN},
        "errors": [
            {"$ref": "#/components/errors/InvalidParams"},
            {"$ref": "#/components/errors/NeedsWebSocket"},
        ],
    }
    return [{**found, "x-aliases": aliases} if aliases else found]


def _params(params: tuple[Param, ...]) -> list[dict[str, Any]]:
    """Describe parameters; one that may be absent but stands before a needed one may be null."""
    needed = [position for position, param in enumerate(params) if not param.optional]
    last = max(needed, default=-1)
    return [_param(param, position < last) for position, param in enumerate(params)]


def _param(param: Param, stands_before: bool) -> dict[str, Any]:
    shape = param.decode.schema
    if param.optional and stands_before:
        shape = schema.nullable(shape)
    found: dict[str, Any] = {
        "name": param.name,
        "required": not param.optional or stands_before,
        "schema": shape,
    }
    return {**found, "description": _line(param.doc)} if param.doc else found


def _server(scheme: str) -> dict[str, Any]:
    return {
        "name": scheme,
        "url": f"{scheme}://${{host}}:${{port}}",
        "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "9944"}},
    }


def _line(text: str) -> str:
    """Join the lines of each paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
