"""A real chain of small rules behind a real server, and a client that checks what it is told."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import trio
import trio.testing
from trio_websocket import WebSocketConnection, open_websocket_url

from node.application import BestState
from node.chain import Chain
from node.pool import Pool
from node.rpc.backend import Backend, NodeFacts
from node.rpc.chain_head.limits import FollowLimits
from node.rpc.dispatch import Dispatcher
from node.rpc.heads import Heads
from node.rpc.limits import RpcConfig, RpcLimits
from node.rpc.methods.chain_head import ChainHead
from node.rpc.methods.chain_spec import chain_spec_methods
from node.rpc.outbox import Backlog, Outbox
from node.rpc.server import RpcServer
from node.rpc.subscriptions import Session
from node.storage.pruning import Pruning
from runtime.frame.runtime_api import ApiArgumentError, OtherRules, UnknownApi
from runtime.primitives.header import Header
from runtime.primitives.scale import encode
from runtime.primitives.version import RuntimeVersion
from runtime.state.store import State
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime
from tests.patience import PATIENCE

SPEC = b"spec"
"""The key under which the tiny rules keep their version."""
FACTS = NodeFacts(
    chain="Tiny",
    chain_type="Development",
    name="node",
    version="1",
    properties={"ss58Format": 42, "tokenSymbol": "TINY", "tokenDecimals": 12},
)


class HeadRuntime(TinyRuntime):
    """Rules with a version in the state and a few runtime calls."""

    def call_api(self, state: State, header: Header, method: str, data: bytes) -> bytes:
        match method:
            case "Core_version" if state.get(SPEC) == b"?":
                raise OtherRules(None, "the state names no rules")
            case "Core_version":
                spec = int(state.get(SPEC) or b"1")
                apis = ((b"\x01" * 8, 3),)
                return encode(RuntimeVersion, RuntimeVersion("tiny", "py", 1, spec, 7, apis, 2, 1))
            case "Echo_echo":
                return data
            case "Echo_picky":
                raise ApiArgumentError("one byte is missing")
            case "Echo_read":
                return state.get(data) or b""
            case "Echo_bug":
                raise KeyError("a bug of the rules")
        raise UnknownApi(method)


@dataclass
class World:
    """The parts; `grow` and the like act on the chain as consensus would."""

    chain: Chain
    heads: Heads
    head: ChainHead
    dispatcher: Dispatcher
    server: RpcServer
    port: int
    clock: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def grow(self, parent: bytes, *extrinsics: bytes) -> bytes:
        built = await self.chain.build(
            parent,
            timestamp=next(self.clock),
            digest=(),
            candidates=extrinsics,
            full=lambda: False,
        )
        return (await self.chain.execute(built.block)).hash

    async def extend(self, *extrinsics: bytes) -> bytes:
        """Put a block on the best one, and make it the best."""
        block_hash = await self.grow(self.chain.best().hash, *extrinsics)
        self.chain.set_best(block_hash)
        return block_hash

    async def extend_final(self, *extrinsics: bytes) -> bytes:
        block_hash = await self.extend(*extrinsics)
        await self.chain.finalize(block_hash, b"proof")
        return block_hash

    def connect(self) -> Any:
        return open_websocket_url(f"ws://127.0.0.1:{self.port}")


async def start(
    path: Path,
    nursery: trio.Nursery,
    *,
    pruning: Pruning | None = None,
    follow: FollowLimits | None = None,
    genesis: TinyGenesis | None = None,
    **limits: Any,
) -> World:
    runtime = HeadRuntime()
    chain = Chain.open(path, genesis or TinyGenesis(), runtime, pruning)
    heads = Heads(chain)
    backend = Backend(chain, Pool(BestState(chain, runtime)), runtime, FACTS)
    head = ChainHead(backend, heads, follow or FollowLimits())
    config = RpcConfig(port=0, limits=RpcLimits(**limits))
    dispatcher = Dispatcher(
        [*head.methods(), *chain_spec_methods(backend)],
        batch_length=config.limits.batch_length,
        response_bytes=config.limits.response_bytes,
    )
    server = RpcServer(dispatcher, config, lambda: (200, b"{}"))
    _, port = await server.listen()
    nursery.start_soon(heads.run)
    nursery.start_soon(server.run)
    return World(chain, heads, head, dispatcher, server, port)


class Client:
    """One connection: answers by request, notifications by subscription."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.events: dict[str, list[Any]] = {}
        self._idents = itertools.count(1)

    async def ask(self, method: str, *params: Any) -> Any:
        ident = next(self._idents)
        request = {"jsonrpc": "2.0", "id": ident, "method": method, "params": list(params)}
        await self.socket.send_message(orjson.dumps(request).decode())
        with trio.fail_after(PATIENCE):
            while True:
                message = orjson.loads(await self.socket.get_message())
                if message.get("id") == ident:
                    return message
                self._note(message)

    async def result(self, method: str, *params: Any) -> Any:
        answer = await self.ask(f"chainHead_v1_{method}", *params)
        assert "error" not in answer, answer
        return answer["result"]

    async def refusal(self, method: str, *params: Any) -> int:
        answer = await self.ask(f"chainHead_v1_{method}", *params)
        assert "result" not in answer, answer
        code: int = answer["error"]["code"]
        return code

    async def follow(self, with_runtime: bool = True) -> str:
        ident: str = await self.result("follow", with_runtime)
        return ident

    async def event(self, ident: str) -> Any:
        """Wait for the next event of a subscription."""
        with trio.fail_after(PATIENCE):
            while not self.events.get(ident):
                self._note(orjson.loads(await self.socket.get_message()))
        return self.events[ident].pop(0)

    async def until(self, ident: str, name: str) -> list[Any]:
        """Collect events up to one of this name."""
        seen = [await self.event(ident)]
        while seen[-1]["event"] != name:
            seen.append(await self.event(ident))
        return seen

    async def operation(self, ident: str, method: str, *params: Any) -> list[Any]:
        """Begin an operation and collect its events; those of the chain stay in line."""
        started = await self.result(method, ident, *params)
        assert started["result"] == "started", started
        told, others = [], []
        while not told or told[-1]["event"] not in LAST:
            event = await self.event(ident)
            (told if event.get("operationId") == started["operationId"] else others).append(event)
        self.events[ident] = others + self.events[ident]
        return [{k: v for k, v in event.items() if k != "operationId"} for event in told]

    def _note(self, message: Any) -> None:
        assert message["method"] == "chainHead_v1_followEvent", message
        params = message["params"]
        self.events.setdefault(params["subscription"], []).append(params["result"])


