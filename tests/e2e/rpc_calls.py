"""Calls of every method that a node serves, as no client should make them, from a seed."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from tests.e2e.rpc_values import Known, Schema, Values

Request = Any
"""What is sent as one request: mostly an object, as a whole or as an element of a batch."""

_IDS: tuple[Any, ...] = (
    *(None, 0, -1, 2**53, 2**64 - 1, 0.5, "", "a" * 5000, "\x00é"),
    *(True, False, [], {}, [1], {"id": 1}),
)
"""The first line are ids, the second are none."""
_BODIES = (
    *(b"", b" ", b"{", b"[", b"nul", b"\xff\xfe", b'"text"', b"7", b"[]", b"{}", b"[[]]", b"[1]"),
    *(b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000, b"[" * 1_000_000),
    b'{"jsonrpc":"2.0","id":1,"method":"system_name","params":' + b"[" * 10_000,
    b'{"jsonrpc":"2.0","id":1,"method":"state_getStorage","params":[' + b"[" * 900 + b"]" * 901,
    b'{"jsonrpc":"2.0","id":NaN,"method":"system_name"}',
    b'{"jsonrpc":"2.0","id":1e999,"method":"system_name"}',
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"system_name","method":"system_chain"}',
    b'{"jsonrpc":"2.0","id":1,"method":"system_name","params":[]}x',
    b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"system_name"}',
    b'{"jsonrpc":"2.0","id":"\\ud800","method":"\\ud800"}',
    b"[" + b"1," * 150_000 + b"1]",
    b"[" + b'{"jsonrpc":"2.0","method":"system_name"},' * 999 + b"1]",
)
"""Whole messages that are no request, or hardly one."""


@dataclass(frozen=True)
class Described:
    """A method under one of its names, as the node's document has it."""

    name: str
    params: tuple[tuple[str, bool, Schema], ...]
    """Name, whether it is required, schema."""


def described(document: dict[str, Any], names: list[str]) -> list[Described]:
    """Find the parameters of every name that is served; raises KeyError for one untold."""
    params: dict[str, Any] = {}
    for method in document["methods"]:
        told = tuple((p["name"], p["required"], p["schema"]) for p in method["params"])
        for name in (method["name"], *method.get("x-aliases", ())):
            params[name] = told
    return [Described(name, params[name]) for name in names]


class Calls:
    """Draws requests; with the same seed and answers the same ones."""

    def __init__(
        self, methods: list[Described], known: Known, shapes: dict[str, Schema], seed: object
    ) -> None:
        self.source = random.Random(repr(seed))
        self.values = Values(known, shapes, self.source)
        self.methods = methods

    def round(self) -> list[Described]:
        """Return every method, in another order each time."""
        return self.source.sample(self.methods, len(self.methods))

    def request(self, method: Described, ident: object) -> dict[str, Any]:
        """Draw a well-formed request with this id, whatever its parameters are."""
        request: dict[str, Any] = {"jsonrpc": "2.0", "id": ident, "method": method.name}
        params = self._params(method)
        if params is not _ABSENT:
            request["params"] = params
        return request

    def misshapen(self, method: Described) -> Request:
        """Draw an object that is no request, or has an odd id, or wants no answer."""
        request = self.request(method, self.source.choice(_IDS))
        match self.source.randrange(7):
            case 0:
                request["jsonrpc"] = self.source.choice((None, "1.0", 2.0, "2", [], {}))
            case 1:
                del request["jsonrpc"]
            case 2:
                request["method"] = self.source.choice((None, 1, [], {}, "", "rpc.", "x" * 9999))
            case 3:
                del request["method"]
            case 4:
                del request["id"]
            case 5:
                request["more"] = self.values.junk()
        return request

    def body(self) -> bytes:
        """Draw a whole message that is no request."""
        if self.source.random() < 0.7:
            return self.source.choice(_BODIES)
        spoilt = bytearray(encode(self.request(self.source.choice(self.methods), 1)))
        for _ in range(self.source.randrange(1, 9)):
            spoilt[self.source.randrange(len(spoilt))] = self.source.randrange(256)
        return bytes(spoilt)

    def _params(self, method: Described) -> Any:
        source, values = self.source, self.values
        given = [values.right(schema, name) for name, _, schema in method.params]
        kind = source.random()
        if kind < 0.45:  # right, with some of the optional ones
            required = sum(needed for _, needed, _ in method.params)
            return given[: source.randint(required, len(given))]
        if kind < 0.70:
            if given:
                given[source.randrange(len(given))] = values.junk()
            return given
        if kind < 0.72:
            position = source.randrange(len(given) + 1)
            given[position : position + 1] = [values.huge()]
            return given
        if kind < 0.82:
            names = [name for name, _, _ in method.params]
            named = dict(zip(names, given, strict=True))
            if source.random() < 0.4:
                named[source.choice(("no", "", *names))] = values.junk()
            return named
        if kind < 0.90:
            return given[: source.randrange(len(given) + 1)]
        if kind < 0.94:
            return [*given, *(values.junk() for _ in range(source.randrange(1, 9)))]
        if kind < 0.97:
            return [None] * source.randrange(9)
        return source.choice((_ABSENT, None, 0, "0x", True, {}, [[]], values.nested(300)))


_ABSENT = object()


def encode(request: Request) -> bytes:
    """Write JSON, numbers of any size and lone surrogates included."""
    return json.dumps(request, separators=(",", ":")).encode()
