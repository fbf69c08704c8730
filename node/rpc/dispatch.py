"""From the bytes of a request to the bytes of its answer, without any I/O of its own.

`Dispatcher.handle` answers plain methods at once, as bytes; whatever has to wait (a batch, a long
read, a subscription) comes back as a coroutine. So a connection spends a task only where a request
needs one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from node.rpc.errors import (
    OVERSIZED_BATCH,
    RpcError,
    internal_error,
    invalid_request,
    method_not_found,
    needs_websocket,
    parse_error,
    response_too_big,
)
from node.rpc.params import Decoder, Param, decode_params
from node.rpc.schema import ANY, Schema
from node.rpc.slices import Slice

if TYPE_CHECKING:
    from node.rpc.subscriptions import Session, Subscription

_log = logging.getLogger("openledger.rpc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What the OpenRPC document says of a method beside its name and parameters.

    result: of the answer; for a subscription, of each notification. doc: for people; by default the
    docstring of `call`.
    """

    result: Schema | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Method(Described):
    """A plain method: `call` returns its result, JSON-able or an `orjson.Fragment`, at once."""

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


AnyMethod = Method | LengthyMethod | SubscribeMethod


class Answer(NamedTuple):
    """The bytes to send, and the subscriptions that may speak once they are queued."""

    body: bytes
    opened: tuple[Subscription, ...] = ()


Deferred = Coroutine[Any, Any, Answer]

_HEAD = b'{"jsonrpc":"2.0","id":'
_RESULT = b',"result":'
_ERROR = b',"error":'
_UNSUBSCRIBE_PARAM = (Param("subscription", Decoder(lambda value: value, ANY)),)


