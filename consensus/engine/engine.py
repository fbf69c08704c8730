"""The driver: turns what happens into events of the core, and does what the core answers.

Actions are done in their order. All records and votes of a turn go to the log first, with one
fsync; nothing is shown before that has returned.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

import trio

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
    EpochReady,
    Event,
    FinalityStored,
    PeerJoined,
    PeerLeft,
    Received,
    Responded,
    SigningAllowed,
    Started,
    TimerFired,
)
from consensus.core.evidence import Evidence
from consensus.core.messages import (
    Request,
    Response,
    Votes,
    VotesRequest,
    decode_message,
    decode_request,
    decode_response,
    encode_message,
    encode_request,
    encode_response,
)
from consensus.core.participant import Participant
from consensus.core.ports import Crypto, ParticipantConfig
from consensus.core.validators import Epoch
from consensus.core.votes import VoteDomain
from consensus.engine.diary import COMPACT_BYTES, Diary, Entered
from consensus.engine.folder import LogFolder
from consensus.engine.gate import SigningGate
from consensus.engine.listening import Listening
from consensus.engine.position import ChainView, RealCrypto, start_of
from consensus.engine.serving import Core, respond
from consensus.engine.timers import Timers
from consensus.engine.work import ChainWorker, Clock, Tell
from consensus.interface import AgreementSettings, Application, PeerEvent, Peers
from consensus.session_key import SessionKey
from runtime.primitives.errors import InvariantViolation
from runtime.primitives.scale import DecodeError

QUEUE = 1024
"""Events that wait at most; then the network waits."""
BATCH = 256
"""Events of a turn at most: so many share an fsync."""
ASKED_AT_ONCE = 16
MakeCore = Callable[[ParticipantConfig], Core]


def unix_ms() -> int:
    """Read the wall clock."""
    return time.time_ns() // 1_000_000


def _tell_nobody(phrase: str, fields: dict[str, object]) -> None:
    del phrase, fields


def _keep_nothing(evidence: Evidence) -> None:
    del evidence


class Engine:
    """The agreement of a chain, with one participant's part in it; runs once."""

    def __init__(
        self,
        settings: AgreementSettings,
        *,
        key: SessionKey | None = None,
        folder: LogFolder | None = None,
        listen: bool = True,
        tell: Tell = _tell_nobody,
        report: Callable[[Evidence], None] = _keep_nothing,
        now: Callable[[], int] = unix_ms,
        crypto: Crypto | None = None,
        make_core: MakeCore = Participant,
        compact_bytes: int = COMPACT_BYTES,
    ) -> None:
        """Take the parts; `folder` is the open folder of the key's logs, closed with the engine.

        listen: wait for a double before signing with a key that signed before; report: is told of
        evidence.
        """
        self.settings = settings
        self.domain = VoteDomain(settings.genesis_hash, settings.fork_id)
        self._gate = None if key is None else SigningGate(key, self.domain)
        self._diary = Diary(self._gate, folder, tell, compact_bytes)
        self._listen = listen
        self._tell = tell
        self._report = report
        self._now = now
        self._crypto = crypto or RealCrypto()
        self._make_core = make_core
        self._running: _Run | None = None

    async def run(self, application: Application, peers: Peers) -> None:
        """Take part until cancelled.

        Raises LogFailed where the log cannot be written, BrokenChain, and whatever the application
        raises that is neither a refusal nor a LookupError.
        """
        epoch, final = start_of(application, self.settings)
        entered = await self._diary.start(epoch, final.view)
        core = self._make_core(
            ParticipantConfig(
                self.domain,
                self.settings.pace,
                ChainView(application),
                self._crypto,
                () if self._gate is None else self._gate.publics,
                epoch,
                final,
                self.settings.minimum_period_ms,
            )
        )
        worker = ChainWorker(application, self._prove, self._clock(), self._tell)
        self._running = _Run(self, core, application, peers, worker)
        try:
            await self._running.run(epoch, entered, self._listening(epoch, entered))
        finally:
            self._running = None

    async def answer(self, request: bytes) -> bytes | None:
        """Answer a peer's request; None where it is malformed, or nothing runs yet."""
        running = self._running
        if running is None:
            return None
        try:
            decoded = decode_request(request)
        except DecodeError:
            return None
        return encode_response(respond(decoded, running.core, running.application))

    def add_key(self, key: SessionKey) -> None:
        """Take another key of this validator, for the epochs whose set has it.

        The key must sign nowhere else, and never have signed without the logs of this folder. Does
        nothing on a node that only follows. Safe to call from any thread.
        """
        if self._gate is not None:
            self._gate.add(key)

    @property
    def core(self) -> Core | None:
        """The core, to read from while the engine runs."""
        return None if self._running is None else self._running.core

    def close(self) -> None:
        """Close the logs, and let another process have the key's folder."""
        self._diary.close()

    def _prove(self, alpha: bytes) -> bytes:
        if self._gate is None:
            raise LookupError("without a key nothing can be built")
        return self._gate.prove(alpha)

    def _clock(self) -> Clock:
        return Clock(self._now, self.settings.pace.block_interval / 2000)

    def _listening(self, epoch: Epoch, entered: Entered) -> Listening | None:
        gate = self._gate
        if gate is None or not (self._listen and entered.signing and entered.suspicious):
            return None
        position = epoch.validators.position_among(gate.publics)
        if position is None or len(epoch.validators) == 1:
            return None
        seconds = 2 * self.settings.pace.leader / 1000
        return Listening(gate, VotesRequest(epoch.number, position), seconds)


