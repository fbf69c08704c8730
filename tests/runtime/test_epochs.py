"""Epochs in blocks: which header ends one, and which claims an epoch admits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, keys, seated
from hypothesis import given
from hypothesis import strategies as st

from runtime import executive
from runtime.pallets.session.types import Activity, authorities_of
from runtime.primitives.digest import (
    ENGINE_ID,
    Authority,
    NextEpoch,
    PreDigest,
    find_next_epoch,
    next_epoch_item,
    pre_digest_item,
)
from runtime.primitives.errors import BlockReason, InvalidBlock
from runtime.primitives.hashing import blake2_256
from runtime.primitives.header import Block, Consensus, DigestItem, Other
from runtime.primitives.leaders import leader_of

NAMES = ("Alice", "Bob", "Charlie")
WEIGHTS = [10**12] * 3


@pytest.fixture
def trio() -> DevChain:
    """Return a chain of three validators whose epochs have four blocks."""
    return DevChain(session=seated(*NAMES, epoch_length=4))


def members(*names: str) -> tuple[Authority, ...]:
    return tuple(Authority(keys(n, "ed25519").public, WEIGHTS[0]) for n in names)


def test_the_first_epoch_is_read_from_genesis(trio: DevChain) -> None:
    assert executive.current_epoch(trio.state) == NextEpoch(0, members(*NAMES), bytes(32))


def test_the_last_block_of_an_epoch_announces_the_next(trio: DevChain) -> None:
    for number in range(1, 13):
        made = trio.make_block()
        announced = find_next_epoch(made.block.header.digest)
        following = executive.current_epoch(trio.state)
        if number % 4:
            assert len(made.block.header.digest) == 1
            assert following.epoch == number // 4
            continue
        seed = trio.runtime.session.mix.get()
        assert announced == following == NextEpoch(number // 4, members(*NAMES), seed)
        ((event),) = made.named("NewEpoch")
        assert (event.epoch, event.validators) == (number // 4, 3)


def test_the_runtimes_item_is_in_the_digest_that_the_state_keeps(trio: DevChain) -> None:
    trio.run_to_block(3)
    built = trio.build([])
    trio.state.apply(built.outcome.changes)
    key = trio.runtime.system.digest.key()
    raw = trio.state.get(key)
    assert raw is not None
    assert trio.runtime.system.digest.decode_value(raw).logs == built.block.header.digest
    assert len(built.block.header.digest) == 2


def test_the_seed_is_the_mix_after_the_boundary_and_orders_the_leaders(trio: DevChain) -> None:
    mixed = bytes(32)
    for number in range(1, 5):
        mixed = blake2_256(mixed + number.to_bytes(4, "little") * 16)
        trio.make_block()
    epoch = executive.current_epoch(trio.state)
    assert epoch.seed == mixed
    claim = trio.claim(skip=0)
    assert (claim.view, claim.leader) == (
        1,
        leader_of(mixed, 1, WEIGHTS),
    )


def lies_about_the_end(good: NextEpoch) -> list[tuple[DigestItem, ...]]:
    """Return what a header at a boundary may not have behind the leader's claim."""
    right = next_epoch_item(good)
    return [
        (),
        (right, right),
        (right, Other(b"")),
        (Other(b""), right),
        (next_epoch_item(replace(good, epoch=good.epoch + 1)),),
        (next_epoch_item(replace(good, seed=bytes(32))),),
        (next_epoch_item(replace(good, authorities=good.authorities[:2])),),
        (next_epoch_item(replace(good, authorities=good.authorities[::-1])),),
        (Consensus(ENGINE_ID, b""),),
        (Consensus(b"ABCD", right.data),),
    ]


def reason_of(chain: DevChain, block: Block) -> BlockReason:
    before = chain.state.root
    with pytest.raises(InvalidBlock) as refused:
        executive.apply_block(chain.head, chain.state, block)
    assert chain.state.root == before
    return refused.value.reason


def test_a_header_that_lies_about_the_end_of_an_epoch_is_refused(trio: DevChain) -> None:
    trio.run_to_block(3)
    good = trio.build([]).block
    announced = find_next_epoch(good.header.digest)
    assert announced is not None
    for items in lies_about_the_end(announced):
        digest = (good.header.digest[0], *items)
        block = replace(good, header=replace(good.header, digest=digest))
        assert reason_of(trio, block) is BlockReason.WRONG_DIGEST
    backwards = replace(good.header, digest=good.header.digest[::-1])
    assert reason_of(trio, replace(good, header=backwards)) is BlockReason.WRONG_DIGEST
    executive.apply_block(trio.head, trio.state, good)


def test_no_other_block_ends_an_epoch(trio: DevChain) -> None:
    for _ in range(3):
        good = trio.build([]).block
        epoch = executive.current_epoch(trio.state)
        early = next_epoch_item(replace(epoch, epoch=epoch.epoch + 1))
        header = replace(good.header, digest=(*good.header.digest, early))
        assert reason_of(trio, replace(good, header=header)) is BlockReason.WRONG_DIGEST
        trio.make_block()


