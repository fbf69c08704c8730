"""From the bytes of a request to the bytes of its answer, without any I/O of its own.

`Dispatcher.handle` answers plain methods at once, as bytes; whatever has to wait (a batch, a long
read, a subscription) comes back as a coroutine. So a connection spends a task only where a request
needs one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from node.rpc.envelopes import (
    MOST_VALUES,
    encode_id,
    failure,
    fault,
    holds_too_much,
    id_of,
    join,
    success,
)
from node.rpc.errors import (
    OVERSIZED_BATCH,
    RpcError,
    invalid_request,
    method_not_found,
    needs_websocket,
    parse_error,
    response_too_big,
    too_many_calls,
    unsafe_method,
)
from node.rpc.figures import Calls
from node.rpc.kinds import (
    AnyMethod,
    Described,
    Later,
    LengthyMethod,
    Method,
    SessionMethod,
    SubscribeMethod,
)
from node.rpc.params import Decoder, Param, decode_params
from node.rpc.schema import ANY, TEXT, array, record
from node.rpc.slices import Slice
from node.rpc.work import AllTurns, all_turns

if TYPE_CHECKING:
    from node.rpc.pace import Pace
    from node.rpc.subscriptions import BatchHold, Session, Subscription


class Answer(NamedTuple):
    """The bytes to send, and what may speak once they are queued.

    batch: what the requests of a batch began.
    """

    body: bytes
    opened: tuple[Subscription, ...] = ()
    batch: BatchHold | None = None


Deferred = Coroutine[Any, Any, Answer]

RPC_METHODS = Method(
    "rpc_methods",
    dict,
    doc="List the names of all methods, aliases and methods that end subscriptions included.",
    result=record(methods=array(TEXT)),
)
"""What every dispatcher adds to its methods, with its own list."""

_UNKNOWN = "unknown"
"""Under this name the calls of methods that there are not are counted."""


class Dispatcher:
    """The table of methods and the rules of JSON-RPC 2.0 around it."""

    def __init__(
        self,
        methods: Iterable[AnyMethod],
        *,
        batch_length: int,
        response_bytes: int,
        turns: AllTurns | None = None,
    ) -> None:
        self._table: dict[str, AnyMethod] = {}
        self.turns = all_turns() if turns is None else turns
        self.calls: dict[str, Calls] = {_UNKNOWN: Calls()}
        """By the first name of each method."""
        self._refused: frozenset[str] = frozenset()
        self._refusal = ""
        self._batch_length = batch_length
        self._response_bytes = response_bytes
        for method in (*methods, replace(RPC_METHODS, call=lambda: {"methods": self.names()})):
            self._add(method)
            if isinstance(method, SubscribeMethod):
                for name in method.unsubscribe:
                    self._add(_ending(name, method.notification))

    def _add(self, method: AnyMethod) -> None:
        for name in (method.name, *method.aliases):
            if name in self._table:
                raise ValueError(f"two methods are named {name}")
            self._table[name] = method
        self.calls[method.name] = Calls()

    def names(self) -> list[str]:
        """List every name that is served, sorted."""
        return sorted(self._table)

    def guarded(self, hint: str) -> Dispatcher:
        """Return the same dispatcher for strangers: unsafe methods are refused with this hint.

        They stay listed, as clients know it from other nodes.
        """
        other = copy.copy(self)
        unsafe = {name: method for name, method in self._table.items() if method.unsafe}
        other._table = {name: m for name, m in self._table.items() if name not in unsafe}
        other._refused, other._refusal = frozenset(unsafe), hint
        return other

    def handle(
        self, raw: bytes | str, session: Session | None, pace: Pace | None = None
    ) -> bytes | Deferred:
        """Answer one request or batch; empty bytes when nothing is to be said."""
        if holds_too_much(raw):
            return failure(b"null", invalid_request(f"more than {MOST_VALUES} values"))
        try:
            message = orjson.loads(raw)
        except orjson.JSONDecodeError as fault:
            return failure(b"null", parse_error(str(fault)))
        if pace is not None and not pace.take(len(message) if type(message) is list else 1):
            return failure(id_of(message), too_many_calls(pace.most))
        if type(message) is dict:
            return self._request(message, session)
        if type(message) is list:
            return self._batch(message, session)
        return failure(b"null", invalid_request("a request is an object or an array of objects"))

    def _request(self, request: dict[str, Any], session: Session | None) -> bytes | Deferred:
        """Answer a request; methods that wait and those that do not are counted in one place each.

        The other place is `_deferred`.
        """
        name = request.get("method")
        method = self._table.get(name) if type(name) is str else None
        if method is None or request.get("jsonrpc") != "2.0" or "id" not in request:
            return self._unserved(request)
        try:
            ident = encode_id(request["id"])
        except RpcError as refusal:
            return failure(b"null", refusal)
        given = request.get("params")
        calls = self.calls[method.name]
        calls.count += 1
        begun = perf_counter()
        try:
            if isinstance(method, Method):
                values = decode_params(method.params, given) if given or method.params else ()
                result = method.call(*values)
                if type(result) is Later:
                    return self._deferred(ident, method, partial(self._later, ident, result))
            elif isinstance(method, SessionMethod):
                on = _connected(session, method.name)
                result = method.call(on, *decode_params(method.params, given))
            else:
                work = partial(self._work, ident, method, given, session)
                return self._deferred(ident, method, work)
            return self._success(ident, result)
        except RpcError as refusal:
            calls.failures += 1
            return failure(ident, refusal)
        except Exception:
            calls.failures += 1
            return fault(ident, method.name)
        finally:
            calls.seconds += perf_counter() - begun

    async def _deferred(
        self, ident: bytes, method: AnyMethod, work: Callable[[], Coroutine[Any, Any, Answer]]
    ) -> Answer:
        """Answer a counted request that waits."""
        calls = self.calls[method.name]
        begun = perf_counter()
        try:
            return await work()
        except RpcError as refusal:
            calls.failures += 1
            return Answer(failure(ident, refusal))
        except Exception:
            calls.failures += 1
            return Answer(fault(ident, method.name))
        finally:
            calls.seconds += perf_counter() - begun

    def _unserved(self, request: dict[str, Any]) -> bytes:
        """Answer what is no request, wants no answer, or calls no method that is served."""
        try:
            ident = encode_id(request.get("id"))
        except RpcError as refusal:
            return failure(b"null", refusal)
        name = request.get("method")
        if request.get("jsonrpc") != "2.0" or type(name) is not str:
            return failure(ident, invalid_request('"jsonrpc" must be "2.0" and "method" a string'))
        if "id" not in request:
            return b""
        calls = self.calls[_UNKNOWN]
        calls.count += 1
        calls.failures += 1
        refused = name in self._refused
        return failure(ident, unsafe_method(self._refusal) if refused else method_not_found())

    async def _later(self, ident: bytes, later: Later) -> Answer:
        return Answer(self._success(ident, await later.call()))

    async def _work(
        self,
        ident: bytes,
        method: LengthyMethod | SubscribeMethod,
        given: object,
        session: Session | None,
    ) -> Answer:
        values = decode_params(method.params, given)
        if isinstance(method, SubscribeMethod):
            return await self._subscribe(ident, method, values, session)
        if method.work is None:
            return Answer(self._success(ident, await method.call(*values)))
        async with self.turns[method.work].turn():
            return Answer(self._success(ident, await method.call(*values)))

    def _batch(self, requests: list[Any], session: Session | None) -> bytes | Deferred:
        if not requests:
            return failure(b"null", invalid_request("the batch is empty"))
        if len(requests) > self._batch_length:
            detail = f"at most {self._batch_length} requests, got {len(requests)}"
            return failure(
                b"null", RpcError(OVERSIZED_BATCH, "The batch request was too large", detail)
            )
        return self._batch_answer(requests, session)

    def _element(self, request: object, session: Session | None) -> bytes | Deferred:
        if type(request) is dict:
            return self._request(request, session)
        return failure(b"null", invalid_request("an element of a batch must be an object"))

    async def _batch_answer(self, requests: list[Any], session: Session | None) -> Answer:
        """Answer in order, in slices: a thousand plain requests are long work together."""
        answers: list[bytes] = []
        opened: list[Subscription] = []
        held = None if session is None else session.hold_batch()
        size = 0
        work = Slice()
        for request in requests:
            answer = self._element(request, session)
            if not isinstance(answer, bytes):
                answer, new, _ = await answer
                opened += new
            answers.append(answer)
            size += len(answer)
            if size > self._response_bytes:
                for subscription in opened:
                    subscription.discard()
                refusal = response_too_big("ask for less in one batch")
                return Answer(failure(b"null", refusal), (), held)
            await work.pause()
        return Answer(join(answers), tuple(opened), held)

    async def _subscribe(
        self,
        ident: bytes,
        method: SubscribeMethod,
        values: Sequence[Any],
        session: Session | None,
    ) -> Answer:
        subscription = _connected(session, method.name).open(method.notification)
        try:
            await method.call(subscription, *values)
        except BaseException:
            subscription.discard()
            raise
        return Answer(self._success(ident, subscription.ident), (subscription,))

    def _success(self, ident: bytes, result: object) -> bytes:
        encoded = orjson.dumps(result)
        if len(encoded) > self._response_bytes:
            raise response_too_big("ask for less at once")
        return success(ident, encoded)


def _connected(session: Session | None, name: str) -> Session:
    if session is None:
        raise needs_websocket(name)
    return session


def _ending(name: str, kind: str) -> SessionMethod:
    """Make the method that ends subscriptions of a kind."""

    def end(session: Session, subscription: object) -> bool:
        return isinstance(subscription, str) and session.close(subscription, kind)

    return SessionMethod(name, end, (Param("subscription", Decoder(lambda value: value, ANY)),))


__all__ = [
    "Answer",
    "AnyMethod",
    "Deferred",
    "Described",
    "Dispatcher",
    "LengthyMethod",
    "Method",
    "SessionMethod",
    "SubscribeMethod",
]
