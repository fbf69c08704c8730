"""Measure the requests per second of the JSON-RPC server on one core.

    python -m benches.rpc [--seconds 3] [--connections 8] [--pipeline 32]

The server runs in its own process and answers `system_name`; the load comes from this one, over raw
sockets that keep a fixed number of requests in flight. Each figure stands beside its floor: the
same server around a handler that does nothing, and a bare echo over trio without any protocol.
"""

from __future__ import annotations

import argparse
import base64
import multiprocessing
import platform
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import trio
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import TextMessage

from node.rpc.dispatch import Deferred, Dispatcher, Method
from node.rpc.limits import RpcConfig
from node.rpc.pace import Pace
from node.rpc.server import RpcServer
from node.rpc.subscriptions import Session

REQUEST = b'{"jsonrpc":"2.0","id":7,"method":"system_name","params":[]}'
ANSWER = b'{"jsonrpc":"2.0","id":7,"result":"OpenLedger"}'


class EmptyHandler(Dispatcher):
    """A dispatcher that reads nothing and always says the same."""

    def handle(
        self, raw: bytes | str, session: Session | None, pace: Pace | None = None
    ) -> bytes | Deferred:
        """Answer with fixed bytes."""
        return ANSWER


def _serve(kind: str, report: Connection) -> None:
    trio.run(_serve_async, kind, report)


async def _serve_async(kind: str, report: Connection) -> None:
    if kind == "echo":
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        report.send(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(_echo, listeners)
    methods = [Method("system_name", lambda: "OpenLedger")]
    made = {"server": Dispatcher, "empty": EmptyHandler}[kind]
    dispatcher = made(methods, batch_length=1000, response_bytes=1 << 24)
    server = RpcServer(dispatcher, RpcConfig(port=0), lambda: (200, b"{}"))
    async with trio.open_nursery() as nursery:
        report.send((await server.listen())[1])
        nursery.start_soon(server.run)


async def _echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a client opens a connection, what one request is, and how long one answer is."""

    open: Callable[[int], socket.socket]
    request: bytes
    answer_bytes: int


def http() -> Protocol:
    """HTTP/1.1 POST on kept connections."""
    request = (
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(REQUEST), REQUEST)
    )
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return Protocol(_connect, request, len(head % len(ANSWER)) + len(ANSWER))


def websocket() -> Protocol:
    """WebSocket text frames, masked as a client must."""
    frame = Frames(ConnectionType.CLIENT).send(TextMessage(data=REQUEST.decode()))
    return Protocol(_connect_websocket, frame, 2 + len(ANSWER))


def echo() -> Protocol:
    """The request's bytes, sent back."""
    return Protocol(_connect, REQUEST, len(REQUEST))


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def _connect_websocket(port: int) -> socket.socket:
    client = _connect(port)
    key = base64.b64encode(b"0123456789abcdef")
    client.sendall(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key
    )
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += client.recv(4096)
    return client


def measure(
    kind: str, protocol: Protocol, seconds: float, connections: int, pipeline: int
) -> float:
    """Return the requests per second that a fresh server of this kind answers."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(kind, theirs), daemon=True)
    server.start()
    try:
        port: int = ours.recv()
        return _load(protocol, port, seconds, connections, pipeline)
    finally:
        server.terminate()
        server.join()


def _load(protocol: Protocol, port: int, seconds: float, connections: int, pipeline: int) -> float:
    selector = selectors.DefaultSelector()
    pending: dict[Any, int] = {}
    for _ in range(connections):
        client = protocol.open(port)
        selector.register(client, selectors.EVENT_READ)
        pending[client] = 0
        client.sendall(protocol.request * pipeline)
    size = protocol.answer_bytes
    answered = 0
    start = time.perf_counter()
    end = start + seconds
    while time.perf_counter() < end:
        for key, _ in selector.select(0.1):
            client = key.fileobj  # type: ignore[assignment]
            received = client.recv(1 << 18)
            if not received:
                raise ConnectionError("the server closed a connection under load")
            whole, pending[client] = divmod(pending[client] + len(received), size)
            answered += whole
            if whole:
                client.sendall(protocol.request * whole)
    elapsed = time.perf_counter() - start
    for client in pending:
        client.close()
    return answered / elapsed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--pipeline", type=int, default=32)
    args = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ",
        end="",
    )
    print(f"{time.strftime('%Y-%m-%d')}, {args.connections} connections")
    columns = f"{'system_name/s':>16}{'empty handler/s':>18}{'echo/s':>12}"
    print(f"{'transport':<12}{'in flight':>10}{columns}")
    for name, protocol in (("HTTP", http()), ("WebSocket", websocket())):
        for pipeline in (1, args.pipeline):
            rates = [
                measure(kind, made, args.seconds, args.connections, pipeline)
                for kind, made in (("server", protocol), ("empty", protocol), ("echo", echo()))
            ]
            print(f"{name:<12}{pipeline:>10}{rates[0]:>16,.0f}{rates[1]:>18,.0f}{rates[2]:>12,.0f}")


if __name__ == "__main__":
    main()