def test_a_leader_may_add_nothing_to_the_digest(trio: DevChain) -> None:
    claim = pre_digest_item(trio.claim())
    for digest in ((), (claim, claim), (claim, Other(b"")), (Other(b""),)):
        with pytest.raises(InvalidBlock) as refused:
            executive.build_block(
                trio.head,
                trio.state,
                timestamp=1000,
                digest=digest,
                candidates=(),
                full=lambda: False,
            )
        assert refused.value.reason is BlockReason.WRONG_DIGEST


Change = Callable[[PreDigest], PreDigest]


def changed(**fields: Any) -> Change:
    return lambda claim: replace(claim, **fields)


def another_leader(claim: PreDigest) -> PreDigest:
    return replace(claim, leader=(claim.leader + 1) % 3)


def other_views_leader(claim: PreDigest) -> PreDigest:
    view = claim.view
    while leader_of(bytes(32), view, WEIGHTS) == claim.leader:
        view += 1
    return replace(claim, view=view)


@pytest.mark.parametrize(
    "change",
    [
        changed(epoch=1),
        changed(leader=3),
        another_leader,
        other_views_leader,
        changed(view=0),
        changed(parent_view=0, parent_signers=b""),
        changed(parent_view=0),
        lambda claim: replace(claim, parent_view=claim.view),
        changed(parent_signers=b""),
        changed(parent_signers=b"\x07\x00"),
        changed(parent_signers=b"\x0f"),
    ],
)
def test_a_claim_that_does_not_fit_its_epoch_is_refused(trio: DevChain, change: Change) -> None:
    trio.run_to_block(2)
    good = trio.claim()
    trio.build([], claim=good)
    with pytest.raises(InvalidBlock) as refused:
        trio.build([], claim=change(good))
    assert refused.value.reason is BlockReason.WRONG_DIGEST
    assert refused.value.detail


@pytest.mark.parametrize(
    "change",
    [
        changed(epoch=0),
        changed(parent_signers=b"\x07"),
        changed(parent_view=1, view=9, parent_signers=b"\x07"),
    ],
)
def test_the_first_block_of_an_epoch_follows_view_zero(trio: DevChain, change: Change) -> None:
    trio.run_to_block(4)
    good = trio.claim()
    assert (good.epoch, good.parent_view, good.parent_signers) == (1, 0, b"")
    with pytest.raises(InvalidBlock) as refused:
        trio.build([], claim=change(good))
    assert refused.value.reason is BlockReason.WRONG_DIGEST
    assert trio.make_block(claim=good).block.header.number == 5


def test_who_takes_part_is_counted(trio: DevChain) -> None:
    claims = (
        _made(trio, skip=2),
        _made(trio, skip=0, signers=(0, 2)),
        _made(trio, skip=3, signers=(2,)),
    )
    missed, made = [0, 0, 0], [0, 0, 0]
    for claim in claims:
        made[claim.leader] += 1
        for view in range(claim.parent_view + 1, claim.view):
            missed[leader_of(bytes(32), view, WEIGHTS)] += 1
    assert sum(missed) == 5
    expected = Activity(2, (1, 0, 2), tuple(missed), tuple(made))
    assert trio.runtime.session.activity[0] == expected
    trio.run_to_block(5)
    assert trio.runtime.session.activity[0].blocks == 3
    assert trio.runtime.session.activity[1].blocks == 0
    assert sum(trio.runtime.session.activity[1].made) == 1


def _made(chain: DevChain, **wishes: Any) -> PreDigest:
    claim = chain.claim(**wishes)
    chain.make_block(claim=claim)
    return claim


def test_a_block_accounts_for_a_bounded_number_of_skipped_views(trio: DevChain) -> None:
    _made(trio, skip=300)
    assert sum(trio.runtime.session.activity[0].missed) == 256


def test_who_attested_less_than_a_third_is_named_when_the_epoch_ends() -> None:
    chain = DevChain(session=seated(*NAMES, epoch_length=7))
    for number in range(1, 8):
        signers = [0] + [1] * (number in (2, 3)) + [2] * (number == 4)
        made = chain.make_block(claim=chain.claim(signers=signers))
        if number < 7:
            assert made.named("Offline") == []
    ((absent),) = made.named("Offline")
    assert (absent.epoch, absent.validators) == (0, (account("Charlie"),))
    for _ in range(7):
        made = chain.make_block()
        assert made.named("Offline") == []


def test_activity_is_kept_for_a_few_epochs() -> None:
    chain = DevChain(session=seated("Alice", epoch_length=1))
    chain.run_to_block(12)
    kept = sorted(epoch for epoch, _ in chain.runtime.session.activity.items())
    assert kept == list(range(4, 13))


@given(st.integers(1, 5), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_epochs_have_equal_lengths_whatever_views_are_skipped(
    length: int, skips: list[int]
) -> None:
    chain = DevChain(session=seated(*NAMES, epoch_length=length))
    for number, skip in enumerate(skips, 1):
        made = chain.make_block(claim=chain.claim(skip=skip))
        ended = find_next_epoch(made.block.header.digest)
        assert (ended is not None) == (number % length == 0)
        session = chain.runtime.session
        assert session.current_index.get() == number // length
        assert session.epoch_start.get() == number // length * length + 1
        assert session.authorities.get() == authorities_of(session.members.get())
