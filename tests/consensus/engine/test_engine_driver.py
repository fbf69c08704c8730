"""What the driver does whatever the core says: order, refusals, timers; the core is scripted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio
from engine_world import GENESIS_HASH, PACE, TinyChain, Wire, keys, settings_of

from consensus.core.actions import (
    Action,
    Broadcast,
    Cast,
    CloseEpoch,
    Execute,
    Finalize,
    Log,
    OpenEpoch,
    Report,
    SetTimer,
    StopSigning,
)
from consensus.core.events import (
    BlockExecuted,
    EpochReady,
    Event,
    FinalityStored,
    Responded,
    SigningAllowed,
    Started,
    Timer,
    TimerFired,
    TimerKind,
    Verdict,
    VoteRefused,
    VoteSigned,
)
from consensus.core.evidence import Evidence
from consensus.core.messages import (
    Status,
    Vote,
    Votes,
    VotesRequest,
    decode_message,
    decode_request,
    encode_response,
    vote_of,
)
from consensus.core.ports import ParticipantConfig
from consensus.core.records import OwnVote, SeenCertificate
from consensus.core.votes import Certificate, Subject, VoteDomain, VoteKind, certificate
from consensus.engine.engine import Engine
from consensus.engine.folder import LogFolder
from consensus.engine.wal import EpochLog
from consensus.session_key import SessionKey
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Block, Header
from tests.patience import PATIENCE

KEYS = keys(2)
SETTINGS = settings_of(KEYS)
DOMAIN = VoteDomain(GENESIS_HASH, 0)
N, S, F = VoteKind.NOTARIZE, VoteKind.NULLIFY, VoteKind.FINALIZE
Reply = Callable[[Event], list[Action]]


class Scripted:
    """A core that says what a test wants, and remembers what it saw."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.seen: list[Event] = []

    def handle(self, event: Event, now: int) -> list[Action]:
        self.seen.append(event)
        return self.reply(event)

    def certificates(self, epoch: int, first: int, last: int) -> Sequence[Certificate]:
        return ()

    def votes_of(self, epoch: int, signer: int) -> Sequence[Vote]:
        return ()


def subject(kind: VoteKind, view: int) -> Subject:
    return Subject(S, 0, view) if kind is S else Subject(kind, 0, view, 0, view, b"\1" * 32)


def status(view: int) -> Status:
    return Status(0, view, 0, 0, bytes(32))


def proof(what: Subject) -> Certificate:
    return certificate(what, {i: key.vote(DOMAIN, what) for i, key in enumerate(KEYS)}, 2)


async def drive(
    path: Path,
    reply: Reply,
    done: Callable[[list[Event]], bool],
    *,
    wire: Wire | None = None,
    chain: TinyChain | None = None,
    listen: bool = False,
    report: Callable[[Evidence], None] = lambda evidence: None,
) -> list[Event]:
    """Run an engine with a scripted core until `done` holds of the events that it saw."""
    core = Scripted(reply)

    def make(config: ParticipantConfig) -> Scripted:
        assert set(config.publics) == {KEYS[0].public}
        return core

    engine = Engine(
        SETTINGS,
        key=KEYS[0],
        folder=LogFolder.open(path, DOMAIN, init_log=True),
        listen=listen,
        report=report,
        make_core=make,
    )
    wire = wire or Wire()
    peers = wire.join("me", engine.answer)
    try:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.run, chain or TinyChain(SETTINGS), peers)
                while not done(core.seen):
                    await trio.sleep(0.002)
                nursery.cancel_scope.cancel()
    finally:
        engine.close()
        wire.leave("me")
    return core.seen


def on(trigger: type[Event], actions: list[Action]) -> Reply:
    return lambda event: actions if isinstance(event, trigger) else []


def has(kind: type[Event]) -> Callable[[list[Event]], bool]:
    return lambda seen: any(isinstance(event, kind) for event in seen)


async def test_the_first_events_are_the_start_the_log_and_the_leave_to_sign(
    tmp_path: Path,
) -> None:
    seen = await drive(tmp_path, on(Started, []), has(SigningAllowed))
    (first, *rest) = seen
    assert isinstance(first, Started)
    assert [type(record).__name__ for record in first.records] == ["EpochOpened"]
    assert rest == [EpochReady(0, True), SigningAllowed()]