class Dispatcher:
    """The table of methods and the rules of JSON-RPC 2.0 around it."""

    def __init__(
        self, methods: Iterable[AnyMethod], *, batch_length: int, response_bytes: int
    ) -> None:
        self._table: dict[str, AnyMethod] = {}
        self._unsubscribes: set[str] = set()
        self._batch_length = batch_length
        self._response_bytes = response_bytes
        for method in methods:
            for name in (method.name, *method.aliases):
                self._add(name, method)
            if isinstance(method, SubscribeMethod):
                self._unsubscribes.update(method.unsubscribe)
        self._add("rpc_methods", Method("rpc_methods", lambda: {"methods": self.names()}))

    def _add(self, name: str, method: AnyMethod) -> None:
        if name in self._table:
            raise ValueError(f"two methods are named {name}")
        self._table[name] = method

    def names(self) -> list[str]:
        """List every name that is served, sorted."""
        return sorted({*self._table, *self._unsubscribes})

    def handle(self, raw: bytes | str, session: Session | None) -> bytes | Deferred:
        """Answer one request or batch; empty bytes when nothing is to be said."""
        try:
            message = orjson.loads(raw)
        except orjson.JSONDecodeError as fault:
            return _failure(b"null", parse_error(str(fault)))
        if type(message) is dict:
            return self._request(message, session)
        if type(message) is list:
            return self._batch(message, session)
        return _failure(b"null", invalid_request("a request is an object or an array of objects"))

    def _request(self, request: dict[str, Any], session: Session | None) -> bytes | Deferred:
        name = request.get("method")
        method = self._table.get(name) if type(name) is str else None
        if type(method) is not Method or request.get("jsonrpc") != "2.0" or "id" not in request:
            return self._unusual(request, method, session)
        try:
            ident = _encode_id(request["id"])
        except RpcError as refusal:
            return _failure(b"null", refusal)
        given = request.get("params")
        try:
            values = decode_params(method.params, given) if given or method.params else ()
            return self._success(ident, method.call(*values))
        except RpcError as refusal:
            return _failure(ident, refusal)
        except Exception:
            return _fault(ident, method.name)

    def _unusual(
        self, request: dict[str, Any], method: AnyMethod | None, session: Session | None
    ) -> bytes | Deferred:
        """Answer everything that is not a call of a plain method."""
        try:
            ident = _encode_id(request.get("id"))
        except RpcError as refusal:
            return _failure(b"null", refusal)
        name = request.get("method")
        if request.get("jsonrpc") != "2.0" or type(name) is not str:
            return _failure(ident, invalid_request('"jsonrpc" must be "2.0" and "method" a string'))
        if "id" not in request:
            return b""
        if name in self._unsubscribes:
            return self._unsubscribe(name, ident, request.get("params"), session)
        if method is None:
            return _failure(ident, method_not_found())
        return self._deferred(ident, method, request.get("params"), session)

    async def _deferred(
        self, ident: bytes, method: AnyMethod, given: object, session: Session | None
    ) -> Answer:
        try:
            values = decode_params(method.params, given)
            if isinstance(method, SubscribeMethod):
                return await self._subscribe(ident, method, values, session)
            return Answer(self._success(ident, await method.call(*values)))
        except RpcError as refusal:
            return Answer(_failure(ident, refusal))
        except Exception:
            return Answer(_fault(ident, method.name))

    def _batch(self, requests: list[Any], session: Session | None) -> bytes | Deferred:
        if not requests:
            return _failure(b"null", invalid_request("the batch is empty"))
        if len(requests) > self._batch_length:
            detail = f"at most {self._batch_length} requests, got {len(requests)}"
            return _failure(
                b"null", RpcError(OVERSIZED_BATCH, "The batch request was too large", detail)
            )
        return self._batch_answer(requests, session)

    def _element(self, request: object, session: Session | None) -> bytes | Deferred:
        if type(request) is dict:
            return self._request(request, session)
        return _failure(b"null", invalid_request("an element of a batch must be an object"))

    async def _batch_answer(self, requests: list[Any], session: Session | None) -> Answer:
        """Answer in order, in slices: a thousand plain requests are long work together."""
        answers: list[bytes] = []
        opened: list[Subscription] = []
        size = 0
        work = Slice()
        for request in requests:
            answer = self._element(request, session)
            if not isinstance(answer, bytes):
                answer, new = await answer
                opened += new
            answers.append(answer)
            size += len(answer)
            if size > self._response_bytes:
                for subscription in opened:
                    subscription.session.close(subscription.ident)
                return Answer(_failure(b"null", response_too_big("ask for less in one batch")))
            await work.pause()
        return Answer(_join(answers), tuple(opened))

    async def _subscribe(
        self,
        ident: bytes,
        method: SubscribeMethod,
        values: Sequence[Any],
        session: Session | None,
    ) -> Answer:
        if session is None:
            raise needs_websocket(method.name)
        subscription = session.open(method.notification)
        try:
            await method.call(subscription, *values)
        except BaseException:
            session.close(subscription.ident)
            raise
        return Answer(self._success(ident, subscription.ident), (subscription,))

    def _unsubscribe(
        self, name: str, ident: bytes, given: object, session: Session | None
    ) -> bytes:
        try:
            if session is None:
                raise needs_websocket(name)
            (subscription,) = decode_params(_UNSUBSCRIBE_PARAM, given)
            closed = isinstance(subscription, str) and session.close(subscription)
            return self._success(ident, closed)
        except RpcError as refusal:
            return _failure(ident, refusal)

    def _success(self, ident: bytes, result: object) -> bytes:
        encoded = orjson.dumps(result)
        if len(encoded) > self._response_bytes:
            return _failure(ident, response_too_big("ask for less at once"))
        return b"%b%b%b%b}" % (_HEAD, ident, _RESULT, encoded)


def _encode_id(ident: object) -> bytes:
    """Echo an id with its type."""
    if ident is None or type(ident) in (int, str, float):
        return orjson.dumps(ident)
    raise invalid_request("an id is a number, a string or null")


def _failure(ident: bytes, error: RpcError) -> bytes:
    return b"%b%b%b%b}" % (_HEAD, ident, _ERROR, error.fragment())


def _fault(ident: bytes, name: str) -> bytes:
    _log.exception("%s failed on a request from outside", name)
    return _failure(ident, internal_error())


def _join(answers: list[bytes]) -> bytes:
    spoken = [answer for answer in answers if answer]
    return b"[%b]" % b",".join(spoken) if spoken else b""
