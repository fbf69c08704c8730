"""The kinds of method that a group lists: what the dispatcher calls, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from node.rpc.params import Param
from node.rpc.schema import Schema
from node.rpc.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the OpenRPC document says of a method beside its name and parameters.

    result: of the answer; for a subscription, of each notification. doc: for people; by default the
    docstring of `call`. unsafe: refused where strangers can reach the node. work: long, so that
    only so many are worked on at once (not of a plain method).
    """

    result: Schema | None = None
    doc: str = ""
    unsafe: bool = False
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """What a plain method returns whose answer takes long in this case: `call` finds it."""

    call: Callable[[], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Method(Described):
    """A plain method: `call` returns its result, JSON-able or an `orjson.Fragment`, at once.

    Or it returns `Later`, where a few cases among many take long.
    """

    name: str
    call: Callable[..., Any]
    params: tuple[Param, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LengthyMethod(Described):
    """A method that waits or works in slices: `call` is a coroutine function."""

    name: str
    call: Callable[..., Coroutine[Any, Any, Any]]
    params: tuple[Param, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubscribeMethod(Described):
    """A subscription: `call` gets the new `Subscription` first and may raise to refuse it.

    `notification` is the method name of its messages; `unsubscribe` ends it and answers whether
    there was one to end.
    """

    name: str
    call: Callable[..., Coroutine[Any, Any, None]]
    notification: str
    unsubscribe: tuple[str, ...]
    params: tuple[Param, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionMethod(Described):
    """A method of one connection: `call` gets the `Session` first and returns its result at once.

    Whatever it begins lives in the session's nursery and subscriptions, so it ends with them.
    """

    name: str
    call: Callable[..., Any]
    params: tuple[Param, ...] = ()
    aliases: tuple[str, ...] = ()


AnyMethod = Method | LengthyMethod | SubscribeMethod | SessionMethod