async def test_what_was_logged_and_cast_comes_back_at_the_next_start(tmp_path: Path) -> None:
    what = subject(N, 1)
    seen_proof = SeenCertificate(proof(what))
    actions: list[Action] = [Cast(what), Log(0, seen_proof), Cast(subject(F, 1))]
    # The finalize vote comes after the record that it depends on, in the order of the actions.
    seen = await drive(tmp_path, on(SigningAllowed, actions), has(VoteSigned))
    votes = [event.vote for event in seen if isinstance(event, VoteSigned)]
    assert [vote.subject() for vote in votes] == [what, subject(F, 1)]
    again = await drive(tmp_path, on(Started, []), has(SigningAllowed))
    assert isinstance(again[0], Started)
    assert again[0].records[1:] == (OwnVote(votes[0]), seen_proof, OwnVote(votes[1]))


async def test_messages_keep_their_order_and_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire()
    wire.join("other", lambda request: trio.sleep(0))  # type: ignore[arg-type]
    order: list[object] = []
    real = EpochLog.sync

    def sync(log: EpochLog) -> None:
        order.append("sync")
        real(log)

    def watch(name: str, message: bytes) -> None:
        decoded = decode_message(message)
        order.append(decoded.view if isinstance(decoded, Status) else "vote")

    monkeypatch.setattr(EpochLog, "sync", sync)
    wire.watch = watch

    def reply(event: Event) -> list[Action]:
        if isinstance(event, VoteSigned):
            return [Broadcast(event.vote), Broadcast(status(3))]
        if isinstance(event, SigningAllowed):
            return [Broadcast(status(1)), Cast(subject(N, 1)), Broadcast(status(2))]
        return []

    await drive(tmp_path, reply, lambda seen: 3 in order, wire=wire)
    assert order == ["sync", 1, 2, "vote", 3]


async def test_a_refused_vote_is_told_to_the_core(tmp_path: Path) -> None:
    actions: list[Action] = [Cast(subject(F, 1))]
    seen = await drive(tmp_path, on(SigningAllowed, actions), has(VoteRefused))
    assert seen[-1] == VoteRefused(subject(F, 1))


async def test_after_stop_signing_no_vote_of_the_epoch_is_signed(tmp_path: Path) -> None:
    actions: list[Action] = [Cast(subject(N, 1)), StopSigning(0, "x"), Cast(subject(N, 2))]
    seen = await drive(tmp_path, on(SigningAllowed, actions), has(VoteRefused))
    assert [type(event) for event in seen[-2:]] == [VoteSigned, VoteRefused]


async def test_a_timer_fires_once_and_a_later_setting_replaces_it(tmp_path: Path) -> None:
    first, second = Timer(TimerKind.LEADER, 0, 1), Timer(TimerKind.RETRY, 0, 1)
    actions: list[Action] = [SetTimer(first, 5), SetTimer(second, 20), SetTimer(first, 60)]
    seen = await drive(tmp_path, on(SigningAllowed, actions), lambda s: TimerFired(first) in s)
    assert [event for event in seen if isinstance(event, TimerFired)] == [
        TimerFired(second),
        TimerFired(first),
    ]


def block(parent: bytes, number: int, body: bytes = b"\x20" + bytes(8)) -> Block:
    return Block(Header(parent, number, bytes(32), blake2_256(body), ()), (b"\x20" + bytes(8),))


async def test_work_on_the_chain_is_answered_in_the_order_issued(tmp_path: Path) -> None:
    one = block(GENESIS_HASH, 1)
    two = block(one.header.hash(), 2)
    lost, wrong = block(b"\5" * 32, 7), block(GENESIS_HASH, 1, b"another body")
    proven = proof(Subject(F, 0, 2, 1, 2, two.header.hash()))
    hashes = [b.header.hash() for b in (one, two, lost, wrong)]
    actions: list[Action] = [Execute(b) for b in (one, two, lost, wrong)]
    actions += [Finalize(hashes[0], None), Finalize(hashes[1], proven)]
    chain = TinyChain(SETTINGS)
    seen = await drive(
        tmp_path,
        on(SigningAllowed, actions),
        lambda s: FinalityStored(hashes[1], 2) in s,
        chain=chain,
    )
    assert seen[3:] == [
        BlockExecuted(hashes[0], Verdict.VALID),
        BlockExecuted(hashes[1], Verdict.VALID),
        BlockExecuted(hashes[2], Verdict.UNAVAILABLE),
        BlockExecuted(hashes[3], Verdict.INVALID),
        FinalityStored(hashes[0], 1),
        FinalityStored(hashes[1], 2),
    ]
    assert list(chain.proofs) == [hashes[1]]


