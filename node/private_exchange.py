"""Requests of drawn committee members, carried to the one worker that can answer them.

    member's worker ─► its node ─► peers ─► executor's node ─► executor's worker, and back

A node first looks among the workers that are connected to it, then asks its peers whether the
executor's is connected to one of them, then has a few of them ask theirs. Answers are sealed to the
member; nodes check by the chain that request and answer are genuine, and read nothing else.

A body between peers: one byte, the number of further hops (0 or 1), then the request. The answer
to it, or no bytes for "not here".
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import trio

from node.client.material import MOST_ANSWER_BYTES, MaterialReason, MaterialRefusal
from node.committee_gate import Asked, CommitteeGate
from node.committee_inboxes import Inboxes
from node.log import Log
from node.network.interface import Handler, Offence, PeerInfo, RequestFailed, RequestKind

HERE, FURTHER = 0, 1
_ASK = 2
MOST_PEERS, RELAYS = 64, 8
PEER_SECONDS, RELAY_SECONDS = 5.0, 10.0
KEEP_SECONDS = 20.0
MOST_JOBS = 64
OUTCOMES = ("asked", "found", "missing", "served", "refused", "forged")
"""For workers here: asked, and found or missing; for peers: served; else refused or forged."""
MOST_TRIES, MOST_SUBJECTS = 64, 1024
_OFFENCES = {
    MaterialReason.MALFORMED: Offence.MALFORMED,
    MaterialReason.WRONG_CHAIN: Offence.INVALID,
    MaterialReason.BAD_SIGNATURE: Offence.WRONG_SIGNATURE,
}
"""What no honest peer sends on, whatever block it knows."""
_log = Log("committee")


class Peers(Protocol):
    """What the exchange needs of `node.network.interface.Network`."""

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return who is connected."""

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

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        """Count an offence against a peer."""

    def set_handler(self, kind: RequestKind, handler: Handler) -> None:
        """Answer requests of a kind."""


@dataclass(frozen=True, slots=True)
class Found:
    """The executor's answer, if there is one, and how many peers were asked for it."""

    answer: bytes | None
    peers: int


@dataclass(slots=True)
class _Job:
    """One search; whoever asks for the same meanwhile, or soon after, shares its result."""

    done: trio.Event = field(default_factory=trio.Event)
    found: Found = Found(None, 0)