LAST = {
    "operationBodyDone",
    "operationCallDone",
    "operationStorageDone",
    "operationInaccessible",
    "operationError",
    "operationWaitingForContinue",
}


class Wire:
    """A connection without a socket: requests go straight to the dispatcher, in order.

    What is sent waits in a real outbox, whose other end reads nothing unless it is told to.
    """

    def __init__(self, world: World, nursery: trio.Nursery, **limits: int) -> None:
        sends, self.reads = trio.testing.lockstep_stream_pair()
        bounds = RpcLimits(**limits)
        self.outbox = Outbox(
            sends,
            high_water=bounds.high_water_bytes,
            most=bounds.backlog_bytes,
            backlog=Backlog(bounds.total_backlog_bytes, bounds.total_request_bytes),
            give_up=lambda: None,
        )
        self.session = Session(nursery, bounds.subscriptions, self.outbox)
        self.sent: list[Any] = []
        self._dispatcher = world.dispatcher
        nursery.start_soon(self.outbox.run)

    def _send(self, message: bytes) -> None:
        self.sent.append(orjson.loads(message))
        self.outbox.put(message)
        self.outbox.wake()

    async def drain(self) -> None:
        """Read what was sent, as a client that keeps up does."""
        while await self.reads.receive_some(1 << 16):
            pass

    async def request(self, message: Any) -> Any:
        """Make a request or a batch; what it opened may speak afterwards."""
        answer = self._dispatcher.handle(orjson.dumps(message), self.session)
        if isinstance(answer, bytes):
            return orjson.loads(answer)
        body, opened, batch = await answer
        self.sent.append(orjson.loads(body))
        for subscription in opened:
            subscription.activate(self._send)
        if batch is not None:
            batch.release()
        return orjson.loads(body)

    async def ask(self, method: str, *params: Any) -> Any:
        name = f"chainHead_v1_{method}"
        request = {"jsonrpc": "2.0", "id": 1, "method": name, "params": list(params)}
        return await self.request(request)

    async def result(self, method: str, *params: Any) -> Any:
        answer = await self.ask(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    def events(self, ident: str) -> list[Any]:
        """Take the events of a subscription that were sent since the last time."""
        mine, rest = [], []
        for message in self.sent:
            params = message.get("params") if isinstance(message, dict) else None
            (mine if params and params["subscription"] == ident else rest).append(message)
        self.sent = rest
        return [message["params"]["result"] for message in mine]


def hexed(data: bytes) -> str:
    return "0x" + data.hex()