@pytest.mark.parametrize("live", [False, True])
async def test_the_next_epoch_is_signed_in_only_if_it_was_entered_live(
    tmp_path: Path, live: bool
) -> None:
    epoch = SETTINGS.epoch
    following = type(epoch)(1, epoch.validators, bytes(32), b"\1" * 32, 9)
    what = Subject(N, 1, 1, 0, 10, b"\2" * 32)

    def reply(event: Event) -> list[Action]:
        if isinstance(event, SigningAllowed):
            return [OpenEpoch(following, None, live)]
        if event == EpochReady(1, live):
            return [Cast(subject(N, 1)), Cast(what), CloseEpoch(0)]
        return []

    def logs() -> list[str]:
        return sorted(path.name for path in tmp_path.glob("*.log"))

    left = ["epoch-1.log"] if live else []
    seen = await drive(tmp_path, reply, lambda s: len(s) >= 6 and logs() == left)
    assert seen[4] == VoteRefused(subject(N, 1)), "the epoch before is over"
    assert isinstance(seen[5], VoteSigned if live else VoteRefused)


async def signed_once(path: Path) -> None:
    actions: list[Action] = [Cast(subject(N, 1))]
    await drive(path, on(SigningAllowed, actions), has(VoteSigned))


async def test_while_it_listens_the_gate_is_shut_whatever_the_core_wants(tmp_path: Path) -> None:
    await signed_once(tmp_path)
    what = subject(N, 2)

    def reply(event: Event) -> list[Action]:
        return [Cast(what)] if isinstance(event, EpochReady | SigningAllowed) else []

    started = trio.current_time()
    seen = await drive(tmp_path, reply, has(VoteSigned), listen=True)
    assert [type(event) for event in seen] == [
        Started,
        EpochReady,
        VoteRefused,
        SigningAllowed,
        VoteSigned,
    ]
    assert trio.current_time() - started >= 2 * PACE.leader / 1000


@pytest.mark.parametrize(
    ("signer", "stops"), [(KEYS[0], True), (KEYS[1], False)], ids=["own", "forged"]
)
async def test_a_peer_that_holds_an_unknown_vote_of_this_key_stops_the_signing(
    tmp_path: Path, signer: SessionKey, stops: bool
) -> None:
    await signed_once(tmp_path)
    unknown = subject(N, 5)
    held = vote_of(unknown, 0, signer.vote(DOMAIN, unknown))
    wire = Wire()
    asked: list[object] = []

    async def witness(request: bytes) -> bytes | None:
        await trio.lowlevel.checkpoint()
        asked.append(decode_request(request))
        return encode_response(Votes((held,)))

    wire.join("witness", witness)
    actions: list[Action] = [Cast(subject(N, 2))]
    verdict = VoteRefused if stops else VoteSigned
    seen = await drive(tmp_path, on(SigningAllowed, actions), has(verdict), wire=wire, listen=True)
    request = VotesRequest(0, 0)
    assert asked == [request, request], "when the peer joined, and at half the time"
    assert Responded(request, "witness", Votes((held,))) in seen


async def test_evidence_is_handed_on(tmp_path: Path) -> None:
    kept: list[Evidence] = []
    votes = [
        vote_of(subject(kind, 1), 1, KEYS[1].vote(DOMAIN, subject(kind, 1))) for kind in (S, F)
    ]
    evidence = Evidence(3, votes[0], votes[1])
    actions: list[Action] = [Report(evidence)]
    await drive(tmp_path, on(SigningAllowed, actions), lambda s: bool(kept), report=kept.append)
    assert kept == [evidence]


async def test_an_own_vote_comes_back_before_anything_else_that_waits(tmp_path: Path) -> None:
    """R9: were it counted later, the core would act on less than it has said itself."""
    actions: list[Action] = [Cast(subject(N, 1)), Cast(subject(N, 2))]
    seen = await drive(tmp_path, on(EpochReady, actions), has(SigningAllowed))
    assert [type(event) for event in seen] == [
        Started,
        EpochReady,
        VoteSigned,
        VoteSigned,
        SigningAllowed,
    ]
    views = [event.vote.view for event in seen if isinstance(event, VoteSigned)]
    assert views == [1, 2]