class PrivateExchange:
    """The searches under way, and the inboxes of the workers that are connected here."""

    def __init__(self, gate: CommitteeGate, peers: Peers | None = None) -> None:
        """Answer the peers' requests of kind PRIVATE from now on; None: a node without peers."""
        self.gate = gate
        self._peers = peers
        self.counts: Counter[str] = Counter()
        """What happened so far, by OUTCOMES."""
        self.inboxes = Inboxes(gate, self.counts)
        self._jobs: dict[tuple[bytes, int], _Job] = {}
        self._tries: OrderedDict[tuple[bytes, int, int], set[bytes]] = OrderedDict()
        self._nursery: trio.Nursery | None = None
        if peers is not None:
            peers.set_handler(RequestKind.PRIVATE, self.serve)

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Search until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def figures(self) -> Iterator[tuple[str, str, float]]:
        """Yield name, help and value of each figure for Prometheus."""
        yield "openledger_committee_inboxes", "Workers' inboxes open here", len(self.inboxes)
        for outcome in OUTCOMES:
            name = f"openledger_committee_requests_{outcome}"
            yield name, f"Requests for committee material: {outcome}", self.counts[outcome]

    async def ask(self, data: bytes) -> Found:
        """Search for a member's worker at this node; raises MaterialRefusal."""
        asked = self._admit(data)

        async def search() -> Found:
            self.counts["asked"] += 1
            found = await self._search(asked, data)
            self.counts["missing" if found.answer is None else "found"] += 1
            return found

        return await self._shared(asked, _ASK, search)

    async def serve(self, peer: str, body: bytes) -> bytes:
        """Answer a peer: the executor's answer, or no bytes. Never raises for what it sent."""
        try:
            return await self._serve(peer, body)
        except MaterialRefusal as refusal:
            offence = _OFFENCES.get(refusal.reason)
            if offence is not None and self._peers is not None:
                self._peers.penalise(peer, offence, str(refusal))
            return b""

    async def _serve(self, peer: str, body: bytes) -> bytes:
        if body[:1] not in (bytes([HERE]), bytes([FURTHER])):
            raise MaterialRefusal(MaterialReason.MALFORMED, "the hops are not 0 or 1")
        hops, data = body[0], body[1:]
        asked = self._admit(data)

        async def here() -> Found:
            return Found(await self.inboxes.ask(asked, data), 0)

        async def further() -> Found:
            others = [other for other in self._others() if other != peer]
            return await self._from_peers(others, asked, HERE, data)

        found = await self._shared(asked, hops, here if hops == HERE else further)
        if found.answer is not None:
            self.counts["served"] += 1
        return found.answer or b""

    def _admit(self, data: bytes) -> Asked:
        try:
            return self.gate.admit(data)
        except MaterialRefusal as refusal:
            self.counts["refused"] += 1
            _log.debug("request for committee material refused", reason=refusal.reason.name)
            raise

    async def _shared(
        self, asked: Asked, kind: int, search: Callable[[], Awaitable[Found]]
    ) -> Found:
        """Join a search, or begin it; it does not end with the one who began it."""
        job = self._jobs.get((asked.name, kind))
        if job is None:
            if self._nursery is None or len(self._jobs) >= MOST_JOBS or self._tired_of(asked):
                raise MaterialRefusal(MaterialReason.BUSY)
            job = self._jobs[asked.name, kind] = _Job()
            self._nursery.start_soon(self._work, (asked.name, kind), job, search)
        await job.done.wait()
        return job.found

    def _tired_of(self, asked: Asked) -> bool:
        """Count a member's requests for one receipt; True where they are too many.

        The same request again does not count: others may send it to use up the member's tries.
        """
        names = self._tries.setdefault(asked.subject, set())
        if asked.name not in names and len(names) >= MOST_TRIES:
            return True
        names.add(asked.name)
        while len(self._tries) > MOST_SUBJECTS:
            self._tries.popitem(last=False)
        return False

    async def _work(
        self, key: tuple[bytes, int], job: _Job, search: Callable[[], Awaitable[Found]]
    ) -> None:
        try:
            job.found = await search()
        except Exception as error:  # a stranger's request must not stop the node
            _log.fault("search for committee material failed", error)
        finally:
            job.done.set()
        if job.found.answer is not None:
            await trio.sleep(KEEP_SECONDS)
        del self._jobs[key]

    async def _search(self, asked: Asked, data: bytes) -> Found:
        answer = await self.inboxes.ask(asked, data)
        if answer is not None:
            return Found(answer, 0)
        others = self._others()
        found = await self._from_peers(others, asked, HERE, data)
        if found.answer is not None or not others:
            return found
        relays = random.sample(others, min(RELAYS, len(others)))
        relayed = await self._from_peers(relays, asked, FURTHER, data)
        return Found(relayed.answer, found.peers)

    async def _from_peers(
        self, others: Sequence[str], asked: Asked, hops: int, data: bytes
    ) -> Found:
        """Ask peers at once; the first genuine answer ends it."""
        first: list[bytes] = []

        async def ask(peer: str) -> None:
            answer = await self._from_peer(peer, bytes([hops]) + data)
            if answer and self._is_genuine(peer, asked, answer):
                first.append(answer)
                nursery.cancel_scope.cancel()

        with trio.move_on_after(RELAY_SECONDS if hops else PEER_SECONDS):
            async with trio.open_nursery() as nursery:
                for peer in others:
                    nursery.start_soon(ask, peer)
        return Found(first[0] if first else None, len(others))

    async def _from_peer(self, peer: str, body: bytes) -> bytes:
        if self._peers is None:
            return b""
        try:
            kind = RequestKind.PRIVATE
            return await self._peers.request(peer, kind, body, limit=MOST_ANSWER_BYTES)
        except RequestFailed as failure:
            _log.debug("peer does not answer", peer=peer, reason=failure.reason.name)
            return b""

    def _is_genuine(self, peer: str, asked: Asked, answer: bytes) -> bool:
        if self.gate.is_genuine(asked, answer):
            return True
        self.counts["forged"] += 1
        if self._peers is not None:
            detail = "the executor did not sign this answer"
            self._peers.penalise(peer, Offence.WRONG_SIGNATURE, detail)
        return False

    def _others(self) -> list[str]:
        found = [] if self._peers is None else [peer.id for peer in self._peers.peers()]
        return found if len(found) <= MOST_PEERS else random.sample(found, MOST_PEERS)
