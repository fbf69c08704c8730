"""Measure how often and how fast a node answers each method, over one WebSocket.

    python -m benches.rpc_methods [--seconds 1.5] [--pipeline 8] [--only TEXT]

The node makes a block a second meanwhile. Beside each figure stands its floor: the same server
giving the recorded bytes of the same answer without any work. Methods that answer with events are
done with the last of them; their floor sends all that as one message.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
import trio

from benches.consensus_chain import genesis_hash, senders, spec_with, transfers
from benches.consensus_network import running, validators
from benches.rpc_cases import FOLLOW, PINNED, Case, cases
from benches.rpc_socket import UPGRADE, frame, request
from node.rpc.dispatch import Deferred, Dispatcher
from node.rpc.limits import RpcConfig
from node.rpc.pace import Pace
from node.rpc.server import RpcServer
from node.rpc.subscriptions import Session

ACCOUNTS = 1200
WARM_UP = 5
_READ = 1 << 18


@dataclass(frozen=True, slots=True)
class Figures:
    """Answers per second with many in flight; seconds of one alone, median and 99th percentile."""

    rate: float
    median: float
    worst: float


class Wire:
    """A blocking WebSocket that counts whole messages, or those with a mark in them."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(30)
        self.socket.sendall(UPGRADE)
        self._buffer = bytearray()
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self.socket.recv(_READ)
        del self._buffer[: self._buffer.find(b"\r\n\r\n") + 4]

    def send(self, data: bytes) -> None:
        """Send frames."""
        self.socket.sendall(data)

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def receive(self) -> bytes:
        """Wait for the next message."""
        while (message := self._take()) is None:
            data = self.socket.recv(_READ)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._buffer += data
        return message

    def _take(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return None
        message = bytes(buffer[start : start + size])
        del buffer[: start + size]
        return message


def answer(wire: Wire, case: Case) -> list[bytes]:
    """Wait for the messages of one answer; raises RuntimeError for an error."""
    told = []
    while True:
        message = wire.receive()
        if b'"method":"chainHead_v1_followEvent"' in message and b"operation" not in message:
            continue  # a block that was made meanwhile
        if b'"error":{' in message[:80] or b'"result":{"result":"limitReached"' in message[:80]:
            raise RuntimeError(f"{case.name}: {message[:200].decode()}")
        told.append(message)
        if case.until is None or case.until in message:
            return told


def prepared(wire: Wire, case: Case) -> bytes:
    """Return the frame of a request, following the head first where it needs that."""
    params = case.params
    if FOLLOW in params:
        wire.send(frame(request(0, "chainHead_v1_follow", True)))
        ident = orjson.loads(wire.receive())["result"]
        block = orjson.loads(wire.receive())["params"]["result"]["finalizedBlockHashes"][-1]
        params = tuple({FOLLOW: ident, PINNED: block}.get(_text(p), p) for p in params)
    return frame(request(7, case.method, *params))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def load(port: int, case: Case, seconds: float, pipeline: int) -> tuple[Figures, bytes, bytes]:
    """Measure a case; returns the request's JSON and the recorded answer, too."""
    wire = Wire(port)
    try:
        asked = prepared(wire, case)
        recorded = b""
        for _ in range(WARM_UP):
            wire.send(asked)
            recorded = b"".join(answer(wire, case))
        alone = _alone(wire, case, asked, seconds / 2)
        rate = _together(wire, case, asked, seconds, pipeline)
    finally:
        wire.close()
    ordered = sorted(alone)
    worst = ordered[len(ordered) * 99 // 100]
    return Figures(rate, statistics.median(ordered), worst), asked, recorded


def _alone(wire: Wire, case: Case, asked: bytes, seconds: float) -> list[float]:
    took = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        wire.send(asked)
        answer(wire, case)
        took.append(time.perf_counter() - begun)
    return took


def _together(wire: Wire, case: Case, asked: bytes, seconds: float, pipeline: int) -> float:
    wire.send(asked * pipeline)
    answered, begun = 0, time.perf_counter()
    while time.perf_counter() < begun + seconds:
        answered += _answered(wire, case)
        wire.send(asked)
    return answered / (time.perf_counter() - begun)


def _answered(wire: Wire, case: Case) -> int:
    """Wait until one more answer is complete, whichever it is."""
    answer(wire, case)
    return 1


# --- the floor ----------------------------------------------------------------------------


class Recorded(Dispatcher):
    """Always says the same."""

    def __init__(self, said: bytes) -> None:
        super().__init__((), batch_length=1, response_bytes=1)
        self._said = said

    def handle(
        self, raw: bytes | str, session: Session | None, pace: Pace | None = None
    ) -> bytes | Deferred:
        """Answer with fixed bytes."""
        return self._said


def _serve(said: bytes, report: Connection) -> None:
    trio.run(_serve_async, said, report)


async def _serve_async(said: bytes, report: Connection) -> None:
    server = RpcServer(Recorded(said), RpcConfig(port=0), lambda: (200, b"{}"))
    async with trio.open_nursery() as nursery:
        report.send((await server.listen())[1])
        nursery.start_soon(server.run)


@contextmanager
def floor(said: bytes) -> Iterator[int]:
    """Serve fixed bytes in a process of its own; yields the port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(said, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--pipeline", type=int, default=8)
    parser.add_argument("--only", default="", help="methods with this in their name")
    args = parser.parse_args()
    pairs = senders(ACCOUNTS)
    spec = spec_with(1, pairs, block_interval_ms=1000)
    transfer = next(transfers(pairs, 1, genesis_hash(spec)))
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ",
        end="",
    )
    print(f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f} before, one WebSocket")
    print(f"{'':<30}{args.pipeline:>5} in flight, /s{'one alone, ms':>22}{'floor':>28}")
    print(f"{'method':<30}{'':>16}{'p50':>12}{'p99':>10}{'/s':>12}{'p50':>8}{'p99':>8}{'bytes':>9}")
    with (
        tempfile.TemporaryDirectory(prefix="rpc-methods-") as folder,
        running(Path(folder), spec, validators(Path(folder), 1)) as network,
    ):
        network.wait(4)
        port = network.nodes[0].member.ports.rpc
        for case in trio.run(cases, port, pairs[0], transfer):
            if args.only in case.name:
                _row(port, case, args.seconds, args.pipeline)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def _row(port: int, case: Case, seconds: float, pipeline: int) -> None:
    found, _, recorded = load(port, case, seconds, pipeline)
    with floor(recorded) as least_port:
        least, _, _ = load(least_port, Case(case.name, "system_name"), seconds / 3, pipeline)
    print(
        f"{case.name:<30}{found.rate:>16,.0f}{_ms(found.median):>12}{_ms(found.worst):>10}"
        f"{least.rate:>12,.0f}{_ms(least.median):>8}{_ms(least.worst):>8}{len(recorded):>9,}",
        flush=True,
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


if __name__ == "__main__":
    main()
