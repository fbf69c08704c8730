"""A chain on which one batch is being judged, and nodes in one process that are peers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from nacl.public import PrivateKey

from consensus.interface import BlockRef
from node.client.material import MaterialRequest, sign_answer, sign_request
from node.client.signing import KeyPair, from_uri
from node.committee_gate import CommitteeGate, FinalChain
from node.network.interface import (
    Direction,
    FailReason,
    Handler,
    Offence,
    PeerInfo,
    RequestFailed,
    RequestKind,
)
from node.network.libp2p_network import Libp2pNetwork
from node.network.settings import NetworkSettings
from node.private_exchange import PrivateExchange
from node.rpc.dispatch import Dispatcher, Method
from node.rpc.limits import RpcConfig
from node.rpc.methods.committee import committee_methods
from node.rpc.params import Param, to_hex, u32
from node.rpc.server import RpcServer
from runtime.construct import Runtime
from runtime.pallets.attribution.types import Duty, DutyStage
from runtime.pallets.inference.types import Batch, BatchState, Worker
from runtime.protocols.batch import ReceiptBatch
from runtime.state.overlay import Overlay
from runtime.state.store import MemoryState
from tests.patience import PATIENCE

GENESIS = bytes(range(32))
VALIDATOR = from_uri("//Bob//stash").account_id
MEMBER, EXECUTOR, STRANGER = (from_uri(f"//{name}") for name in ("Member", "Executor", "Stranger"))
BATCH, DRAWN, HEIGHT, COMMIT_UNTIL = 7, 3, 100, 105


class JudgedChain:
    """A chain's state at one height, where the data of batch 7 may be asked for."""

    genesis_hash = GENESIS

    def __init__(self) -> None:
        self.state = Overlay(MemoryState({}))
        self.height = HEIGHT
        runtime = Runtime(self.state)
        runtime.attribution.duties.insert(BATCH, duty())
        summary = ReceiptBatch(bytes(32), 9, 1, 9, 1, 1, 1, ())
        runtime.inference.batches.insert(
            BATCH, Batch(0, EXECUTOR.account_id, summary, 90, BatchState.OPEN)
        )
        for key, validator in ((MEMBER, VALIDATOR), (EXECUTOR, bytes(32))):
            worker = Worker(validator, b"", (), 1, 0, 1, False, 0, 0, 0, 0, 0)
            runtime.inference.workers.insert(key.account_id, worker)

    def finalized(self) -> BlockRef:
        return BlockRef(bytes(32), self.height)

    def state_at(self, block_hash: bytes) -> Overlay:
        return self.state


def duty(**changes: Any) -> Duty:
    """Return the duty of the batch: Bob judges receipt 3."""
    fields: dict[str, Any] = {
        "seed": bytes(32),
        "audited": True,
        "self_attested": False,
        "seats": (VALIDATOR,),
        "receipts": (DRAWN,),
        "commit_until": COMMIT_UNTIL,
        "reveal_until": COMMIT_UNTIL + 5,
        "final_at": COMMIT_UNTIL + 8,
        "stage": DutyStage.JUDGING,
    }
    return Duty(**fields | changes)


def wanted(**changes: Any) -> MaterialRequest:
    """Return the member's request, with a fresh box key."""
    fields: dict[str, Any] = {
        "genesis": GENESIS,
        "batch": BATCH,
        "receipt": DRAWN,
        "validator": VALIDATOR,
        "worker": MEMBER.account_id,
        "box": bytes(PrivateKey.generate().public_key),
    }
    return MaterialRequest(**fields | changes)


def signed(request: MaterialRequest, key: KeyPair = MEMBER) -> bytes:
    return sign_request(request, key)


def told(request: MaterialRequest, sealed: bytes = b"sealed", key: KeyPair = EXECUTOR) -> bytes:
    """Return the executor's answer to a request."""
    return sign_answer(request, sealed, key)


