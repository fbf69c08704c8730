"""The driver of one simulated node: does the core's actions in order, over a disk that may crash.

Whatever stands behind a `Log` or a `Cast` waits for the disk. Build, Execute, Finalize and
OpenEpoch go through one queue in the order issued. A crash may strike between any two actions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from consensus.core import actions as act
from consensus.core import events as ev
from consensus.core.messages import (
    BlocksRequest,
    CertificateNotice,
    Message,
    Proposal,
    Request,
    Response,
    Status,
    Vote,
    decode_message,
    decode_response,
    encode_message,
    encode_response,
    vote_of,
)
from consensus.core.pace import Pace
from consensus.core.participant import Participant
from consensus.core.ports import ParticipantConfig
from consensus.core.records import EpochOpened, OwnVote
from consensus.core.votes import Subject, VoteDomain, VoteKind, vote_bytes
from tests.simulation.answers import answer
from tests.simulation.chain import MINIMUM_PERIOD
from tests.simulation.crypto import Key
from tests.simulation.disk import EpochLog, Refused
from tests.simulation.ledger import LedgerError, NodeLedger
from tests.simulation.oracle import Violation
from tests.simulation.world import EPOCH_MS, World


@dataclass(frozen=True, slots=True)
class Hardware:
    """skew: of the clock; build, execute, store: milliseconds that each takes; listen: for how
    long a started node listens for a double before it signs; trouble: parts per thousand of
    blocks that can be neither built nor executed before the heal."""

    skew: int = 0
    build: int = 1
    execute: int = 1
    store: int = 1
    listen: int = 500
    trouble: int = 0


@dataclass(frozen=True, slots=True)
class Disk:
    """What a copy of a disk holds."""

    ledger: NodeLedger
    logs: dict[int, EpochLog]


class Crash(Exception):
    """The process ends here."""


class Node:
    """One node: its disk outlives its processes."""

    byzantine = False
    gate = True
    durable_votes = True
    shows_only_durable_votes = True

    def __init__(
        self,
        world: World,
        index: int,
        key: Key | None,
        pace: Pace,
        hardware: Hardware = Hardware(),
    ) -> None:
        self.world = world
        self.index = index
        self.name = f"n{index}"
        self.key = key
        self.pace = pace
        self.hardware = hardware
        self.wire = False
        """Whether all messages and records go through their bytes."""
        self.domain = VoteDomain(world.chain.genesis_hash, 0)
        self.ledger = NodeLedger(world.chain)
        self.logs: dict[int, EpochLog] = {}
        self.alive = False
        self.life = 0
        self.crash_in: int | None = None
        self.participant: Participant
        self.signing: set[int] = set()
        self.doubled = False
        """This node was told that something else signs with its key."""
        self.may_double = False
        self.rng = Random(f"node {world.seed} {index}")
        self._inbox: deque[ev.Event] = deque()
        self._timers: dict[ev.Timer, int] = {}
        self._timer_sequence = 0
        self._queue_free = 0
        self._votes_on_disk: set[tuple[int, Subject]] = set()
        self._highest: tuple[int, int] = (0, 0)
        self._shown_final = 0
        self._unsynced: list[EpochLog] = []
        self._doing: dict[type, Callable[..., None]] = {
            act.Log: self._log,
            act.Cast: self._cast,
            act.Broadcast: self._broadcast,
            act.Send: self._send,
            act.Ask: self._ask,
            act.SetTimer: self._set_timer,
            act.Build: self._build,
            act.Execute: self._execute,
            act.SetBest: self._set_best,
            act.Finalize: self._finalize,
            act.OpenEpoch: self._open_epoch,
            act.CloseEpoch: self._close_epoch,
            act.Report: self._report,
            act.Penalise: self._penalise,
            act.StopSigning: self._stop_signing,
        }

    # --- life -----------------------------------------------------------------------------

    def start(self, *, init_log: bool = False, listen: int | None = None) -> None:
        """Start a process on what the disk has."""
        world = self.world
        self.life += 1
        self.alive = True
        self.signing.clear()
        self._timers.clear()
        self._inbox.clear()
        self._queue_free = world.now
        epoch, final = self.ledger.start()
        config = ParticipantConfig(
            domain=self.domain,
            pace=self.pace,
            ledger=self.ledger,
            crypto=world.ring,
            publics=() if self.key is None else (self.key.public,),
            epoch=epoch,
            final=final,
            minimum_period=MINIMUM_PERIOD,
        )
        world.audit(f"{self.name} starts in epoch {epoch.number} at block {final.number}")
        self.participant = Participant(config)
        if init_log and epoch.number == 0 and 0 not in self.logs:
            self._make_log(act.OpenEpoch(epoch, None, True))
        log = self.logs.get(epoch.number)
        if log is not None:
            self.signing.add(epoch.number)
        self._inbox.append(ev.Started(tuple(log.records) if log is not None else ()))
        self._inbox.append(ev.EpochReady(epoch.number, log is not None))
        for other in world.peers_of(self):
            self._inbox.append(ev.PeerJoined(other.name))
            world.tell(other, world.now, ev.PeerJoined(self.name))
        wait = self.hardware.listen if listen is None else listen
        if wait:
            world.tell(self, world.now + wait, ev.SigningAllowed())
        else:
            self._inbox.append(ev.SigningAllowed())
        self._work()

    def crash(self) -> None:
        """End the process; the disk keeps what was synced, and maybe some of the rest."""
        world = self.world
        if not self.alive:
            return
        world.audit(f"{self.name} crashes")
        self.alive = False
        self.life += 1
        self.crash_in = None
        synced = {number: log.synced for number, log in self.logs.items()}
        self.logs = {number: log.torn(self.rng) for number, log in self.logs.items()}
        for number, log in self.logs.items():
            self._settle(log, synced[number])
        if self.wire:
            self.logs = {number: log.reread() for number, log in self.logs.items()}
        self._unsynced.clear()
        self.ledger = self.ledger.after_crash()
        for other in world.peers_of(self):
            world.tell(other, world.now, ev.PeerLeft(self.name))

    def lose_logs(self) -> None:
        """Lose the write-ahead logs, but not the ledger."""
        self.logs.clear()
        self._forget()
        self.may_double = True

    def copy_disk(self) -> Disk:
        """Copy the disk as it is, to be restored later."""
        logs = {number: log.copy() for number, log in self.logs.items()}
        return Disk(self.ledger.after_crash(), logs)

    def restore(self, disk: Disk) -> None:
        """Put an older copy of the disk in place; whoever does that has two of this validator."""
        self.ledger = disk.ledger.after_crash()
        self.logs = {number: log.copy() for number, log in disk.logs.items()}
        self._forget()
        self.may_double = True

    def _forget(self) -> None:
        self._highest, self._shown_final = (0, 0), 0

    # --- the loop -------------------------------------------------------------------------

    @property
    def clock(self) -> int:
        """The node's own time, unix ms."""
        return EPOCH_MS + self.world.now + self.hardware.skew

    def handle(self, event: ev.Event) -> None:
        """Tell the core of an event, and do what it wants."""
        if type(event) is ev.Received and not self.accepts(event.message):
            return
        self._inbox.append(event)
        self._work()

    def accepts(self, message: Message) -> bool:
        """Tell whether a message reaches the core; actors may drop some."""
        return True

    def _work(self) -> None:
        try:
            while self._inbox:
                event = self._inbox.popleft()
                if self.world.trace is not None:
                    self._show_event(event)
                for action in self.participant.handle(event, self.clock):
                    self._step()
                    if self.world.trace is not None:
                        self._show_action(action)
                    self._doing[type(action)](action)
                self._step()
                self._sync()
        except Crash:
            self.crash()

    def _step(self) -> None:
        if self.crash_in is not None:
            if self.crash_in <= 0:
                raise Crash
            self.crash_in -= 1

    def _sync(self) -> None:
        for log in self._unsynced:
            self._settle(log, log.synced)
            log.sync()
        self._unsynced.clear()

    def _settle(self, log: EpochLog, first: int) -> None:
        """Take note of the votes that are on the disk now: from here on they may be shown."""
        for record in log.records[first:]:
            if isinstance(record, OwnVote):
                subject = record.vote.subject()
                self._votes_on_disk.add((subject.epoch, subject))
                if self.key is not None:
                    self.world.oracle.signed(self.key.public, subject)

    def _log_of(self, epoch: int) -> EpochLog:
        log = self.logs.get(epoch)
        if log is None:
            raise Violation(f"I8 {self.name} writes to the log of epoch {epoch}, which is not open")
        if log not in self._unsynced:
            self._unsynced.append(log)
        return log

    # --- the disk -------------------------------------------------------------------------

    def _log(self, action: act.Log) -> None:
        if action.epoch in self.logs:  # who only observes an epoch has no log of it
            self._log_of(action.epoch).append(action.record)

    def _cast(self, action: act.Cast) -> None:
        subject = action.subject
        log = self.logs.get(subject.epoch)
        try:
            if log is None or subject.epoch not in self.signing:
                raise Refused(f"no log of epoch {subject.epoch}")
            if self.gate:
                log.check(subject)
        except Refused as refused:
            self.refuse(subject, str(refused))
            self._inbox.append(ev.VoteRefused(subject))
            return
        vote = self.sign(subject)
        if self.durable_votes:
            self._log_of(subject.epoch).append(OwnVote(vote))
        self._inbox.append(ev.VoteSigned(vote))

    def refuse(self, subject: Subject, why: str) -> None:
        """An honest core asks for no vote that the gate has to refuse."""
        if not self.doubled:
            raise Violation(f"G1 {self.name} asked for an illegal vote: {why}: {subject}")

    def sign(self, subject: Subject) -> Vote:
        """Sign a vote with the own key; the oracle hears of it once it is on the disk."""
        if self.key is None:
            raise Violation(f"G1 {self.name} has no key")
        position = self.position(subject.epoch)
        if self.byzantine or not self.durable_votes:
            self.world.oracle.signed(self.key.public, subject)
        signature = self.key.sign(vote_bytes(self.domain, subject))
        return vote_of(subject, 0 if position is None else position, signature)

    def position(self, epoch: int) -> int | None:
        """Find the own position in the set of an epoch."""
        members = self.world.oracle.members(epoch)
        public = self.key.public if self.key is not None else b""
        return members.index(public) if public in members else None

    # --- messages -------------------------------------------------------------------------

    def _broadcast(self, action: act.Broadcast) -> None:
        self._sync()
        self.transmit(action.message, self.world.peers_of(self))

    def _send(self, action: act.Send) -> None:
        self._sync()
        to = [node for node in self.world.peers_of(self) if node.name == action.peer]
        self.transmit(action.message, to)

    def transmit(self, message: Message, to: Sequence[Node]) -> None:
        """Give a message to the network; an honest node is watched here."""
        self._watch(message)
        self.post(message, to)

    def post(self, message: Message, to: Sequence[Node], later: int = 0) -> None:
        """Put a message on its ways, unwatched."""
        world, index = self.world, self.index
        if self.wire:
            message = decode_message(encode_message(message))
        event = ev.Received(self.name, message)
        world.audit(f"{world.now}{self.name}>{_brief(message)}")
        now = world.now + later
        filtered = world.filter
        for target in to:
            if filtered is not None and not filtered(self, target, message):
                continue
            world.sent += 1
            if world.measure is not None:
                world.measure(index, message)
            for delay in world.links.delays(now, index, target.index):
                world.tell(target, now + delay, event)

    def _watch(self, message: Message) -> None:
        """I7, I8 and I9 of what is shown."""
        self.world.oracle.shown(message)
        shown = isinstance(message, Proposal) or (
            isinstance(message, Vote) and message.signer == self.position(message.epoch)
        )
        if isinstance(message, Status):
            self._watch_status(message)
        elif shown and not isinstance(message, CertificateNotice):
            self._watch_vote(message.subject())

    def _watch_vote(self, subject: Subject) -> None:
        lacks = (subject.epoch, subject) not in self._votes_on_disk
        if lacks and self.shows_only_durable_votes:
            raise Violation(f"I8 {self.name} shows a vote that its log lacks: {subject}")

    def _watch_status(self, status: Status) -> None:
        """I7: neither view nor finality goes back, whatever was restarted in between.

        Without a log of the epoch a node begins again where its ledger is.
        """
        place = status.epoch, status.view
        final = status.final_number
        if status.epoch in self.logs and (place < self._highest or final < self._shown_final):
            raise Violation(
                f"I7 {self.name} went back from {self._highest} final {self._shown_final} "
                f"to {place} final {final}"
            )
        self._highest, self._shown_final = place, final

    # --- requests -------------------------------------------------------------------------

    def _ask(self, action: act.Ask) -> None:
        self._sync()
        world = self.world
        if self.world.measure is not None:
            world.sent += 1
        peers = world.peers_of(self)
        if action.peer is not None:
            peers = [node for node in peers if node.name == action.peer]
        done = ev.Responded(action.request, "", None)
        if peers:
            peer = self.rng.choice(peers)
            way = world.links.delays(world.now, self.index, peer.index)
            if way:
                give = partial(self._asked, peer, action.request, peer.life)
                world.call(self, world.now + way[0], give)
                return
        world.tell(self, world.now + self.pace.delta, done)

    def _asked(self, peer: Node, request: Request, life: int) -> None:
        world = self.world
        response = peer.answer(request) if peer.alive and peer.life == life else None
        if self.wire and response is not None:
            response = decode_response(encode_response(response))
        way = world.links.delays(world.now, peer.index, self.index)
        if response is None or not way:
            later = world.now + self.pace.delta
            world.tell(self, later, ev.Responded(request, "", None))
        else:
            world.tell(self, world.now + way[0], ev.Responded(request, peer.name, response))

    def answer(self, request: Request) -> Response | None:
        """Answer another node's request."""
        return answer(request, self.participant, self.ledger)

    # --- timers ---------------------------------------------------------------------------

    def _set_timer(self, action: act.SetTimer) -> None:
        self._timer_sequence += 1
        token = self._timer_sequence
        timer = action.timer
        self._timers[timer] = token
        if action.delay < 0:
            raise Violation(f"G2 {self.name} sets a timer in the past: {action}")
        world = self.world
        world.call(self, world.now + action.delay, partial(self._fire, timer, token))

    def _fire(self, timer: ev.Timer, token: int) -> None:
        if self._timers.get(timer) == token:
            del self._timers[timer]
            self.handle(ev.TimerFired(timer))

    # --- the chain ------------------------------------------------------------------------

    def _queue(self, takes: int, work: Callable[[], ev.Event]) -> None:
        """Do something after all that was queued before, beside the loop."""
        self._sync()
        start = max(self._queue_free, self.world.now)
        self._queue_free = start + takes
        self.world.call(self, self._queue_free, lambda: self._finish(work))

    def _finish(self, work: Callable[[], ev.Event]) -> None:
        try:
            self._step()
            event = work()
            self._step()
        except Crash:
            self.crash()
        except LedgerError as error:
            raise Violation(f"I10 {self.name}: {error}") from error
        else:
            self.handle(event)

    def _build(self, want: act.Build) -> None:
        self._sync()
        done = self.world.now + self.hardware.build
        self.world.call(self, done, lambda: self._finish(partial(self._built, want)))

    def _built(self, want: act.Build) -> ev.Event:
        if self.key is None or not self.ledger.executed(want.parent_hash):
            raise LedgerError(f"build on a block that is not executed: {want}")
        proof = self.key.prove(want.alpha)
        output = self.world.ring.vrf(self.key.public, want.alpha, proof) or b""
        if self._in_trouble():
            return ev.BlockBuilt(want.epoch, want.view, None)
        block = self.world.chain.build(want, output, proof, self.clock)
        self.ledger.execute(block)
        return ev.BlockBuilt(want.epoch, want.view, block)

    def _execute(self, action: act.Execute) -> None:
        self._queue(self.hardware.execute, partial(self._executed, action))

    def _executed(self, action: act.Execute) -> ev.Event:
        if self._in_trouble():
            return ev.BlockExecuted(action.block.header.hash(), ev.Verdict.UNAVAILABLE)
        valid = self.ledger.execute(action.block)
        verdict = ev.Verdict.VALID if valid else ev.Verdict.INVALID
        return ev.BlockExecuted(action.block.header.hash(), verdict)

    def _in_trouble(self) -> bool:
        world = self.world
        if not self.hardware.trouble or world.now >= world.links.heal:
            return False
        return self.rng.random() * 1000 < self.hardware.trouble

    def _set_best(self, action: act.SetBest) -> None:
        if not self.ledger.executed(action.block_hash):
            raise Violation(f"I10 {self.name} has a tip that is not executed")

    def _finalize(self, action: act.Finalize) -> None:
        self._queue(self.hardware.store, partial(self._stored, action))

    def _stored(self, action: act.Finalize) -> ev.Event:
        hash_, certificate = action.block_hash, action.certificate
        before = len(self.ledger.final)
        path = self.ledger.finalize(hash_, certificate)
        for number, passed in enumerate(path, before):
            self.world.oracle.finalized(number, passed, self.world.now)
        if certificate is not None:
            self.world.oracle.proven(certificate, hash_)
        number = self.ledger.blocks[hash_].header.number
        if path:
            self.world.audit(f"{self.name} has final block {number} {hash_.hex()[:8]}")
        return ev.FinalityStored(hash_, number)

    # --- epochs ---------------------------------------------------------------------------

    def _open_epoch(self, action: act.OpenEpoch) -> None:
        self.world.oracle.opened(action.epoch)
        self._queue(self.hardware.store, partial(self._opened, action))

    def _opened(self, action: act.OpenEpoch) -> ev.Event:
        number = action.epoch.number
        if number not in self.logs and action.live:
            self._make_log(action)
        signing = number in self.logs
        if signing:
            self.signing.add(number)
        return ev.EpochReady(number, signing)

    def _make_log(self, action: act.OpenEpoch) -> None:
        epoch = action.epoch
        opened = EpochOpened(
            self.domain.genesis_hash,
            self.domain.fork_id,
            epoch.number,
            epoch.validators.members,
            epoch.seed,
            epoch.start_hash,
            epoch.start_number,
            action.boundary,
        )
        self.logs[epoch.number] = EpochLog((opened,))

    def _close_epoch(self, action: act.CloseEpoch) -> None:
        self._sync()
        self.logs.pop(action.epoch, None)
        self.signing.discard(action.epoch)

    # --- accusations ----------------------------------------------------------------------

    def _report(self, action: act.Report) -> None:
        self.world.oracle.reported(action.evidence)

    def _penalise(self, action: act.Penalise) -> None:
        culprit = self.world.nodes[int(action.peer[1:])] if action.peer else None
        if culprit is None or not culprit.byzantine:
            raise Violation(
                f"G3 {self.name} penalises the honest {action.peer or 'nobody'}: "
                f"{action.fault.name} {action.detail}"
            )
        self.world.oracle.penalties[culprit.index, action.fault] += 1

    def _stop_signing(self, action: act.StopSigning) -> None:
        if not self.may_double:
            raise Violation(f"G4 {self.name} takes itself for a double: {action.detail}")
        self.doubled = True
        self.signing.discard(action.epoch)

    # --- reading along --------------------------------------------------------------------

    def _show_event(self, event: ev.Event) -> None:
        shown = _brief(event.message) if isinstance(event, ev.Received) else _short(event)
        source = f" from {event.peer}" if isinstance(event, ev.Received) else ""
        if self.world.trace is not None:
            self.world.trace(f"{self.world.now:>8} {self.name} < {shown}{source}")

    def _show_action(self, action: act.Action) -> None:
        if self.world.trace is not None and not isinstance(action, act.Broadcast | act.Send):
            self.world.trace(f"{self.world.now:>8} {self.name}   {_short(action)}")


