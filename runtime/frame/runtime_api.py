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


@dataclass(frozen=True, slots=True)
class ApiMethod:
    """A method as declared."""

    name: str
    arguments: dict[str, Any]
    """Annotation of each argument, in order."""
    output: Any
    docs: str
    function: Callable[..., Any]
    codec: Codec
    """Of all arguments together, a tuple."""


def api_method(function: F) -> F:
    """Declare a method of a runtime API."""
    function.__api_method__ = True  # type: ignore[attr-defined]
    return function


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
        if not hasattr(function, "__api_method__"):
            continue
        hints = typing.get_type_hints(function, include_extras=True)
        output = hints.pop("return")
        arguments = tuple(hints.values())
        whole = codec(tuple[arguments if arguments else ((),)])  # type: ignore[misc]
        docs = inspect.getdoc(function) or ""
        found[name] = ApiMethod(name, hints, output, docs, function, whole)
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