class Node:
    """An exchange and its links to others; `ask` may be replaced by a liar's."""

    def __init__(self, name: str, chain: FinalChain) -> None:
        self.name = name
        self.links: dict[str, Node] = {}
        self.faults: list[tuple[str, Offence]] = []
        self.asked: list[bytes] = []
        self.lie: Callable[[bytes], Awaitable[bytes]] | None = None
        self.handlers: dict[RequestKind, Handler] = {}
        self.exchange = PrivateExchange(CommitteeGate(chain), self)

    def link(self, *others: Node) -> None:
        for other in others:
            self.links[other.name] = other
            other.links[self.name] = self

    def peers(self) -> tuple[PeerInfo, ...]:
        return tuple(PeerInfo(n, "", Direction.OUTBOUND, "", "", 0.0) for n in self.links)

    async def request(
        self,
        peer: str,
        kind: RequestKind,
        body: bytes,
        *,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> bytes:
        await trio.lowlevel.checkpoint()
        other = self.links[peer]
        other.asked.append(body)
        if other.lie is not None:
            return await other.lie(body)
        handler = other.handlers.get(kind)
        answer = None if handler is None else await handler(self.name, body)
        if answer is None:
            raise RequestFailed(FailReason.REFUSED)
        if limit is not None and len(answer) > limit:
            raise RequestFailed(FailReason.TOO_LARGE)
        return answer

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        self.faults.append((peer, offence))

    def set_handler(self, kind: RequestKind, handler: Handler) -> None:
        self.handlers[kind] = handler

    def attach(self, request: MaterialRequest, seconds: float = 0.0) -> list[str]:
        """Connect the executor's worker, which answers a request; returns what it was asked."""
        letters: list[str] = []

        def deliver(number: str, data: bytes) -> None:
            letters.append(number)
            trio.lowlevel.spawn_system_task(self._answer, number, told(request), seconds)

        self.exchange.inboxes.open(EXECUTOR.account_id, deliver)
        return letters

    async def _answer(self, number: str, answer: bytes, seconds: float) -> None:
        await trio.sleep(seconds)
        self.exchange.inboxes.answer(number, answer)


async def open_door(exchange: PrivateExchange, nursery: trio.Nursery) -> str:
    """Run a node's exchange and its JSON-RPC; returns the URL."""
    genesis = to_hex(exchange.gate.genesis)
    version = {"specVersion": 1, "transactionVersion": 1}
    methods = [
        *committee_methods(exchange),
        Method("chain_getBlockHash", lambda number: genesis, (Param("number", u32),)),
        Method("state_getRuntimeVersion", lambda: version),
    ]
    dispatcher = Dispatcher(methods, batch_length=10, response_bytes=1 << 24)
    server = RpcServer(dispatcher, RpcConfig(port=0), lambda: (200, b""))
    host, port = await server.listen()
    nursery.start_soon(server.run)
    await nursery.start(exchange.run)
    return f"ws://{host}:{port}"


async def libp2p_line(
    folder: Path, genesis: bytes, nursery: trio.Nursery, *names: str
) -> list[Libp2pNetwork]:
    """Run nodes on real TCP, each a peer of its neighbours in the line and of nobody else.

    Each calls the one behind it, which may ban it.
    """
    made: list[Libp2pNetwork] = []
    for name in reversed(names):
        settings = NetworkSettings(
            folder / name,
            genesis,
            listen=("/ip4/127.0.0.1/tcp/0",),
            reserved=made[0].addresses() if made else (),
            outbound=0,
        )
        network = Libp2pNetwork(settings)
        await nursery.start(network.run)
        made.insert(0, network)
    wanted_peers = [2] * len(names)
    wanted_peers[0] = wanted_peers[-1] = 1
    with trio.fail_after(PATIENCE):
        while [len(network.peers()) for network in made] != wanted_peers:
            await trio.sleep(0.02)
    return made
