"""A seeded network in memory, for tests of what is above: same seed and clock, same deliveries."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import trio

from node.log import Log
from node.network.inbox import Inbox
from node.network.interface import (
    Channel,
    Check,
    Counters,
    Direction,
    FailReason,
    Handler,
    MessageReceived,
    NetworkEvent,
    Offence,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    RequestFailed,
    RequestKind,
)
from node.network.limits import CHANNELS, REQUESTS
from node.network.reserved import Reserved
from node.network.seen import Seen, content_name
from node.network.standing import Standing

_log = Log("network")
_DIRECT = (Channel.STATUSES,)
SEEN_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Conditions:
    """latency: seconds of a hop, from and to; loss, duplication: shares of messages."""

    latency: tuple[float, float] = (0.02, 0.08)
    loss: float = 0.0
    duplication: float = 0.0


class Ether:
    """What is between the nodes: everybody is everybody's neighbour unless cut.

    Run `run` beside the nodes, under trio's MockClock where time shall not pass.
    """

    def __init__(self, seed: int, conditions: Conditions | None = None) -> None:
        self.conditions = conditions or Conditions()
        self._rng = random.Random(seed)
        self._nodes: dict[str, SimulatedNetwork] = {}
        self._groups: dict[str, int] = {}
        self._cut: set[frozenset[str]] = set()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._wake = trio.Event()
        self.nursery: trio.Nursery | None = None

    def node(
        self, name: str, *, validator: bytes | None = None, role: str = "full"
    ) -> SimulatedNetwork:
        """Make a node, which others meet when it runs."""
        return SimulatedNetwork(self, name, validator, role)

    def partition(self, *groups: Iterable[str]) -> None:
        """Let nodes reach only those of their own group; nodes of no group form one."""
        self._groups = {name: i + 1 for i, group in enumerate(groups) for name in group}
        self._meet()

    def cut(self, first: str, second: str) -> None:
        """End the neighbourhood of two nodes; what is gossiped still arrives by others."""
        self._cut.add(frozenset((first, second)))
        self._meet()

    def heal(self) -> None:
        """Undo all partitions and cuts."""
        self._groups, self._cut = {}, set()
        self._meet()

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until cancelled."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            task_status.started()
            while True:
                self._wake = trio.Event()
                deadline = self._queue[0][0] if self._queue else float("inf")
                if deadline > trio.current_time():
                    with trio.move_on_at(deadline):
                        await self._wake.wait()
                    continue
                heapq.heappop(self._queue)[2]()

    def after_hops(self, hops: int, deliver: Callable[[], None], *, lossy: bool) -> None:
        """Deliver later, once, twice or never, as the conditions are."""
        now, conditions = trio.current_time(), self.conditions
        if lossy and self._rng.random() < 1 - (1 - conditions.loss) ** hops:
            return
        for _ in range(2 if lossy and self._rng.random() < conditions.duplication else 1):
            delay = sum(self._rng.uniform(*conditions.latency) for _ in range(hops))
            self._sequence += 1
            heapq.heappush(self._queue, (now + delay, self._sequence, deliver))
        self._wake.set()

    def neighbours(self, name: str) -> list[SimulatedNetwork]:
        """Return who is directly connected with a node."""
        group = self._groups.get(name, 0)
        return [
            node
            for other, node in self._nodes.items()
            if other != name
            and self._groups.get(other, 0) == group
            and frozenset((name, other)) not in self._cut
        ]

    def reached(self, name: str) -> Iterator[tuple[SimulatedNetwork, str, int]]:
        """Yield whom gossip of a node reaches, from whom it comes, and after how many hops."""
        seen, edge, hops = {name}, [name], 1
        while edge:
            following: list[str] = []
            for via in edge:
                for node in self.neighbours(via):
                    if node.id not in seen:
                        seen.add(node.id)
                        following.append(node.id)
                        yield node, via, hops
            edge, hops = following, hops + 1

    def enter(self, node: SimulatedNetwork) -> None:
        """Let a node meet the others."""
        if node.id in self._nodes:
            raise ValueError(f"{node.id!r} runs already")
        self._nodes[node.id] = node
        self._meet()

    def leave(self, node: SimulatedNetwork) -> None:
        """Take a node away."""
        self._nodes.pop(node.id, None)
        self._meet()
        node.meet([])

    def _meet(self) -> None:
        for name, node in list(self._nodes.items()):
            node.meet(self.neighbours(name))


class SimulatedNetwork:
    """A node in an ether; see `interface.Network`. Its peer id is its name."""

    def __init__(self, ether: Ether, name: str, validator: bytes | None, role: str) -> None:
        self._ether = ether
        self._name = name
        self._validator = validator
        self._role = role
        self._counters = Counters.zero()
        self.reserved = Reserved()
        self._inbox = Inbox(self._counters)
        self._peers: dict[str, PeerInfo] = {}
        self._handlers: dict[RequestKind, Handler] = {}
        self._checks: dict[Channel, Check] = {}
        self._standing = Standing()
        self._banned: set[str] = set()
        self._seen: Seen | None = None
        self._gone: dict[str, trio.Event] = {}

    @property
    def id(self) -> str:
        """This node's peer id."""
        return self._name

    @property
    def counters(self) -> Counters:
        """What was counted so far."""
        return self._counters

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses under which this node listens, with its id."""
        return (f"/memory/{self._name}",)

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return who is connected and greeted."""
        return tuple(self._peers.values())

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Tell everybody; never waits. Raises ValueError beyond the channel's limit."""
        self._check_size(channel, data)
        for node, via, hops in list(self._ether.reached(self._name)):
            if hops > 1 and channel in _DIRECT:
                return
            self._deliver(node, channel, data, None if hops == 1 else via, hops)

    def send(self, peer: str, channel: Channel, data: bytes) -> None:
        """Tell one peer; never waits, lost where it is gone."""
        self._check_size(channel, data)
        for node in self._ether.neighbours(self._name):
            if node.id == peer:
                self._deliver(node, channel, data, None, 1)

    async def request(
        self,
        peer: str,
        kind: RequestKind,
        body: bytes,
        *,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> bytes:
        """Ask a connected peer; raises RequestFailed."""
        await trio.lowlevel.checkpoint()
        limits = REQUESTS[kind]
        if len(body) > limits.body:
            raise RequestFailed(FailReason.TOO_LARGE, f"a request of {len(body)} bytes")
        node = next((n for n in self._ether.neighbours(self._name) if n.id == peer), None)
        if node is None or peer not in self._peers:
            raise RequestFailed(FailReason.NOT_CONNECTED, f"{peer} is not connected")
        self._counters.requests_out[kind] += 1
        most = min(limit if limit is not None else limits.answer, limits.answer)
        question = _Question(self, node, kind, body)
        with trio.move_on_after(timeout if timeout is not None else limits.timeout) as scope:
            answer = await question.ask(self._gone[peer])
        if scope.cancelled_caught:
            answer = FailReason.TIMEOUT
        if isinstance(answer, bytes) and len(answer) > most:
            answer = FailReason.TOO_LARGE
        if isinstance(answer, FailReason):
            self._counters.requests_failed += 1
            raise RequestFailed(answer)
        return answer

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        """Count an offence against a peer, connected or not; enough of them ban it."""
        if peer != self._name and self._standing.offend(peer, offence, trio.current_time()):
            self._banned.add(peer)
            self._counters.bans += 1
            self._ether.cut(self._name, peer)

    def note_heads(self, peer: str, best: int | None, final: int | None) -> None:
        """Remember how far a peer is."""
        info = self._peers.get(peer)
        if info is not None:
            self._peers[peer] = _with_heads(info, best, final)

    def set_handler(self, kind: RequestKind, handler: Handler) -> None:
        """Answer requests of a kind; without a handler they are refused."""
        self._handlers[kind] = handler

    def set_check(self, channel: Channel, check: Check) -> None:
        """Drop, and do not pass on, what is not well formed."""
        self._checks[channel] = check

    def set_validators(self, keys: Iterable[bytes]) -> None:
        """Change nothing: here everything is relayed."""

    async def next_event(self) -> NetworkEvent:
        """Wait for what happens next; for one caller."""
        return await self._inbox.take()

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Be there until cancelled."""
        self._seen = Seen(SEEN_SECONDS, trio.current_time)
        self._ether.enter(self)
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._ether.leave(self)

    def meet(self, neighbours: list[SimulatedNetwork]) -> None:
        """Notice who is connected now."""
        now = {node.id: node for node in neighbours if node.id not in self._banned}
        for peer in [peer for peer in self._peers if peer not in now]:
            del self._peers[peer]
            self._gone.pop(peer).set()
            self._inbox.put(PeerLeft(peer))
        for peer, node in now.items():
            if peer not in self._peers:
                self._gone[peer] = trio.Event()
                self._peers[peer] = node.describe()
                self._inbox.put(PeerJoined(self._peers[peer]))

    def describe(self) -> PeerInfo:
        """Say who this is."""
        address, since = f"/memory/{self._name}", trio.current_time()
        agent, role, key = "simulated", self._role, self._validator
        return PeerInfo(self._name, address, Direction.OUTBOUND, agent, role, since, key)

    def receive(self, author: str, channel: Channel, data: bytes, via: str | None) -> None:
        """Take a message from the ether."""
        traffic = self._counters.channels[channel]
        traffic.messages_in += 1
        traffic.bytes_in += len(data)
        neighbour = author if via is None else via
        check = self._checks.get(channel)
        if neighbour not in self._peers or author in self._banned or self._seen is None:
            traffic.dropped_in += 1
        elif check is not None and not check(data):
            self.penalise(neighbour, Offence.MALFORMED, f"a message on {channel.name}")
        elif channel in _DIRECT or self._seen.add(content_name(channel, data)):
            self._inbox.put(MessageReceived(author, channel, data, via))
        else:
            self._counters.duplicates += 1

    async def answer(self, peer: str, kind: RequestKind, body: bytes) -> bytes | FailReason:
        """Answer a request."""
        self._counters.requests_in[kind] += 1
        handler = self._handlers.get(kind)
        answer: bytes | None = None
        if handler is not None:
            try:
                answer = await handler(peer, body)
            except Exception as error:
                _log.fault("request handler failed", error, kind=kind.name)
        if answer is None:
            return FailReason.REFUSED
        return FailReason.TOO_LARGE if len(answer) > REQUESTS[kind].answer else answer

    def _deliver(
        self, node: SimulatedNetwork, channel: Channel, data: bytes, via: str | None, hops: int
    ) -> None:
        traffic = self._counters.channels[channel]
        traffic.messages_out += 1
        traffic.bytes_out += len(data)
        name = self._name
        self._ether.after_hops(hops, lambda: node.receive(name, channel, data, via), lossy=True)

    def _check_size(self, channel: Channel, data: bytes) -> None:
        if len(data) > CHANNELS[channel].size:
            most = CHANNELS[channel].size
            raise ValueError(f"{len(data)} bytes on {channel.name}, where {most} are allowed")


class _Question:
    """A request on its way."""

    def __init__(
        self, asker: SimulatedNetwork, asked: SimulatedNetwork, kind: RequestKind, body: bytes
    ) -> None:
        self._asker = asker
        self._asked = asked
        self._kind = kind
        self._body = body
        self._done = trio.Event()
        self._answer: bytes | FailReason = FailReason.DISCONNECTED

    async def ask(self, gone: trio.Event) -> bytes | FailReason:
        """Send it and wait for the answer, or for the peer to be gone."""
        self._asker._ether.after_hops(1, self._arrive, lossy=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_after, gone, nursery)
            await self._done.wait()
            nursery.cancel_scope.cancel()
        return self._answer

    def _arrive(self) -> None:
        nursery = self._asker._ether.nursery
        if nursery is not None:
            nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        answer = await self._asked.answer(self._asker.id, self._kind, self._body)

        def back() -> None:
            self._answer = answer
            self._done.set()

        self._asker._ether.after_hops(1, back, lossy=False)


async def _cancel_after(event: trio.Event, nursery: trio.Nursery) -> None:
    await event.wait()
    nursery.cancel_scope.cancel()


def _with_heads(info: PeerInfo, best: int | None, final: int | None) -> PeerInfo:
    return replace(
        info,
        best_number=info.best_number if best is None else best,
        final_number=info.final_number if final is None else final,
    )
