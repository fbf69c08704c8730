"""Validators with real keys under a scripted network and clock: time moves when the test says so.

Each has its log in memory: what is appended is on the disk at once. The gate here refuses what
would contradict the log by an arithmetic of its own, so that a test sees what the core asked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from nacl.signing import SigningKey
from scripted_chain import GENESIS_HASH, ScriptedChain

from consensus.core import ecvrf
from consensus.core.actions import (
    Action,
    Ask,
    Broadcast,
    Build,
    Cast,
    CloseEpoch,
    Execute,
    Finalize,
    Log,
    OpenEpoch,
    Penalise,
    Report,
    Send,
    SetBest,
    SetTimer,
    StopSigning,
)
from consensus.core.events import (
    BlockBuilt,
    BlockExecuted,
    EpochReady,
    Event,
    FinalityStored,
    PeerJoined,
    Received,
    Responded,
    SigningAllowed,
    Started,
    Timer,
    TimerFired,
    VoteRefused,
    VoteSigned,
)
from consensus.core.evidence import Evidence, conflict
from consensus.core.messages import (
    Blocks,
    BlocksRequest,
    CertificateNotice,
    Certificates,
    CertificatesRequest,
    EpochProof,
    EpochProofs,
    EpochProofsRequest,
    Finality,
    FinalityRequest,
    Headers,
    HeadersRequest,
    Message,
    Proposal,
    Request,
    Response,
    Vote,
    Votes,
    VotesRequest,
    encode_message,
    vote_of,
)
from consensus.core.pace import Pace
from consensus.core.participant import Participant
from consensus.core.ports import FinalRef, ParticipantConfig
from consensus.core.records import EpochOpened, OwnVote, Record
from consensus.core.replica import Replica
from consensus.core.validators import Epoch, ValidatorSet
from consensus.core.votes import Subject, VoteDomain, VoteKind, decode_certificate
from consensus.session_key import SessionKey
from runtime.primitives.digest import Authority, find_next_epoch
from runtime.primitives.keys import verify_ed25519

DOMAIN = VoteDomain(GENESIS_HASH, 0)
PACE = Pace(block_interval=200, delta=100, execution=100)
LATENCY = 10
START = 1_800_000_000_000
SEED = b"\x05" * 32

Filter = Callable[[int, int, Message], bool]
"""Whether a message from one position to another arrives."""


class RealCrypto:
    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        return verify_ed25519(public, message, signature)

    def vrf(self, public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
        return ecvrf.verify(public, proof, alpha)


def nothing(sender: int, receiver: int, message: Message) -> bool:
    return False


def without(kind: VoteKind) -> Filter:
    """Let everything pass but votes of a kind, and certificates made of them."""
    return lambda sender, receiver, message: not is_vote(message, kind)


def is_vote(message: Message, kind: VoteKind) -> bool:
    """Tell whether a message carries votes of a kind, a certificate included."""
    if isinstance(message, CertificateNotice):
        return message.certificate.kind == kind
    return isinstance(message, Vote) and message.kind == kind


def everything(sender: int, receiver: int, message: Message) -> bool:
    return True


@dataclass
class Node:
    """A validator: its core, and what a driver keeps for it."""

    position: int
    key: SessionKey
    chain: ScriptedChain
    core: Participant
    logs: dict[int, list[Record]] = field(default_factory=dict)
    timers: dict[Timer, int] = field(default_factory=dict)
    reports: list[Evidence] = field(default_factory=list)
    penalties: list[Penalise] = field(default_factory=list)
    stops: list[StopSigning] = field(default_factory=list)
    executed: list[bytes] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    refused: list[Subject] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    bytes_sent: int = 0
    up: bool = False
    signs: bool = True
    builds: bool = True
    more: tuple[bytes, ...] = ()
    """Extrinsics that it puts into its blocks."""

    @property
    def replica(self) -> Replica:
        assert self.core.current is not None
        return self.core.current

    def votes(self, kind: VoteKind | None = None) -> list[Subject]:
        """List the own votes in all logs."""
        said = [
            r.vote.subject() for log in self.logs.values() for r in log if isinstance(r, OwnVote)
        ]
        return [subject for subject in said if kind is None or subject.kind is kind]


class World:
    """All validators, the messages under way, and the time."""

    def __init__(
        self, weights: Sequence[int] = (1, 1, 1, 1), ends: Sequence[int] = (), seed: bytes = SEED
    ) -> None:
        keys = [bytes((n + 1,)) * 32 for n in range(len(weights))]
        self.keys = [SessionKey(k) for k in keys]
        self.raw = [SigningKey(k) for k in keys]
        self.members = tuple(
            Authority(key.public, weight) for key, weight in zip(self.keys, weights, strict=True)
        )
        self.first = Epoch(0, ValidatorSet(self.members), seed, GENESIS_HASH, 0)
        self.now = START
        self.passes: Filter = everything
        self.unsaid: VoteKind | None = None
        """A driver dies between the disk and the network before it says such a vote."""
        self._queue: list[tuple[int, int, int, Event]] = []
        self._order = count()
        self.nodes = [self._make(i, ends) for i in range(len(weights))]

    def _make(self, position: int, ends: Sequence[int]) -> Node:
        chain = ScriptedChain(self.members, ends)
        core = Participant(self._config(position, chain, self.first, FinalRef(0, 0, GENESIS_HASH)))
        node = Node(position, self.keys[position], chain, core)
        node.logs[0] = [self._opened(self.first)]
        return node

    def _config(
        self, position: int, chain: ScriptedChain, epoch: Epoch, final: FinalRef
    ) -> ParticipantConfig:
        public = self.keys[position].public
        return ParticipantConfig(DOMAIN, PACE, chain, RealCrypto(), (public,), epoch, final)

    @staticmethod
    def _opened(epoch: Epoch) -> EpochOpened:
        return EpochOpened(
            DOMAIN.genesis_hash,
            DOMAIN.fork_id,
            epoch.number,
            epoch.validators.members,
            epoch.seed,
            epoch.start_hash,
            epoch.start_number,
            None,
        )

    # --- running --------------------------------------------------------------------------

    def start(self, *positions: int) -> None:
        """Start these validators, or all, from what their disks hold."""
        chosen = [self.nodes[i] for i in positions or range(len(self.nodes))]
        for node in chosen:
            node.up = True
        for node in chosen:
            epoch = node.core.config.epoch.number
            records = tuple(node.logs.get(epoch, ()))
            self.feed(node, Started(records))
            self.feed(node, EpochReady(epoch, node.signs and bool(records)))
            self.feed(node, SigningAllowed())
            for other in self.nodes:
                if other is not node and other.up:
                    self.feed(node, PeerJoined(str(other.position)))

    def crash(self, *positions: int) -> None:
        """Stop validators; their logs and final blocks stay."""
        for position in positions or range(len(self.nodes)):
            node = self.nodes[position]
            node.up = False
            node.timers.clear()
            node.chain.crash()
            self._queue = [item for item in self._queue if item[2] != position]
        heapq.heapify(self._queue)

    def restart(self, *positions: int) -> None:
        """Start validators again, from their final block and the log of its epoch."""
        for position in positions or range(len(self.nodes)):
            node = self.nodes[position]
            epoch, final = self._resumed(node.chain)
            node.core = Participant(self._config(position, node.chain, epoch, final))
        self.start(*positions)

    def _resumed(self, chain: ScriptedChain) -> tuple[Epoch, FinalRef]:
        epoch, number = self.first, len(chain.final) - 1
        for end in chain.ends:
            if end <= number:
                header = chain.known[chain.final[end]].header
                announced = find_next_epoch(header.digest)
                assert announced is not None
                epoch = epoch.after(announced, header.hash(), end)
        tip = chain.final[-1]
        if number == epoch.start_number:
            return epoch, FinalRef(0, number, tip)
        certificate = decode_certificate(chain.proofs[tip])
        return epoch, FinalRef(certificate.view, number, tip, certificate)

    def run(self, duration: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; stops as soon as `until` holds, and tells whether it does."""
        end = self.now + duration
        while not until():
            due = self._next(end)
            if due is None:
                self.now = end
                return until()
            self.now = max(self.now, due[0])
            self.feed(self.nodes[due[1]], due[2])
        return True

    def _next(self, end: int) -> tuple[int, int, Event] | None:
        """Take what happens next, if that is not after `end`."""
        timers = [
            (at, node.position, timer)
            for node in self.nodes
            for timer, at in node.timers.items()
            if node.up and at <= end
        ]
        timed = min(timers, key=lambda t: t[:2], default=None)
        queued = self._queue and self._queue[0][0] <= end
        if queued and (timed is None or self._queue[0][0] <= timed[0]):
            at, _, position, event = heapq.heappop(self._queue)
            return at, position, event
        if timed is None:
            return None
        at, position, timer = timed
        del self.nodes[position].timers[timer]
        return at, position, TimerFired(timer)

    def feed(self, node: Node, event: Event) -> list[Action]:
        """Have a core see an event now, and do what it says."""
        if not node.up:
            return []
        actions = node.core.handle(event, self.now)
        for action in actions:
            self._perform(node, action)
        return actions

    def later(self, node: Node, event: Event, delay: int = 0) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), node.position, event))

    # --- doing ----------------------------------------------------------------------------

    def _perform(self, node: Node, action: Action) -> None:
        match action:
            case Log(epoch, record):
                if epoch in node.logs:
                    node.logs[epoch].append(record)
            case Cast(subject):
                self._cast(node, subject)
            case Broadcast(message):
                for other in self.nodes:
                    if other is not node:
                        self._deliver(node, other, message)
            case Send(peer, message):
                self._deliver(node, self.nodes[int(peer)], message)
            case Ask(request, peer):
                self._ask(node, request, peer)
            case SetTimer(timer, delay):
                node.timers[timer] = self.now + delay
            case Build():
                block = None
                if node.builds:
                    block = node.chain.build(action, node.key, self.now, *node.more)
                self.later(node, BlockBuilt(action.epoch, action.view, block))
            case Execute(block):
                node.executed.append(block.header.hash())
                verdict = node.chain.execute(block)
                self.later(node, BlockExecuted(block.header.hash(), verdict))
            case Finalize(block_hash, certificate):
                number = node.chain.finalize(block_hash, certificate)
                node.stored.append(number)
                self.later(node, FinalityStored(block_hash, number))
            case OpenEpoch(epoch, _, live):
                if live and node.signs:
                    node.logs.setdefault(epoch.number, [self._opened(epoch)])
                self.later(node, EpochReady(epoch.number, epoch.number in node.logs))
            case CloseEpoch(number):
                node.logs.pop(number, None)
            case Report(evidence):
                node.reports.append(evidence)
            case Penalise():
                node.penalties.append(action)
            case StopSigning():
                node.stops.append(action)
            case SetBest():
                pass

    def _cast(self, node: Node, subject: Subject) -> None:
        log = node.logs.get(subject.epoch)
        said = [] if log is None else [r.vote.subject() for r in log if isinstance(r, OwnVote)]
        stopped = any(stop.epoch == subject.epoch for stop in node.stops)
        if log is None or stopped or any(conflict(subject, other) is not None for other in said):
            node.refused.append(subject)
            self.later(node, VoteRefused(subject))
            return
        vote = self.sign(node.position, subject)
        if subject not in said:
            log.append(OwnVote(vote))
        if subject.kind is not self.unsaid:
            self.later(node, VoteSigned(vote))

    def sign(self, position: int, subject: Subject) -> Vote:
        return vote_of(subject, position, self.keys[position].vote(DOMAIN, subject))

    def _deliver(self, sender: Node, receiver: Node, message: Message) -> None:
        sender.sent.append(message)
        sender.bytes_sent += len(encode_message(message))
        if receiver.up and self.passes(sender.position, receiver.position, message):
            self.later(receiver, Received(str(sender.position), message), LATENCY)

    def send(self, sender: int, receiver: int, message: Message) -> None:
        """Deliver a message of a test's own making, past the filter."""
        self.feed(self.nodes[receiver], Received(str(sender), message))

    def _ask(self, node: Node, request: Request, peer: str | None) -> None:
        node.asked.append(request)
        others = [other for other in self.nodes if other is not node and other.up]
        if peer is not None:
            others = [other for other in others if str(other.position) == peer]
        for other in others:
            answer = answer_of(other, request)
            if answer is not None and self.reaches(other, node):
                self.later(node, Responded(request, str(other.position), answer), 2 * LATENCY)
                return
        self.later(node, Responded(request, "", None), PACE.status)

    def reaches(self, sender: Node, receiver: Node) -> bool:
        """Tell whether answers pass: they do where an empty status would."""
        return self.passes(sender.position, receiver.position, sender.core.status())

    # --- what tests look at ---------------------------------------------------------------

    def height(self, *positions: int) -> int:
        """Return the number of the lowest last final block."""
        chosen = [self.nodes[i] for i in positions] or [n for n in self.nodes if n.up]
        return min(len(node.chain.final) for node in chosen) - 1

    def leads(self, view: int) -> int:
        return self.first.leader(view)

    def check(self) -> None:
        """One chain everywhere, and no honest validator with two votes that contradict."""
        longest = max((node.chain.final for node in self.nodes), key=len)
        for node in self.nodes:
            assert node.chain.final == longest[: len(node.chain.final)]
            said = node.votes()
            for index, one in enumerate(said):
                assert all(conflict(one, other) is None for other in said[:index])


