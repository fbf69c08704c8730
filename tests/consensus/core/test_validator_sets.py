"""Who belongs to an epoch, and who leads which view."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vote_samples import members, public, weights

from consensus.core.validators import Epoch
from runtime.primitives.digest import Authority, NextEpoch
from runtime.primitives.leaders import leader_of, quorum

seeds = st.binary(min_size=32, max_size=32)


@given(seeds, st.integers(0, 2**64 - 1), weights)
def test_the_leader_is_where_the_draw_falls_on_the_line_of_weights(
    seed: bytes, view: int, shares: list[int]
) -> None:
    hashed = blake2b(b"leader" + seed + view.to_bytes(8, "little"), digest_size=32).digest()
    point = int.from_bytes(hashed, "little") % sum(shares)
    line = [
        position for position, share in enumerate(shares) if share < 10**4 for _ in range(share)
    ]
    leader = leader_of(seed, view, shares)
    assert sum(shares[:leader]) <= point < sum(shares[: leader + 1])
    if max(shares) < 10**4:
        assert leader == line[point]


def test_validators_lead_in_proportion_to_their_weight() -> None:
    shares = (50, 30, 15, 5, 0)
    counts = [0] * 5
    for view in range(20_000):
        counts[leader_of(b"\x07" * 32, view, shares)] += 1
    # Four standard deviations of a binomial draw of 20 000 are below 1.5 % of them.
    for share, count in zip(shares, counts, strict=True):
        assert abs(count - 200 * share) < 300
    assert counts[4] == 0


def test_another_seed_gives_another_order() -> None:
    orders = {
        tuple(leader_of(bytes((n,)) * 32, v, (1, 1, 1, 1)) for v in range(16)) for n in range(50)
    }
    assert len(orders) == 50


@given(weights)
def test_a_set_sums_its_weights(shares: list[int]) -> None:
    validators = members(shares)
    assert len(validators) == len(shares)
    assert (validators.weights, validators.total) == (tuple(shares), sum(shares))
    assert validators.quorum == quorum(sum(shares))
    assert validators.weight_of(range(len(shares))) == sum(shares)
    assert [validators.position(public(i)) for i in range(len(shares))] == list(range(len(shares)))
    assert validators.position(bytes(32)) is None


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_a_bitmap_names_positions(case: tuple[int, set[int]]) -> None:
    size, chosen = case
    validators = members((1,) * size)
    bitmap = validators.bitmap(chosen)
    assert len(bitmap) == (size + 7) // 8
    assert validators.positions(bitmap) == sorted(chosen)
    assert validators.positions(bitmap + b"\x00") is None
    assert validators.positions(bitmap[:-1]) is None


@pytest.mark.parametrize("size", [1, 7, 9, 15, 31])
def test_a_bit_outside_the_set_makes_a_bitmap_void(size: int) -> None:
    validators = members((1,) * size)
    bitmap = bytearray(validators.bitmap(()))
    assert validators.positions(bytes(bitmap)) == []
    bitmap[size >> 3] |= 1 << (size & 7)
    assert validators.positions(bytes(bitmap)) is None


def test_the_next_epoch_starts_from_the_block_that_announced_it() -> None:
    first = Epoch(4, members((1, 2)), b"\x01" * 32, bytes(32), 10)
    authorities = (Authority(public(5), 7), Authority(public(6), 1))
    following = first.after(NextEpoch(5, authorities, b"\x02" * 32), b"\x03" * 32, 30)
    assert (following.number, following.start_hash, following.start_number) == (5, b"\x03" * 32, 30)
    assert following.validators.members == authorities
    assert following.seed == b"\x02" * 32
    assert following.leader(9) == leader_of(b"\x02" * 32, 9, (7, 1))