def _brief(message: Message) -> str:
    if isinstance(message, Vote):
        kind = VoteKind(message.kind).name if message.kind < 3 else str(message.kind)
        return (
            f"{kind} {message.epoch}/{message.view}<{message.parent_view} "
            f"{message.block_hash.hex()[:8]} by {message.signer}"
        )
    if isinstance(message, Proposal):
        header = message.block.header
        return (
            f"PROPOSAL {message.epoch}/{message.view}<{message.parent_view} "
            f"#{header.number} {header.hash().hex()[:8]} skips {len(message.skipped)}"
        )
    if isinstance(message, Status):
        return f"STATUS {message.epoch}/{message.view} final {message.final_number}"
    c = message.certificate
    kind = VoteKind(c.kind).name if c.kind < 3 else str(c.kind)
    return f"CERT {kind} {c.epoch}/{c.view}<{c.parent_view} {c.block_hash.hex()[:8]}"


def _short(thing: object) -> str:
    text = type(thing).__name__
    if isinstance(thing, act.Cast | ev.VoteRefused):
        of = thing.subject
        return f"{text} {of.kind.name} {of.epoch}/{of.view} {of.block_hash.hex()[:8]}"
    if isinstance(thing, act.SetTimer):
        return f"{text} {thing.timer.kind.name} {thing.timer.view} in {thing.delay}"
    if isinstance(thing, ev.TimerFired):
        return f"{text} {thing.timer.kind.name} {thing.timer.view}"
    if isinstance(thing, act.Log):
        return f"{text} {thing.epoch} {type(thing.record).__name__}"
    if isinstance(thing, act.Execute):
        return f"{text} #{thing.block.header.number} {thing.block.header.hash().hex()[:8]}"
    if isinstance(thing, act.Ask):
        return f"{text} {type(thing.request).__name__} {_hashes(thing.request)} {thing.peer}"
    if isinstance(thing, ev.Responded):
        return f"{text} {type(thing.request).__name__} {type(thing.response).__name__} {thing.peer}"
    if isinstance(thing, ev.VoteSigned):
        return f"{text} {_brief(thing.vote)}"
    if isinstance(thing, ev.Started):
        return f"{text} {len(thing.records)} records"
    return str(thing)[:200]


def _hashes(request: Request) -> str:
    if isinstance(request, BlocksRequest):
        return ",".join(hash_.hex()[:8] for hash_ in request.hashes)
    return str(request)
