"""The wire under the client: JSON-RPC over a WebSocket that reconnects, or over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol, Self, cast
from urllib.parse import urlsplit

import httpx
import orjson
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)

from node.client.errors import CallError, ConnectionLost, NeedsWebSocket, Unanswered, Unreachable

MAX_MESSAGE = 64 * 1024 * 1024
ANSWER_SECONDS = 60.0
CONNECT_SECONDS = 10.0
BACKOFF_FIRST, BACKOFF_MOST = 0.1, 5.0
_BUFFERED = 4096
_ONCE = ("author_submitExtrinsic", "author_submitAndWatchExtrinsic")
"""Methods that are not asked again when the connection breaks in the middle."""


class Transport(Protocol):
    """What carries requests and notifications."""

    async def request(self, method: str, params: tuple[Any, ...]) -> Any:
        """Ask and return the result; raises CallError, Unanswered, ConnectionLost, Unreachable."""

    async def subscribe(self, method: str, params: tuple[Any, ...]) -> Subscription:
        """Begin a subscription; raises as `request`, and NeedsWebSocket over HTTP."""


class Subscription:
    """Notifications of one subscription, in order; an async iterator and context manager.

    The iteration raises ConnectionLost when the connection breaks, or when the reader lets
    thousands of notifications pile up.
    """

    def __init__(
        self,
        channel: trio.MemoryReceiveChannel[Any],
        unsubscribe: Callable[[], Awaitable[object]],
    ) -> None:
        self._channel = channel
        self._unsubscribe = unsubscribe
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            self._over = True
            raise ConnectionLost("the subscription ended with its connection") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Unsubscribe; a connection that is gone already is no error."""
        self._channel.close()
        if self._over:
            return
        self._over = True
        with trio.move_on_after(1) as scope:
            scope.shield = True
            with suppress(CallError, ConnectionLost, Unreachable, Unanswered):
                await self._unsubscribe()


class _Pending:
    """A request that waits for its answer."""

    __slots__ = ("answered", "result", "subscription")

    def __init__(self, subscription: trio.MemorySendChannel[Any] | None) -> None:
        self.answered = trio.Event()
        self.result: dict[str, Any] | None = None
        self.subscription = subscription


_BREAKS = (
    OSError,
    HandshakeError,
    ConnectionClosed,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
)


class WebSocketTransport:
    """One WebSocket at a time, made anew with growing pauses whenever it breaks."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._socket: WebSocketConnection | None = None
        self._connected = trio.Event()
        self._failure: BaseException | None = None
        self._pending: dict[int, _Pending] = {}
        self._subscriptions: dict[str, trio.MemorySendChannel[Any]] = {}
        self._next_id = 0

    async def request(self, method: str, params: tuple[Any, ...]) -> Any:
        """Ask; a read is asked again when the connection breaks under it."""
        while True:
            try:
                return await self._ask(method, params, None)
            except ConnectionLost:
                if method in _ONCE:
                    raise

    async def subscribe(self, method: str, params: tuple[Any, ...]) -> Subscription:
        """Begin a subscription on the present connection."""
        send, receive = trio.open_memory_channel[Any](_BUFFERED)
        ident = await self._ask(method, params, send)
        socket = self._socket

        async def unsubscribe() -> None:
            self._subscriptions.pop(ident, None)
            if self._socket is socket:
                await self._ask(unsubscribe_name(method), (ident,), None)

        return Subscription(receive, unsubscribe)

    async def _ask(
        self, method: str, params: tuple[Any, ...], subscription: trio.MemorySendChannel[Any] | None
    ) -> Any:
        socket = await self._live_socket()
        self._next_id += 1
        ident = self._next_id
        pending = self._pending[ident] = _Pending(subscription)
        body = {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}
        try:
            await socket.send_message(orjson.dumps(body).decode())
            with trio.move_on_after(ANSWER_SECONDS) as waiting:
                await pending.answered.wait()
        except ConnectionClosed:
            # Its reader may not have had a turn yet: nobody may take the socket for alive.
            if self._socket is socket:
                self._drop()
            raise ConnectionLost(f"the connection broke while sending {method}") from None
        finally:
            self._pending.pop(ident, None)
        if waiting.cancelled_caught:
            raise Unanswered(f"{method} was not answered within {ANSWER_SECONDS:.0f} s")
        if pending.result is None:
            raise ConnectionLost(f"the connection broke before {method} was answered")
        return _result(method, pending.result)

    async def _live_socket(self) -> WebSocketConnection:
        with trio.move_on_after(CONNECT_SECONDS):
            while self._socket is None:
                await self._connected.wait()
        if self._socket is None:
            raise Unreachable(self._url, self._failure)
        return self._socket

    @trio.lowlevel.enable_ki_protection  # Ctrl-C goes to the main task, as nobody catches it here
    async def run(self) -> None:
        """Connect, listen, and connect again, until cancelled."""
        pause = BACKOFF_FIRST
        while True:
            try:
                async with _open_websocket(self._url) as socket:
                    pause = BACKOFF_FIRST
                    self._socket = socket
                    self._connected.set()
                    await self._listen(socket)
            except* _BREAKS as broken:
                self._failure = _told(_innermost(broken))
            finally:
                self._drop()
            await trio.sleep(pause)
            pause = min(pause * 2, BACKOFF_MOST)

    async def _listen(self, socket: WebSocketConnection) -> None:
        while True:
            message = orjson.loads(await socket.get_message())
            pending = self._pending.get(message.get("id"))
            if pending is not None:
                pending.result = message
                if pending.subscription is not None and "result" in message:
                    self._subscriptions[message["result"]] = pending.subscription
                pending.answered.set()
            elif "params" in message:
                self._notify(message["params"])

    def _notify(self, params: dict[str, Any]) -> None:
        channel = self._subscriptions.get(params["subscription"])
        if channel is None:
            return
        try:
            channel.send_nowait(params["result"])
        except (trio.WouldBlock, trio.BrokenResourceError):
            channel.close()
            del self._subscriptions[params["subscription"]]

    def _drop(self) -> None:
        """Tell everybody who waits that the connection is gone."""
        self._socket = None
        if self._connected.is_set():
            self._connected = trio.Event()
        for pending in self._pending.values():
            pending.answered.set()
        for channel in self._subscriptions.values():
            channel.close()
        self._subscriptions.clear()


def _told(failure: BaseException) -> BaseException:
    """Put into words what the library tells as a tuple."""
    if isinstance(failure, ConnectionRejected):
        return ConnectionError(f"HTTP status {failure.status_code} instead of a WebSocket")
    return failure


class _Reading:
    """A nursery for the library's reader; the handshake would wait for ever for one that ended."""

    def __init__(self, nursery: trio.Nursery, opening: trio.CancelScope) -> None:
        self._nursery = nursery
        self._opening = opening

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, reader)

    @trio.lowlevel.enable_ki_protection  # the library loses a Ctrl-C
    async def _run(self, reader: Callable[[], Awaitable[None]]) -> None:
        await reader()
        self._opening.cancel()


