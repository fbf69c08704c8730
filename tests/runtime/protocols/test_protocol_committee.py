"""Draws, commitments, ballots, and the roots of a launched adapter."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import decode, encode
from runtime.protocols import merkle
from runtime.protocols.commitments import (
    CommitmentRefusal,
    CoordinateLeaf,
    CorpusLeaf,
    CurvatureLeaf,
    CurvaturePart,
    IndexLeaf,
    coordinates_root,
    corpus_root,
    curvature_root,
    index_root,
)
from runtime.protocols.committee import (
    Attestation,
    Ballot,
    CommitteeReason,
    CommitteeRefusal,
    Conclusion,
    Verdict,
    audit_rate,
    audited,
    commitment,
    conclude,
    draw,
    draw_receipts,
)
from runtime.protocols.ids import RecordId
from runtime.protocols.report import QueryCode

SEED = bytes(range(32))
accounts = st.integers(0, 50).map(lambda n: n.to_bytes(32, "big"))
candidates = st.dictionaries(accounts, st.integers(0, 10**24), max_size=12)


@given(
    st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1), candidates, st.integers(0, 6)
)
def test_a_committee_is_a_function_of_seed_batch_and_stakes(
    seed: bytes, batch: int, stakes: dict[bytes, int], seats: int
) -> None:
    drawn = draw(seed, batch, list(stakes.items()), seats)
    eligible = {validator for validator, stake in stakes.items() if stake}
    assert set(drawn) <= eligible
    assert len(set(drawn)) == len(drawn) == min(seats, len(eligible))
    assert draw(seed, batch, list(stakes.items())[::-1], seats) == drawn


def test_seats_follow_stake() -> None:
    names = {bytes([n]) * 32: stake for n, stake in ((1, 60), (2, 30), (3, 10))}
    first = Counter(draw(SEED, batch, list(names.items()), 1)[0][0] for batch in range(3000))
    for number, share in ((1, 0.6), (2, 0.3), (3, 0.1)):
        assert abs(first[number] / 3000 - share) < 0.035
    both = Counter(frozenset(draw(SEED, b, list(names.items()), 2)) for b in range(3000))
    pair = frozenset((bytes([1]) * 32, bytes([2]) * 32))
    exact = 0.6 * 30 / 40 + 0.3 * 60 / 70
    assert abs(both[pair] / 3000 - exact) < 0.035


def test_a_candidate_cannot_stand_twice_nor_with_negative_stake() -> None:
    with pytest.raises(CommitteeRefusal) as caught:
        draw(SEED, 1, [(b"a" * 32, 1), (b"a" * 32, 2)])
    assert caught.value.reason is CommitteeReason.DUPLICATE_CANDIDATE
    with pytest.raises(CommitteeRefusal) as caught:
        draw(SEED, 1, [(b"a" * 32, -1)])
    assert caught.value.reason is CommitteeReason.NEGATIVE_STAKE


@given(
    st.binary(min_size=32, max_size=32), st.integers(0, 9), st.integers(0, 40), st.integers(0, 8)
)
def test_drawn_receipts_are_distinct_and_in_range(
    seed: bytes, batch: int, count: int, most: int
) -> None:
    drawn = draw_receipts(seed, batch, count, most)
    assert len(drawn) == min(count, most)
    assert list(drawn) == sorted(set(drawn))
    assert all(0 <= index < count for index in drawn)


def test_every_set_of_receipts_is_equally_likely() -> None:
    seen = Counter(draw_receipts(SEED, batch, 5, 2) for batch in range(5000))
    assert len(seen) == 10
    assert all(abs(times - 500) < 100 for times in seen.values())


def test_audits_come_at_their_rate_and_never_below_a_tenth() -> None:
    for rate, expected in ((0, 0.1), (100_000, 0.1), (500_000, 0.5), (1_000_000, 1.0)):
        share = sum(audited(SEED, batch, rate) for batch in range(4000)) / 4000
        assert abs(share - expected) < 0.03


@given(st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 10**24), st.integers(0, 10**24))
def test_an_audit_rate_keeps_its_bounds(
    finals: int, faults: int, value: int, slashable: int
) -> None:
    rate = audit_rate(finals, faults, value, slashable)
    assert 100_000 <= rate <= 1_000_000
    assert audit_rate(finals, faults + 1, value, slashable) >= rate
    assert audit_rate(finals + 1, faults, value, slashable) <= rate
    if value * 10 >= slashable:
        assert rate == 1_000_000


def test_a_new_executor_is_always_audited_and_a_proven_one_rarely() -> None:
    assert audit_rate(0, 0, 1, 100) == 1_000_000
    assert audit_rate(4, 0, 1, 100) == 500_000
    assert audit_rate(4, 1, 1, 100) == 1_000_000
    assert audit_rate(1000, 0, 1, 100) == 100_000


ATTESTATION = Attestation(
    method=1,
    codes=(QueryCode(b"\x01\xff", (-2,)),),
    verdicts=(Verdict.OK,),
    salt=b"\x09" * 32,
)


def test_a_commitment_binds_chain_batch_validator_and_every_bit_revealed() -> None:
    base = commitment(SEED, 4, b"v" * 32, ATTESTATION)
    others = {
        commitment(bytes(32), 4, b"v" * 32, ATTESTATION),
        commitment(SEED, 5, b"v" * 32, ATTESTATION),
        commitment(SEED, 4, b"w" * 32, ATTESTATION),
    }
    raw = encode(Attestation, ATTESTATION)
    changed = 0
    for place, bit in product(range(len(raw)), range(8)):
        flipped = bytearray(raw)
        flipped[place] ^= 1 << bit
        try:
            value = decode(Attestation, bytes(flipped))
        except ValueError:
            continue
        changed += 1
        others.add(commitment(SEED, 4, b"v" * 32, value))
    assert changed > 300
    assert len(others) == changed + 3
    assert base not in others


OK, BAD, HUM, GONE = Verdict.OK, Verdict.BAD, Verdict.INCONCLUSIVE, Verdict.UNAVAILABLE
YES = Ballot((OK, OK), (True, True))


@pytest.mark.parametrize(
    ("ballots", "seats", "conclusion"),
    [
        ([YES, YES], 3, Conclusion.ACCEPTED),
        ([YES], 1, Conclusion.ACCEPTED),
        ([YES], 3, Conclusion.REDRAW),
        ([], 3, Conclusion.REDRAW),
        ([], 0, Conclusion.REDRAW),
        ([Ballot((), ())] * 3, 3, Conclusion.REDRAW),
        ([YES, YES, Ballot((BAD, OK), (True, True))], 3, Conclusion.ACCEPTED),
        ([Ballot((OK, OK), (True, False))] * 3, 3, Conclusion.REDRAW),
        ([Ballot((OK, HUM), (True, True))] * 3, 3, Conclusion.REDRAW),
        (
            [Ballot((OK, BAD), (True, True)), Ballot((GONE, HUM), (False, False))],
            3,
            Conclusion.FAULT,
        ),
        ([Ballot((OK, GONE), (True, True)), YES, YES], 4, Conclusion.REDRAW),
    ],
)
def test_two_thirds_of_all_seats_decide(
    ballots: list[Ballot], seats: int, conclusion: Conclusion
) -> None:
    assert conclude(ballots, seats) is conclusion


R1, R2 = RecordId(0, 7), RecordId(1, 2)


def test_roots_on_chain_are_trees_over_scale_leaves_in_rising_order() -> None:
    index = [IndexLeaf(r, blake2_256(b"r"), b"\x01", b"\x02") for r in (R1, R2)]
    corpus = [CorpusLeaf(R1, (1, 70_000)), CorpusLeaf(R2, ())]
    curvature = [
        CurvatureLeaf(0, CurvaturePart.EIGENVALUES, 0, -7, b"\x01\x00"),
        CurvatureLeaf(1, CurvaturePart.INPUT_BASIS, 0, 3, b"\x02\x00"),
    ]
    coordinates = [CoordinateLeaf(0, -4, 8, (1, 9)), CoordinateLeaf(1, -3, 8, (0,))]
    for compute, kind, leaves in (
        (index_root, IndexLeaf, index),
        (corpus_root, CorpusLeaf, corpus),
        (curvature_root, CurvatureLeaf, curvature),
        (coordinates_root, CoordinateLeaf, coordinates),
    ):
        assert compute(leaves) == merkle.root([encode(kind, leaf) for leaf in leaves])
        for wrong in (leaves[::-1], [leaves[0], leaves[0]]):
            with pytest.raises(CommitmentRefusal, match="WRONG_ORDER"):
                compute(wrong)
