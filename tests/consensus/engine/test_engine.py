"""Whole engines with the real core: a tiny chain, a network in memory, logs on the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from engine_world import GENESIS_HASH, TinyChain, Wire, keys, settings_of

from consensus.core.messages import (
    MAX_HEADERS,
    BlocksRequest,
    CertificatesRequest,
    EpochProofsRequest,
    Finality,
    FinalityRequest,
    Headers,
    HeadersRequest,
    Proposal,
    Vote,
    Votes,
    VotesRequest,
    decode_message,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    vote_of,
)
from consensus.core.records import OwnVote
from consensus.core.votes import VoteDomain, VoteKind, check_finality
from consensus.engine import wal
from consensus.engine.engine import Engine
from consensus.engine.folder import LogFolder
from consensus.engine.refusals import LogFailed
from consensus.engine.wal import EpochLog
from consensus.interface import Agreement, AgreementSettings, PeerEvent
from consensus.session_key import SessionKey
from runtime.primitives.digest import Authority
from tests.patience import PATIENCE

DOMAIN = VoteDomain(GENESIS_HASH, 0)


@dataclass
class Member:
    """A validator that can be started again on the same chain and logs."""

    name: str
    key: SessionKey | None
    settings: AgreementSettings
    chain: TinyChain
    path: Path
    told: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    init_log: bool = True
    listen: bool = False
    compact_bytes: int = 1 << 20
    engine: Engine | None = None
    further: tuple[SessionKey, ...] = ()

    def make(self) -> Engine:
        folder = None
        if self.key is not None:
            folder = LogFolder.open(self.path, DOMAIN, init_log=self.init_log)
        engine = Engine(
            self.settings,
            key=self.key,
            folder=folder,
            listen=self.listen,
            tell=lambda phrase, fields: self.told.append((phrase, fields)),
            compact_bytes=self.compact_bytes,
        )
        for key in self.further:
            engine.add_key(key)
        return engine

    async def run(self, wire: Wire) -> None:
        self.engine = self.make()
        peers = wire.join(self.name, self.engine.answer)
        try:
            await self.engine.run(self.chain, peers)
        finally:
            wire.leave(self.name)
            self.engine.close()

    def phrases(self) -> set[str]:
        return {phrase for phrase, _ in self.told}


def members(path: Path, count: int, length: int = 1 << 30) -> list[Member]:
    secret = keys(count)
    settings = settings_of(secret)
    return [
        Member(f"v{i}", key, settings, TinyChain(settings, length), path / f"v{i}")
        for i, key in enumerate(secret)
    ]


async def until(ready: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not ready():
            await trio.sleep(0.005)


async def run_until(wire: Wire, running: list[Member], ready: Callable[[], bool]) -> None:
    async with trio.open_nursery() as nursery:
        for member in running:
            nursery.start_soon(member.run, wire)
        await until(ready)
        nursery.cancel_scope.cancel()


def reached(running: list[Member], number: int) -> Callable[[], bool]:
    return lambda: all(member.chain.finalized().number >= number for member in running)


def logged(member: Member, epoch: int = 0) -> list[Vote]:
    log, records = EpochLog.open(member.path / f"epoch-{epoch}.log")
    log.close()
    return [record.vote for record in records if isinstance(record, OwnVote)]


@pytest.mark.parametrize("count", [1, 2, 4])
async def test_validators_finalise_one_chain_with_proofs(tmp_path: Path, count: int) -> None:
    running = members(tmp_path, count)
    agreement: Agreement = running[0].make()
    agreement.close()
    await run_until(Wire(), running, reached(running, 5))
    first = running[0].chain
    validators = [(m.public, m.weight) for m in first.members]
    for member in running:
        assert member.chain.final[:6] == first.final[:6]
    proven = [h for h in first.final if h in first.proofs]
    assert proven
    for block_hash in proven:
        number = first.blocks[block_hash].header.number
        check_finality(first.proofs[block_hash], block_hash, number, DOMAIN, validators)


async def test_no_vote_is_shown_before_it_is_on_the_disk(tmp_path: Path) -> None:
    running = members(tmp_path, 2)
    by_position = {m.key.public: m for m in running if m.key}
    places = [by_position[a.public] for a in running[0].chain.members]
    checked: list[Vote] = []

    def watch(name: str, message: bytes) -> None:
        decoded = decode_message(message)
        if isinstance(decoded, Proposal):
            votes = [_votes_of(decoded, running[0].settings)]
        else:
            votes = [decoded] if isinstance(decoded, Vote) else []
        for vote in votes:
            member = places[vote.signer]
            if member.name == name and len(checked) < 200:
                framed = wal.frame(OwnVote(vote))
                assert framed in (member.path / "epoch-0.log").read_bytes()
                checked.append(vote)

    await run_until(Wire(watch=watch), running, reached(running, 4))
    assert {vote.kind for vote in checked} >= {VoteKind.NOTARIZE, VoteKind.FINALIZE}


def _votes_of(proposal: Proposal, settings: AgreementSettings) -> Vote:
    leader = settings.epoch.leader(proposal.view)
    return vote_of(proposal.subject(), leader, proposal.signature)


async def test_after_a_restart_of_all_the_chain_goes_on_and_nobody_contradicts_himself(
    tmp_path: Path,
) -> None:
    running = members(tmp_path, 4)
    for round_ in range(1, 4):
        await run_until(Wire(), running, reached(running, 3 * round_))
        for member in running:
            member.chain.restart()
    for member in running:
        votes = logged(member)
        for kind in VoteKind:
            views = [vote.view for vote in votes if vote.kind == kind]
            assert len(views) == len(set(views))
        assert "vote refused" not in member.phrases()


async def test_epochs_follow_each_other_each_with_its_own_log(tmp_path: Path) -> None:
    running = members(tmp_path, 2, length=3)
    await run_until(Wire(), running, reached(running, 11))
    for member in running:
        epochs = LogFolder.open(member.path, DOMAIN).epochs()
        assert max(epochs) >= 3
        assert len(epochs) <= 2, "a log goes when its epoch is over for good"
        assert member.chain.boundaries[0] == member.chain.final[3]


async def test_epochs_survive_restarts(tmp_path: Path) -> None:
    running = members(tmp_path, 2, length=2)
    for goal in (2, 4, 5, 8):
        await run_until(Wire(), running, reached(running, goal))
        for member in running:
            member.chain.restart()
            member.init_log = False


@pytest.mark.parametrize("count", [1, 2])
async def test_a_key_that_is_added_signs_from_the_epoch_whose_set_has_it(
    tmp_path: Path, count: int
) -> None:
    running = members(tmp_path, count, length=3)
    new = SessionKey(bytes([99]) * 32)
    before = running[0].chain.members
    for member in running:
        member.chain.later[2] = (Authority(new.public, 10), *before[1:])

    async def rotate() -> None:
        await until(lambda: running[0].engine is not None)
        assert running[0].engine is not None
        running[0].engine.add_key(new)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rotate)
        await run_until(Wire(), running, reached(running, 8))
    told = [fields for phrase, fields in running[0].told if phrase.startswith("signing with a new")]
    assert told == [{"epoch": 2, "key": new.public}]
    assert "this validator only observes" not in running[0].phrases()


async def test_both_keys_of_a_validator_are_known_after_a_restart(tmp_path: Path) -> None:
    running = members(tmp_path, 1, length=3)
    new = SessionKey(bytes([99]) * 32)
    running[0].chain.later[2] = (Authority(new.public, 10),)
    running[0].further = (new,)
    for goal in (4, 5, 7, 8, 11):
        await run_until(Wire(), running, reached(running, goal))
        running[0].chain.restart()
        running[0].init_log = False


async def test_a_node_without_a_key_follows(tmp_path: Path) -> None:
    running = members(tmp_path, 2)
    settings = running[0].settings
    follower = Member("full", None, settings, TinyChain(settings), tmp_path / "none")
    await run_until(Wire(), [*running, follower], reached([*running, follower], 4))
    assert follower.chain.final[:4] == running[0].chain.final[:4]


async def test_a_late_node_catches_up(tmp_path: Path) -> None:
    running = members(tmp_path, 2, length=4)
    wire = Wire()
    settings = running[0].settings
    late = Member("late", None, settings, TinyChain(settings, 4), tmp_path / "none")
    async with trio.open_nursery() as nursery:
        for member in running:
            nursery.start_soon(member.run, wire)
        await until(reached(running, 10))
        nursery.start_soon(late.run, wire)
        await until(reached([late], 12))
        nursery.cancel_scope.cancel()
    assert late.chain.final[:11] == running[0].chain.final[:11]


async def test_without_its_log_a_validator_only_observes(tmp_path: Path) -> None:
    running = members(tmp_path, 4)
    running[0].init_log = False
    await run_until(Wire(), running, reached(running, 4))
    ((_, fields),) = [t for t in running[0].told if t[0] == "this validator only observes"]
    assert fields["reason"] == "NO_LOG"
    assert "--init-log" in str(fields["detail"])
    position = next(
        i for i, m in enumerate(running[0].chain.members) if m.public == running[0].key.public
    )
    assert not list(running[0].path.glob("*.log"))
    for member in running[1:]:
        assert all(vote.signer != position for vote in logged(member))


async def test_a_key_that_signed_before_listens_first(tmp_path: Path) -> None:
    running = members(tmp_path, 2)
    for member in running:
        member.listen = True
    await run_until(Wire(), running, reached(running, 2))
    assert all("listening" not in phrase for m in running for phrase in m.phrases())
    wire = Wire()
    started = trio.current_time()
    signed_at: list[float] = []

    def watch(name: str, message: bytes) -> None:
        if isinstance(decode_message(message), Vote):
            signed_at.append(trio.current_time())

    wire.watch = watch
    for member in running:
        member.chain.restart()
    seen = running[0].chain.finalized().number
    await run_until(wire, running, reached(running, seen + 2))
    assert all(any("listening" in p for p in m.phrases()) for m in running)
    assert min(signed_at) - started >= 2 * running[0].settings.pace.leader / 1000


async def test_a_double_stops_the_signing(tmp_path: Path) -> None:
    """Another process voted with the key while this one was off; a peer tells."""
    running = members(tmp_path, 4)
    await run_until(Wire(), running, reached(running, 2))
    double = running[0]
    for member in running:
        member.chain.restart()
    old_log = (double.path / "epoch-0.log").read_bytes()
    stale = len(logged(double))
    wire = Wire()
    async with trio.open_nursery() as nursery:
        for member in running:
            nursery.start_soon(member.run, wire)
        await until(reached(running, double.chain.finalized().number + 3))
        nursery.cancel_scope.cancel()
    elsewhere = logged(double)[-1]
    assert len(logged(double)) > stale
    (double.path / "epoch-0.log").write_bytes(old_log)
    chain = TinyChain(double.settings)
    again = Member("v0", double.key, double.settings, chain, double.path, listen=True)
    wire = Wire()

    async def holds_the_vote(request: bytes) -> bytes | None:
        return _votes_answer(request, elsewhere)

    wire.join("witness", holds_the_vote)
    stopped = "signing stopped: something else may sign with this key"
    await run_until(wire, [again], lambda: stopped in again.phrases())
    assert len(logged(again)) == stale


def _votes_answer(request: bytes, vote: Vote) -> bytes | None:
    if isinstance(decode_request(request), VotesRequest):
        return encode_response(Votes((vote,)))
    return None


async def test_a_log_that_grows_is_shortened_while_the_chain_goes_on(tmp_path: Path) -> None:
    (alone,) = members(tmp_path, 1)
    alone.compact_bytes = 4096
    await run_until(Wire(), [alone], reached([alone], 60))
    assert (alone.path / "epoch-0.log").stat().st_size < 16_000
    alone.chain.restart()
    await run_until(Wire(), [alone], reached([alone], 65))
    assert "vote refused" not in alone.phrases()


async def test_a_disk_that_takes_no_log_stops_the_engine_before_anything_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = members(tmp_path, 2)
    wire = Wire()

    def fails(self: EpochLog) -> None:
        raise LogFailed(28, "no space left")

    monkeypatch.setattr(EpochLog, "sync", fails)
    with pytest.RaisesGroup(LogFailed, flatten_subgroups=True, allow_unwrapped=True):
        await run_until(wire, running[:1], lambda: False)
    assert not [m for _, m in wire.sent if isinstance(decode_message(m), Vote | Proposal)]


async def test_a_leader_that_cannot_build_gives_the_view_up(tmp_path: Path) -> None:
    running = members(tmp_path, 4)
    running[0].chain.build_error = LookupError("the pool is broken")
    await run_until(Wire(), running, reached(running, 8))
    assert "no block could be built" in running[0].phrases()


async def test_a_bug_in_building_stops_the_node(tmp_path: Path) -> None:
    (alone,) = members(tmp_path, 1)
    alone.chain.build_error = ZeroDivisionError()
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await run_until(Wire(), [alone], lambda: False)


async def test_garbage_is_held_against_its_sender(tmp_path: Path) -> None:
    running = members(tmp_path, 2)
    wire = Wire()
    async with trio.open_nursery() as nursery:
        for member in running:
            nursery.start_soon(member.run, wire)
        await until(lambda: len(wire.members) == 2)
        peers = wire.members["v0"]
        peers.put.send_nowait(PeerEvent("v1", b"\xff garbage"))
        await until(reached(running, 2))
        nursery.cancel_scope.cancel()
    assert ("v1", "MALFORMED") in peers.faults


async def test_questions_are_answered_within_their_limits(tmp_path: Path) -> None:
    running = members(tmp_path, 2, length=4)
    wire = Wire()
    async with trio.open_nursery() as nursery:
        for member in running:
            nursery.start_soon(member.run, wire)
        await until(reached(running, 6))
        engine = running[0].engine
        chain = running[0].chain
        assert engine is not None

        async def ask(request: object) -> object:
            data = await engine.answer(encode_request(request))
            assert data is not None
            return decode_response(data)

        headers = await ask(HeadersRequest(1, 4))
        assert headers == Headers(tuple(chain.blocks[h].header for h in chain.final[1:5]))
        every = await ask(HeadersRequest(0, 0xFFFF))
        assert 6 <= len(every.headers) <= MAX_HEADERS
        assert (await ask(HeadersRequest(4_000_000_000, 9))).headers == ()
        wanted = (chain.final[2], bytes(32), chain.final[1])
        blocks = (await ask(BlocksRequest(wanted))).blocks
        assert [b.header.number for b in blocks] == [2, 1]
        ends = (await ask(EpochProofsRequest(0, 16))).proofs
        assert ends[0].header.number == 4
        finality = await ask(FinalityRequest())
        assert isinstance(finality, Finality)
        assert finality.proof is not None
        assert finality.proof.header.number >= 4
        assert (await ask(VotesRequest(1, 0))).votes
        assert (await ask(VotesRequest(77, 0))).votes == ()
        assert (await ask(CertificatesRequest(1, 0, 2**64 - 1))).certificates
        assert await engine.answer(b"\xff") is None
        nursery.cancel_scope.cancel()


async def test_before_it_runs_an_engine_answers_nothing(tmp_path: Path) -> None:
    (alone,) = members(tmp_path, 1)
    engine = alone.make()
    assert await engine.answer(encode_request(FinalityRequest())) is None
    engine.close()
