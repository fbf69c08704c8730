"""A runtime API: a class of declarations whose methods answer from one state.

::

    class DatanetsApi(StateApi, version=1):
        '''Datanets as an explorer shows them.'''

        @api_method
        def datanet(self, datanet: U32) -> DatanetView | None:
            '''Return a Datanet with what its page shows.'''

`state_call` of ``DatanetsApi_datanet`` takes the SCALE of its arguments and gives the SCALE of its
result. The metadata, the codec of the arguments and the node's own JSON-RPC derive from the
annotations and docstrings.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar, TypeVar

from runtime.frame.pallet import once
from runtime.primitives.scale import Codec, codec, decode_at, encode

F = TypeVar("F", bound=Callable[..., Any])


class UnknownApi(Exception):
    """There is no runtime call of this name; the message names it."""


class ApiArgumentError(ValueError):
    """The arguments of a runtime call do not decode, or name something impossible."""


class OtherRules(Exception):
    """The state belongs to other rules than these, which must not read it; the message tells."""

    def __init__(self, spec_version: int | None, detail: str) -> None:
        super().__init__(detail)
        self.spec_version = spec_version


@dataclass(frozen=True, slots=True)
class ApiMethod:
    """A method as declared."""

    name: str
    arguments: dict[str, Any]
    """Annotation of each argument, in order."""
    output: Any
    docs: str
    deprecated: str
    """What to use instead; empty for what stays."""
    function: Callable[..., Any]
    codec: Codec
    """Of all arguments together, a tuple."""


def api_method(function: F) -> F:
    """Declare a method of a runtime API."""
    function.__api_method__ = ""  # type: ignore[attr-defined]
    return function


def deprecated_api_method(note: str) -> Callable[[F], F]:
    """Declare a method that will go; the note says what to use instead."""

    def mark(function: F) -> F:
        function.__api_method__ = note  # type: ignore[attr-defined]
        return function

    return mark


class RuntimeApi:
    """Base of all runtime APIs."""

    NAME: ClassVar[str]
    VERSION: ClassVar[int]

    def __init_subclass__(cls, version: int = 0, name: str = "") -> None:
        cls.NAME = name or cls.__name__
        cls.VERSION = version


@once
def api_methods(cls: type[RuntimeApi]) -> dict[str, ApiMethod]:
    """Return the methods of an API by name, in the order of declaration."""
    found: dict[str, ApiMethod] = {}
    for name, function in vars(cls).items():
        note = getattr(function, "__api_method__", None)
        if note is None:
            continue
        hints = typing.get_type_hints(function, include_extras=True)
        output = hints.pop("return")
        arguments = tuple(hints.values())
        whole = codec(tuple[arguments if arguments else ((),)])  # type: ignore[misc]
        docs = inspect.getdoc(function) or ""
        found[name] = ApiMethod(name, hints, output, docs, note, function, whole)
    return found


def api_id(cls: type[RuntimeApi]) -> bytes:
    """Return the id by which a runtime's version lists an API: blake2b-64 of its name."""
    return blake2b(cls.NAME.encode(), digest_size=8).digest()


def answer(api: RuntimeApi, method: ApiMethod, data: bytes) -> bytes:
    """Decode the arguments, call, encode the result; raises DecodeError, ApiArgumentError."""
    values, end = decode_at(method.codec, data, 0)
    if end != len(data):
        raise ApiArgumentError(f"{len(data) - end} bytes left over after the arguments")
    return encode(method.output, method.function(api, *values))