@asynccontextmanager
async def _open_websocket(url: str) -> AsyncIterator[WebSocketConnection]:
    parts = urlsplit(url)
    host, secure = parts.hostname or "localhost", parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    stream: trio.abc.Stream
    with trio.fail_after(CONNECT_SECONDS):
        if secure:
            stream = await trio.open_ssl_over_tcp_stream(host, port)
        else:
            stream = await trio.open_tcp_stream(host, port)
    async with stream, trio.open_nursery() as nursery:
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with trio.move_on_after(CONNECT_SECONDS) as opening:
            socket = await wrap_client_stream(
                cast("trio.Nursery", _Reading(nursery, opening)),
                stream,
                f"{host}:{port}",
                resource,
                max_message_size=MAX_MESSAGE,
            )
        if opening.cancelled_caught:
            raise ConnectionError("the connection ended before its WebSocket was open")
        try:
            yield socket
        finally:
            nursery.cancel_scope.cancel()


class HttpTransport:
    """Plain requests, without subscriptions."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._client = client

    async def request(self, method: str, params: tuple[Any, ...]) -> Any:
        """Ask, with pauses while the node cannot be reached."""
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        deadline = trio.current_time() + CONNECT_SECONDS
        pause = BACKOFF_FIRST
        while True:
            try:
                return _result(method, await self._post(method, body))
            except httpx.ConnectError as fault:
                if trio.current_time() > deadline:
                    raise Unreachable(self._url, fault) from None
            except httpx.TimeoutException:
                raise Unanswered(
                    f"{method} was not answered within {ANSWER_SECONDS:.0f} s"
                ) from None
            except httpx.TransportError as fault:
                if method in _ONCE or trio.current_time() > deadline:
                    raise ConnectionLost(f"the connection broke in {method}: {fault}") from None
            await trio.sleep(pause)
            pause = min(pause * 2, BACKOFF_MOST)

    async def _post(self, method: str, body: bytes) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        response = await self._client.post(self._url, content=body, headers=headers)
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            text = response.text.strip()[:200]
            raise CallError(
                method, response.status_code, f"HTTP {response.status_code}", text
            ) from None
        if not isinstance(answer, dict):
            raise CallError(method, response.status_code, "the answer is not JSON-RPC")
        return answer

    async def subscribe(self, method: str, params: tuple[Any, ...]) -> Subscription:
        """Refuse: HTTP carries no notifications."""
        raise NeedsWebSocket(f"{method} needs a WebSocket: connect to ws:// instead of {self._url}")


def open_transport(url: str) -> AbstractAsyncContextManager[Transport]:
    """Open the transport that a URL's scheme names; raises ValueError for another scheme."""
    scheme = urlsplit(url).scheme
    if scheme in ("ws", "wss"):
        return _websocket(url)
    if scheme in ("http", "https"):
        return _http(url)
    raise ValueError(f"{url!r}: a node's address begins with ws://, wss://, http:// or https://")


@asynccontextmanager
async def _websocket(url: str) -> AsyncIterator[Transport]:
    transport = WebSocketTransport(url)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run)
        try:
            yield transport
        except Exception as error:
            failure = error  # raised below, so that no caller meets it wrapped in a group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _http(url: str) -> AsyncIterator[Transport]:
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client:
        yield HttpTransport(url, client)


def _innermost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def unsubscribe_name(method: str) -> str:
    """Return the method that ends what `method` began."""
    if method == "author_submitAndWatchExtrinsic":
        return "author_unwatchExtrinsic"
    return method.replace("subscribe", "unsubscribe", 1)


def _result(method: str, answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    raise CallError(method, error.get("code", 0), error.get("message", ""), error.get("data"))