def answer_of(node: Node, request: Request) -> Response | None:
    """Answer from what a node has; None where it has nothing of it."""
    chain, core = node.chain, node.core
    match request:
        case CertificatesRequest(epoch, first, last):
            found = core.certificates(epoch, first, last)
            return Certificates(found) if found else None
        case HeadersRequest(first, number):
            numbers = range(first, min(first + number, len(chain.final)))
            headers = tuple(chain.known[chain.final[n]].header for n in numbers)
            return Headers(headers) if headers else None
        case BlocksRequest(hashes):
            held = {**node.replica.blocks, **chain.known}
            blocks = tuple(held[h] for h in hashes if h in held)
            return Blocks(blocks) if blocks else None
        case EpochProofsRequest(first, number):
            ends = [n for n in chain.ends[first : first + number] if n < len(chain.final)]
            proofs = [proof_of(chain, n) for n in ends]
            return EpochProofs(tuple(p for p in proofs if p is not None)) if ends else None
        case VotesRequest(epoch, signer):
            return Votes(core.votes_of(epoch, signer))
        case FinalityRequest():
            return Finality(proof_of(chain, len(chain.final) - 1))


def proof_of(chain: ScriptedChain, number: int) -> EpochProof | None:
    block_hash = chain.final[number]
    proof = chain.proofs.get(block_hash)
    if proof is None:
        return None
    return EpochProof(chain.known[block_hash].header, decode_certificate(proof))


def proposals(messages: Sequence[Message]) -> list[Proposal]:
    return [message for message in messages if isinstance(message, Proposal)]