class _Run:
    """One run of an engine: the queue of events, and the tasks beside it."""

    def __init__(
        self, engine: Engine, core: Core, application: Application, peers: Peers, work: ChainWorker
    ) -> None:
        self.core = core
        self.application = application
        self._engine = engine
        self._diary = engine._diary
        self._tell = engine._tell
        self._peers = peers
        self._work = work
        self._timers = Timers()
        self._asking = trio.CapacityLimiter(ASKED_AT_ONCE)
        self._put, self._events = trio.open_memory_channel[Event](QUEUE)
        self._nursery: trio.Nursery | None = None
        self._listening: Listening | None = None

    async def run(self, epoch: Epoch, entered: Entered, listening: Listening | None) -> None:
        first: list[Event] = [Started(entered.records), EpochReady(epoch.number, entered.signing)]
        self._listening = listening
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._work.run, self._put)
            nursery.start_soon(self._hear)
            if listening is None:
                first.append(SigningAllowed())
            else:
                nursery.start_soon(self._wait_for_double, listening)
            await self._turn(first)
            while True:
                await self._turn(await self._next_events())

    # --- what happens ---------------------------------------------------------------------

    async def _next_events(self) -> list[Event]:
        await trio.lowlevel.checkpoint()
        events = self._waiting()
        if not events:
            with trio.move_on_at(self._timers.next()):
                events = [await self._events.receive()]
            events += self._waiting()
        return events

    def _waiting(self) -> list[Event]:
        due = self._timers.due(trio.current_time())
        events: list[Event] = [TimerFired(timer) for timer in due]
        while len(events) < BATCH:
            try:
                events.append(self._events.receive_nowait())
            except trio.WouldBlock:
                break
        return events

    async def _hear(self) -> None:
        while True:
            event = self._decoded(await self._peers.next())
            if event is not None:
                await self._put.send(event)

    def _decoded(self, event: PeerEvent) -> Event | None:
        peer = event.peer
        if event.message is not None:
            try:
                return Received(peer, decode_message(event.message))
            except DecodeError as error:
                self._peers.penalise(peer, "MALFORMED", str(error))
                return None
        if not event.joined:
            if self._listening is not None:
                self._listening.left(peer)
            return PeerLeft(peer)
        if self._listening is not None and self._listening.joined(peer):
            self._ask(self._listening.request, peer)
        return PeerJoined(peer)

    async def _wait_for_double(self, listening: Listening) -> None:
        self._tell("listening for another process with this key before signing", {})
        await listening.run(self._ask)
        await self._put.send(SigningAllowed())

    # --- what is done ---------------------------------------------------------------------

    async def _turn(self, events: list[Event]) -> None:
        """Have the core see events; do what it says, in order, behind one fsync."""
        while events:
            actions = self._decide(events)
            await self._diary.sync()
            answers = [await self._perform(action) for action in actions]
            await self._shorten(events)
            events = [answer for answer in answers if answer is not None]

    def _decide(self, events: Iterable[Event]) -> list[Action]:
        """Collect actions; records and votes go to the log, and votes back to the core (R9)."""
        queue = deque(events)
        later: list[Action] = []
        while queue:
            event = queue.popleft()
            votes: list[Event] = []
            for action in self.core.handle(event, self._engine._now()):
                match action:
                    case Log(epoch, record):
                        self._diary.log(epoch, record)
                    case Cast(subject):
                        votes.append(self._diary.cast(subject))
                    case StopSigning(epoch, detail):
                        self._diary.stop(epoch, detail)
                    case _:
                        later.append(action)
            queue.extendleft(reversed(votes))
        return later

    async def _perform(self, action: Action) -> Event | None:
        """Do what may be seen from outside; returns the answer where it is there at once."""
        match action:
            case Broadcast(message):
                self._peers.broadcast(encode_message(message))
            case Send(peer, message):
                self._peers.send(peer, encode_message(message))
            case Ask(request, peer):
                self._ask(request, peer)
            case SetTimer(timer, delay):
                self._timers.set(timer, trio.current_time() + delay / 1000)
            case Build() | Execute() | Finalize():
                self._work.do(action)
            case SetBest(block_hash):
                self._set_best(block_hash)
            case OpenEpoch(epoch):
                entered = await self._diary.open(action)
                return EpochReady(epoch.number, entered.signing)
            case CloseEpoch(number):
                await self._diary.delete(number)
            case Report(evidence):
                self._engine._report(evidence)
            case Penalise(peer, fault, detail):
                self._peers.penalise(peer, fault.name, detail)
            case Log() | Cast() | StopSigning():
                raise InvariantViolation("records and votes are done before the fsync")
        return None

    def _set_best(self, block_hash: bytes) -> None:
        try:
            self.application.set_best(block_hash)
        except LookupError as error:
            self._tell("the tip cannot be moved", {"hash": block_hash, "error": error})

    async def _shorten(self, events: Iterable[Event]) -> None:
        """Compact the log up to what these events say is final on the disk."""
        for event in events:
            if isinstance(event, FinalityStored):
                final = self._work.proofs.pop(event.block_hash, None)
                if final is not None:
                    await self._diary.compact(final)

    # --- asking ---------------------------------------------------------------------------

    def _ask(self, request: Request, peer: str | None) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._asked, request, peer)

    async def _asked(self, request: Request, peer: str | None) -> None:
        answered: tuple[str, bytes] | None = None
        async with self._asking:
            with trio.move_on_after(self._engine.settings.pace.status / 1000):
                answered = await self._peers.ask(encode_request(request), peer)
        event = Responded(request, "", None)
        if answered is not None:
            who, data = answered
            response = self._response(who, data)
            if response is not None:
                self._check_for_double(request, response)
                event = Responded(request, who, response)
        await self._put.send(event)

    def _response(self, peer: str, data: bytes) -> Response | None:
        try:
            return decode_response(data)
        except DecodeError as error:
            self._peers.penalise(peer, "BAD_RESPONSE", str(error))
            return None

    def _check_for_double(self, request: Request, response: Response) -> None:
        listening = self._listening
        if listening is None or request != listening.request or not isinstance(response, Votes):
            return
        detail = listening.check(response)
        if detail is not None:
            self._diary.stop(listening.request.epoch, detail)
