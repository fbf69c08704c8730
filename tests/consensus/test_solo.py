"""The single authority: one block per view, proofs that anybody can check, no second signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
import trio.testing

from consensus.core import ecvrf
from consensus.core.digest import Justification, find_claim, vrf_alpha
from consensus.core.votes import (
    InvalidFinalityProof,
    ProofReason,
    Subject,
    VoteDomain,
    VoteKind,
    certificate,
    decode_certificate,
    encode_certificate,
    vote_bytes,
)
from consensus.interface import AgreementSettings, Application, Authority, BlockRef
from consensus.session_key import SessionKey
from consensus.signing_record import MAGIC, Signed, SigningRecord, SigningRefused
from consensus.solo import InvalidClaim, Rules, SoloAuthority, SoloObserver, view_of
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Block, DigestItem, Header, PreRuntime

KEY = SessionKey(b"\7" * 32)
OTHER = SessionKey(b"\10" * 32)
GENESIS = Header(bytes(32), 0, bytes(32), bytes(32), ())
SETTINGS = AgreementSettings(
    genesis_hash=GENESIS.hash(),
    authorities=(Authority(KEY.public, 10),),
    seed=bytes(32),
    fork_id=0,
    block_interval_ms=1000,
    minimum_period_ms=500,
)
DOMAIN = VoteDomain(SETTINGS.genesis_hash, 0)


class Ledger:
    """An application in memory: headers, times and proofs; the body of a block is its time."""

    def __init__(self) -> None:
        self.headers = {GENESIS.hash(): GENESIS}
        self.times = {GENESIS.hash(): 0}
        self.proofs: dict[bytes, bytes] = {}
        self.chain = [BlockRef(GENESIS.hash(), 0)]
        self.tip = self.chain[0]
        self.crash_at = ""

    def best(self) -> BlockRef:
        return self.tip

    def finalized(self) -> BlockRef:
        return self.chain[-1]

    def header(self, block_hash: bytes) -> Header | None:
        return self.headers.get(block_hash)

    def justification(self, block_hash: bytes) -> bytes | None:
        return self.proofs.get(block_hash)

    def timestamp(self, block_hash: bytes) -> int:
        return self.times[block_hash]

    async def build(
        self,
        parent: bytes,
        *,
        timestamp: int,
        digest: tuple[DigestItem, ...],
        full: Callable[[], bool],
    ) -> Block:
        number = self.headers[parent].number + 1
        body = bytes([32]) + timestamp.to_bytes(8, "little")
        return Block(Header(parent, number, bytes(32), blake2_256(body), digest), (body,))

    async def execute(self, block: Block) -> BlockRef:
        self._crash("execute")
        ref = BlockRef(block.header.hash(), block.header.number)
        self.headers[ref.hash] = block.header
        self.times[ref.hash] = int.from_bytes(block.extrinsics[0][1:], "little")
        return ref

    def set_best(self, block_hash: bytes) -> None:
        self.tip = BlockRef(block_hash, self.headers[block_hash].number)

    async def finalize(self, block_hash: bytes, proof: bytes) -> None:
        self._crash("finalize")
        self.proofs[block_hash] = proof
        self.chain.append(BlockRef(block_hash, self.headers[block_hash].number))

    def restart(self) -> None:
        """Forget what is not final, as a killed node does."""
        kept = {ref.hash for ref in self.chain}
        self.headers = {h: header for h, header in self.headers.items() if h in kept}
        self.tip = self.chain[-1]

    def _crash(self, moment: str) -> None:
        if self.crash_at == moment:
            raise Killed


class Killed(Exception):
    pass


@dataclass
class Clock:
    now: int = 1_000_000

    def __call__(self) -> int:
        return self.now


def authority(path: Path, clock: Clock | None = None) -> SoloAuthority:
    record = SigningRecord.open(path / "last-signed", DOMAIN, make=True)
    return SoloAuthority(SETTINGS, KEY, record, clock or Clock())


async def test_every_step_makes_a_final_block_that_anybody_can_check(tmp_path: Path) -> None:
    ledger, solo = Ledger(), authority(tmp_path)
    application: Application = ledger
    rules = SoloObserver(SETTINGS)
    for number in range(1, 4):
        ref = await solo.step(application)
        assert ledger.finalized() == ledger.best() == ref == BlockRef(ref.hash, number)
        header = ledger.headers[ref.hash]
        rules.verify_header(header, ledger.headers[header.parent_hash])
        rules.verify_finality_proof(ledger.proofs[ref.hash], ref)
    solo.close()


async def test_the_digest_and_the_proof_say_what_the_protocol_says(tmp_path: Path) -> None:
    ledger, solo = Ledger(), authority(tmp_path)
    first = await solo.step(ledger)
    second = await solo.step(ledger)
    header = ledger.headers[second.hash]
    (item,) = header.digest
    assert isinstance(item, PreRuntime)
    assert item.engine == b"SMPX"
    assert len(item.data) == 8 + 8 + 8 + 2 + 64 + 80 + 32
    claim = find_claim(header.digest)
    assert claim is not None
    assert (claim.epoch, claim.view, claim.parent_view, claim.leader) == (0, 2, 1, 0)
    alpha = vrf_alpha(SETTINGS.genesis_hash, 0, 2, bytes(32))
    assert alpha[:19] == b"open-simplex-vrf-v1"
    assert ecvrf.verify(KEY.public, claim.vrf_proof, alpha) == claim.vrf_output
    parent_proof = decode_certificate(ledger.proofs[first.hash])
    assert claim.justification_hash == Justification(parent_proof, ()).hash()
    proof = decode_certificate(ledger.proofs[second.hash])
    expected = Subject(VoteKind.FINALIZE, 0, 2, 1, 2, second.hash)
    assert proof.subject() == expected
    assert proof.signatures == (KEY.vote(DOMAIN, expected),)
    solo.close()


def test_vote_bytes_have_a_fixed_width() -> None:
    subject = Subject(VoteKind.FINALIZE, 1, 2, 3, 4, b"\5" * 32)
    assert vote_bytes(VoteDomain(b"\1" * 32, 9), subject) == (
        b"open-simplex-vote-v1"
        + b"\1" * 32
        + b"\x09\0\0\0"
        + b"\x02"
        + b"\x01"
        + bytes(7)
        + b"\x02"
        + bytes(7)
        + b"\x03"
        + bytes(7)
        + b"\x04\0\0\0"
        + b"\5" * 32
    )
    assert len(vote_bytes(DOMAIN, subject)) == 117
    assert len(vote_bytes(DOMAIN, replace(subject, kind=VoteKind.NULLIFY))) == 73


@pytest.mark.parametrize("moment", ["execute", "finalize"])
async def test_after_a_crash_the_signed_block_is_finished_not_replaced(
    tmp_path: Path, moment: str
) -> None:
    ledger, clock = Ledger(), Clock()
    solo = authority(tmp_path, clock)
    await solo.step(ledger)
    ledger.crash_at = moment
    with pytest.raises(Killed):
        await solo.step(ledger)
    solo.close()
    ledger.crash_at = ""
    ledger.restart()
    clock.now += 50_000
    solo = authority(tmp_path, clock)
    signed = solo._record.last
    assert signed is not None
    assert signed.number == 2
    await solo.resume(ledger)
    assert ledger.finalized() == BlockRef(signed.block_hash, 2)
    third = await solo.step(ledger)
    assert view_of(ledger.headers[third.hash]) == 3
    solo.close()


async def test_a_key_whose_record_is_ahead_of_the_database_signs_nothing(tmp_path: Path) -> None:
    ledger, solo = Ledger(), authority(tmp_path)
    await solo.step(ledger)
    await solo.step(ledger)
    with pytest.raises(SigningRefused, match="the database ends at block 0"):
        await solo.resume(Ledger())
    solo.close()


async def test_another_history_is_refused(tmp_path: Path) -> None:
    ledger, solo = Ledger(), authority(tmp_path)
    await solo.step(ledger)
    other = Ledger()
    other_solo = authority(tmp_path / "other", Clock(2_000_000))
    await other_solo.step(other)
    with pytest.raises(SigningRefused, match="another block 1"):
        await solo.resume(other)
    solo.close()
    other_solo.close()


def signed(view: int, block_hash: bytes = b"\1" * 32) -> Signed:
    return Signed(SETTINGS.genesis_hash, 0, 0, view, view - 1, view, block_hash, b"block")


def test_no_view_is_signed_twice_for_different_blocks(tmp_path: Path) -> None:
    path = tmp_path / "last-signed"
    record = SigningRecord.open(path, DOMAIN, make=True)
    record.record(signed(5))
    record.record(signed(5))
    with pytest.raises(SigningRefused):
        record.record(signed(5, b"\2" * 32))
    with pytest.raises(SigningRefused):
        record.record(signed(4))
    record.close()
    record = SigningRecord.open(path, DOMAIN, make=False)
    assert record.last == signed(5)
    with pytest.raises(SigningRefused):
        record.record(signed(5, b"\2" * 32))
    record.close()


def test_an_absent_damaged_foreign_or_used_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last-signed"
    with pytest.raises(SigningRefused, match="--init-log"):
        SigningRecord.open(path, DOMAIN, make=False)
    record = SigningRecord.open(path, DOMAIN, make=True)
    record.record(signed(1))
    with pytest.raises(SigningRefused, match="another process"):
        SigningRecord.open(path, DOMAIN, make=True)
    record.close()
    with pytest.raises(SigningRefused, match="another chain"):
        SigningRecord.open(path, replace(DOMAIN, fork_id=1), make=True)
    data = path.read_bytes()
    for damaged in (data[:-1], data[:60], MAGIC, b"", data[:70] + b"\xff" + data[71:]):
        path.write_bytes(damaged)
        with pytest.raises(SigningRefused, match="damaged"):
            SigningRecord.open(path, DOMAIN, make=True)


async def test_time_never_goes_back(tmp_path: Path) -> None:
    ledger, clock = Ledger(), Clock()
    solo = authority(tmp_path, clock)
    first = await solo.step(ledger)
    clock.now -= 60_000
    second = await solo.step(ledger)
    assert ledger.times[first.hash] == 1_000_000
    assert ledger.times[second.hash] == 1_000_500
    solo.close()


async def test_blocks_come_once_per_interval(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.autojump_threshold = 0.02  # the record is written in a thread meanwhile
    ledger, solo = Ledger(), authority(tmp_path)
    with trio.move_on_after(10.5):
        await solo.run(ledger)
    assert ledger.finalized().number == 11
    solo.close()


def proof_of(key: SessionKey, subject: Subject, domain: VoteDomain = DOMAIN) -> bytes:
    return encode_certificate(certificate(subject, {0: key.vote(domain, subject)}, 1))


GOOD = Subject(VoteKind.FINALIZE, 0, 1, 0, 1, b"\1" * 32)


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        (b"", ProofReason.MALFORMED),
        (proof_of(KEY, GOOD) + b"\0", ProofReason.MALFORMED),
        (proof_of(KEY, replace(GOOD, kind=VoteKind.NOTARIZE)), ProofReason.WRONG_KIND),
        (proof_of(KEY, replace(GOOD, block_hash=b"\2" * 32)), ProofReason.WRONG_BLOCK),
        (proof_of(KEY, replace(GOOD, number=2)), ProofReason.WRONG_BLOCK),
        (proof_of(OTHER, GOOD), ProofReason.BAD_SIGNATURE),
        (proof_of(KEY, GOOD, replace(DOMAIN, fork_id=1)), ProofReason.BAD_SIGNATURE),
        (proof_of(KEY, GOOD, replace(DOMAIN, genesis_hash=b"\3" * 32)), ProofReason.BAD_SIGNATURE),
        (encode_certificate(certificate(GOOD, {}, 1)), ProofReason.NO_QUORUM),
        (encode_certificate(certificate(GOOD, {}, 9)), ProofReason.WRONG_SIGNERS),
        (
            encode_certificate(certificate(GOOD, {3: KEY.vote(DOMAIN, GOOD)}, 8)),
            ProofReason.WRONG_SIGNERS,
        ),
    ],
)
def test_a_wrong_proof_is_refused_by_name(proof: bytes, reason: ProofReason) -> None:
    rules = Rules(SETTINGS)
    rules.verify_finality_proof(proof_of(KEY, GOOD), BlockRef(b"\1" * 32, 1))
    with pytest.raises(InvalidFinalityProof) as caught:
        rules.verify_finality_proof(proof, BlockRef(b"\1" * 32, 1))
    assert caught.value.reason is reason


async def test_a_wrong_claim_is_refused(tmp_path: Path) -> None:
    ledger, solo = Ledger(), authority(tmp_path)
    ref = await solo.step(ledger)
    header = ledger.headers[ref.hash]
    rules = Rules(SETTINGS)
    with pytest.raises(InvalidClaim, match="exactly one"):
        rules.verify_header(replace(header, digest=()), GENESIS)
    with pytest.raises(InvalidClaim, match="exactly one"):
        rules.verify_header(replace(header, digest=header.digest * 2), GENESIS)
    with pytest.raises(InvalidClaim, match="view"):
        rules.verify_header(header, header)
    stranger = Rules(replace(SETTINGS, authorities=(Authority(OTHER.public, 1),)))
    with pytest.raises(InvalidClaim, match="randomness"):
        stranger.verify_header(header, GENESIS)
    solo.close()


def test_a_key_that_is_not_the_authoritys_is_refused(tmp_path: Path) -> None:
    record = SigningRecord.open(tmp_path / "r", DOMAIN, make=True)
    with pytest.raises(ValueError, match="authority is 0x"):
        SoloAuthority(SETTINGS, OTHER, record)
    record.close()


async def test_an_observer_makes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    ledger = Ledger()
    with trio.move_on_after(100):
        await SoloObserver(SETTINGS).run(ledger)
    assert ledger.finalized().number == 0
