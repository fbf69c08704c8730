"""Which blocks and which transactions the chain admits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dev_chain import ENDOWMENT, OPEN, DevChain, account, keys
from hypothesis import given
from hypothesis import strategies as st

from node.client.signing import Scheme
from runtime import executive
from runtime.construct import CALLS, encode_call, genesis_state, storage_key
from runtime.frame.weights import BLOCK_WEIGHTS, MAX_LENGTH
from runtime.primitives.errors import (
    BlockReason,
    InvalidBlock,
    InvalidTransaction,
    TransactionReason,
)
from runtime.primitives.extrinsic import Immortal, Mortal, UncheckedExtrinsic, mortal
from runtime.primitives.header import Block, Header, Other
from runtime.primitives.keys import ss58_encode
from runtime.primitives.scale import compact_encode
from runtime.primitives.types import Ed25519Signature, Id, Index
from runtime.state.trie import ordered_root

ALICE, BOB = account("Alice"), account("Bob")
NEW = bytes([7]) * 32


def transfer(chain: DevChain, who: str = "Alice", **changes: object) -> bytes:
    arguments = {"dest": Id(BOB), "value": OPEN, **changes}
    return chain.sign(keys(who), "Balances", "transfer_keep_alive", **arguments)  # type: ignore[arg-type]


def refusal(chain: DevChain, extrinsic: bytes) -> TransactionReason:
    """Return why pool and block refuse an extrinsic; the block's state is as without it."""
    with pytest.raises(InvalidTransaction) as by_pool:
        executive.validate_transaction(chain.state, chain.head, extrinsic)
    built = chain.build([extrinsic])
    ((_, by_block),) = built.refused
    assert built.outcome == chain.build([]).outcome
    assert by_block.reason is by_pool.value.reason
    return by_pool.value.reason


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519", "ecdsa"])
def test_each_signature_scheme_moves_money(chain: DevChain, scheme: Scheme) -> None:
    pair = keys("Somebody", scheme)
    chain.submit(
        "Alice", "Balances", "transfer_keep_alive", dest=Id(pair.account_id), value=10 * OPEN
    )
    signed = chain.sign(pair, "Balances", "transfer_keep_alive", dest=Id(BOB), value=OPEN)
    valid = executive.validate_transaction(chain.state, chain.head, signed)
    assert (valid.requires, len(valid.provides), valid.propagate) == ((), 1, True)
    made = chain.make_block(signed)
    assert made.refused == ()
    assert chain.free("Bob") == ENDOWMENT + OPEN
    assert chain.runtime.system.account[pair.account_id].nonce == 1


@pytest.mark.parametrize("scheme", ["sr25519", "ed25519", "ecdsa"])
def test_a_signature_of_anything_else_is_refused(chain: DevChain, scheme: Scheme) -> None:
    pair = keys("Somebody", scheme)
    chain.submit(
        "Alice", "Balances", "transfer_keep_alive", dest=Id(pair.account_id), value=10 * OPEN
    )
    call = ("Balances", "transfer_keep_alive")
    arguments = {"dest": Id(BOB), "value": OPEN}
    good = chain.sign(pair, *call, **arguments)
    other_chain = chain.sign(pair, *call, genesis_hash=bytes(32), **arguments)
    other_rules = chain.sign(pair, *call, spec_version=9, **arguments)
    other_call = good[:-1] + bytes((good[-1] ^ 1,))
    for forged in (other_chain, other_rules, other_call):
        assert refusal(chain, forged) is TransactionReason.BAD_PROOF


def test_a_signature_under_another_scheme_is_refused(chain: DevChain) -> None:
    decoded = UncheckedExtrinsic.decode(transfer(chain))
    assert decoded.signed is not None
    forged = Ed25519Signature(decoded.signed.signature.value)  # type: ignore[arg-type]
    changed = replace(decoded, signed=replace(decoded.signed, signature=forged))
    assert refusal(chain, changed.encode()) is TransactionReason.BAD_PROOF


def test_a_nonce_is_used_once_and_in_order(chain: DevChain) -> None:
    first, second = transfer(chain, nonce=0), transfer(chain, nonce=1)
    made = chain.make_block(second, first, second, first)
    assert [r.reason for _, r in made.refused] == [
        TransactionReason.FUTURE,
        TransactionReason.STALE,
    ]
    assert chain.runtime.system.account[ALICE].nonce == 2
    assert refusal(chain, first) is TransactionReason.STALE


def test_a_nonce_ahead_waits_for_the_ones_before(chain: DevChain) -> None:
    valid = executive.validate_transaction(chain.state, chain.head, transfer(chain, nonce=2))
    number = (1).to_bytes(4, "little")
    assert valid.requires == (ALICE + number,)
    assert valid.provides == (ALICE + (2).to_bytes(4, "little"),)


def test_a_mortal_transaction_lives_in_its_era_only(chain: DevChain) -> None:
    chain.run_to_block(6)
    signed = transfer(chain, era=mortal(4, 6))  # blocks 6 to 9
    valid = executive.validate_transaction(chain.state, chain.head, signed)
    assert valid.longevity == 3
    chain.run_to_block(8)
    assert executive.validate_transaction(chain.state, chain.head, signed).longevity == 1
    chain.run_to_block(9)
    assert refusal(chain, signed) is TransactionReason.ANCIENT_BIRTH_BLOCK


def test_an_era_that_begins_later_is_refused(chain: DevChain) -> None:
    assert refusal(chain, transfer(chain, era=Mortal(64, 30))) is (
        TransactionReason.ANCIENT_BIRTH_BLOCK
    )
    assert (
        executive.validate_transaction(
            chain.state, chain.head, transfer(chain, era=Immortal())
        ).longevity
        == 2**64 - 1
    )


def test_who_cannot_pay_and_live_on_is_refused(chain: DevChain) -> None:
    call = {"dest": Id(NEW), "value": OPEN}
    chain.submit("Alice", "Balances", "transfer_keep_alive", **call)
    poor = keys("Poor")
    chain.submit("Alice", "Balances", "transfer_keep_alive", dest=Id(poor.account_id), value=10**15)
    broke = chain.sign(poor, "System", "remark", remark=b"")
    assert refusal(chain, broke) is TransactionReason.PAYMENT
    nobody = chain.sign(keys("Nobody"), "System", "remark", remark=b"")
    assert refusal(chain, nobody) is TransactionReason.PAYMENT
    assert refusal(chain, transfer(chain, tip=2**128 - 1)) is TransactionReason.PAYMENT


def test_only_account_ids_sign(chain: DevChain) -> None:
    decoded = UncheckedExtrinsic.decode(transfer(chain))
    assert decoded.signed is not None
    for address in (Index(1), Id(bytes(32))):
        changed = replace(decoded, signed=replace(decoded.signed, address=address))
        assert refusal(chain, changed.encode()) is TransactionReason.BAD_SIGNER


def test_a_call_that_does_not_decode_is_refused(chain: DevChain) -> None:
    decoded = UncheckedExtrinsic.decode(transfer(chain))
    for call in (b"", b"\xff\xff", decoded.call + b"\0", decoded.call[:-1], b"\x0a\x02\x01"):
        bad = replace(decoded, call=call).encode()
        assert refusal(chain, bad) is TransactionReason.CALL


def test_bytes_that_are_no_extrinsic_are_refused(chain: DevChain) -> None:
    good = transfer(chain)
    for bad in (b"", b"\x04", good + b"\0", good[:-1], compact_encode(2) + b"\x05\x00"):
        assert refusal(chain, bad) is TransactionReason.MALFORMED


@given(st.binary(max_size=200), st.booleans())
def test_garbage_never_breaks_a_block(body: bytes, signed: bool) -> None:
    chain = _SHARED
    extrinsic = compact_encode(len(body) + 1) + bytes((0x84 if signed else 0x04,)) + body
    built = chain.build([extrinsic])
    assert [refused for refused, _ in built.refused] == [extrinsic]


_SHARED = DevChain()


@given(st.integers(0, 400), st.integers(0, 255), st.integers(0, 400))
def test_a_damaged_transaction_is_refused_and_nothing_else_happens(
    at: int, byte: int, cut: int
) -> None:
    chain = _SHARED
    good = _GOOD
    damaged = bytearray(good[: max(1, cut)] if cut % 3 == 0 else good)
    damaged[at % len(damaged)] = byte
    if bytes(damaged) == good:
        return
    built = chain.build([bytes(damaged)])
    assert built.outcome == _EMPTY.outcome
    assert len(built.refused) == 1


_GOOD = _SHARED.sign(keys("Alice"), "Balances", "transfer_keep_alive", dest=Id(BOB), value=OPEN)
_EMPTY = _SHARED.build([])


def test_a_bare_extrinsic_that_is_no_inherent_is_refused(chain: DevChain) -> None:
    call = encode_call("System", "remark", remark=b"")
    assert refusal_reasons(chain, UncheckedExtrinsic(None, call).encode()) == {
        TransactionReason.CALL,
        TransactionReason.BAD_MANDATORY,
    }
    again = executive.timestamp_inherent(99_000)
    assert refusal_reasons(chain, again) == {
        TransactionReason.MANDATORY_VALIDATION,
        TransactionReason.BAD_MANDATORY,
    }


def refusal_reasons(chain: DevChain, extrinsic: bytes) -> set[TransactionReason]:
    with pytest.raises(InvalidTransaction) as by_pool:
        executive.validate_transaction(chain.state, chain.head, extrinsic)
    ((_, by_block),) = chain.build([extrinsic]).refused
    return {by_pool.value.reason, by_block.reason}


@pytest.mark.parametrize("call", [b"", b"\x0a\x02\x01", b"\x0a\x02", b"\x01\x00\xfd", b"\x01\x00"])
def test_a_truncated_inherent_is_an_invalid_block_and_no_crash(
    chain: DevChain, call: bytes
) -> None:
    inherent = UncheckedExtrinsic(None, call).encode()
    with pytest.raises(InvalidBlock) as refused:
        executive.apply_block(chain.head, chain.state, forged(chain, inherent))
    assert refused.value.reason is BlockReason.INVALID_EXTRINSIC


def forged(chain: DevChain, *extrinsics: bytes, **header: object) -> Block:
    """Return a block whose header is as it should be, but for what the caller changes."""
    built = chain.build([])
    root = ordered_root(extrinsics, 0)
    changed = replace(built.block.header, **{"extrinsics_root": root, **header})  # type: ignore[arg-type]
    return Block(changed, extrinsics)


def reason_of(chain: DevChain, block: Block) -> BlockReason:
    root = chain.state.root
    with pytest.raises(InvalidBlock) as refused:
        executive.apply_block(chain.head, chain.state, block)
    assert chain.state.root == root
    return refused.value.reason


def test_a_block_that_lies_is_refused(chain: DevChain) -> None:
    chain.make_block()
    good = chain.build([transfer(chain)]).block
    time, paid = good.extrinsics
    executive.apply_block(chain.head, chain.state, good)

    def with_header(**changes: object) -> Block:
        return replace(good, header=replace(good.header, **changes))  # type: ignore[arg-type]

    assert reason_of(chain, with_header(parent_hash=bytes(32))) is BlockReason.WRONG_PARENT
    assert reason_of(chain, with_header(number=7)) is BlockReason.WRONG_NUMBER
    assert reason_of(chain, with_header(state_root=bytes(32))) is BlockReason.WRONG_STATE_ROOT
    assert reason_of(chain, with_header(extrinsics_root=bytes(32))) is (
        BlockReason.WRONG_EXTRINSICS_ROOT
    )
    assert reason_of(chain, with_header(digest=())) is BlockReason.WRONG_DIGEST
    twice = good.header.digest * 2
    assert reason_of(chain, with_header(digest=twice)) is BlockReason.WRONG_DIGEST
    assert reason_of(chain, with_header(digest=chain.digest(leader=4))) is BlockReason.WRONG_DIGEST
    other = (*good.header.digest, Other(b"x"))
    assert reason_of(chain, with_header(digest=other)) is BlockReason.WRONG_DIGEST
    invalid = BlockReason.INVALID_EXTRINSIC
    assert reason_of(chain, forged(chain)) is BlockReason.MISSING_INHERENT
    assert reason_of(chain, forged(chain, paid)) is invalid
    assert reason_of(chain, forged(chain, paid, time)) is invalid
    assert reason_of(chain, forged(chain, time, time)) is invalid
    assert reason_of(chain, forged(chain, time, paid, paid)) is invalid
    assert reason_of(chain, forged(chain, executive.timestamp_inherent(1000))) is invalid


def test_a_block_has_a_greatest_length(chain: DevChain) -> None:
    time = executive.timestamp_inherent(1000)
    body = bytes(MAX_LENGTH)
    large = compact_encode(len(body)) + body
    assert reason_of(chain, forged(chain, time, large)) is BlockReason.TOO_HEAVY
    half = bytes(MAX_LENGTH * 2 // 5)
    remarks = [
        chain.sign(keys(who), "System", "remark", remark=half) for who in ("Alice", "Bob", "Eve")
    ]
    made = chain.make_block(*remarks)
    assert len(made.block.extrinsics) == 3
    assert made.refused == ()  # what does not fit waits


def test_a_state_of_other_rules_is_not_executed(chain: DevChain) -> None:
    key = storage_key("System", "LastRuntimeUpgrade")
    found = chain.state.get(key)
    assert found is not None
    chain.state.apply({key: b"\x08" + found[1:]})
    with pytest.raises(InvalidBlock) as refused:
        chain.build([])
    assert refused.value.reason is BlockReason.UNKNOWN_RUNTIME


def test_a_full_block_leaves_the_rest_for_the_next(chain: DevChain) -> None:
    many = [
        chain.sign(keys("Alice"), "Balances", "transfer_keep_alive", nonce=n, dest=Id(BOB), value=1)
        for n in range(5)
    ]
    asked = iter([False, False, True])
    built = executive.build_block(
        chain.head,
        chain.state,
        timestamp=1000,
        digest=chain.digest(),
        candidates=many,
        full=lambda: next(asked),
    )
    assert len(built.block.extrinsics) == 3


def test_weight_bounds_what_a_block_takes(chain: DevChain) -> None:
    remark = CALLS.make("Balances", "transfer_keep_alive", dest=Id(BOB), value=1)
    heavy = tuple([remark] * 600)
    signed = [
        chain.sign(keys(who), "Utility", "batch", calls=heavy)
        for who in ("Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie")
    ]
    made = chain.make_block(*signed)
    assert 1 < len(made.block.extrinsics) < 7
    assert made.refused == ()
    rest = [e for e in signed if e not in made.block.extrinsics]
    assert chain.make_block(*rest).refused == ()


def test_a_call_too_heavy_for_any_block_is_refused(chain: DevChain) -> None:
    inner = CALLS.make("Balances", "transfer_keep_alive", dest=Id(BOB), value=1)
    signed = chain.sign(keys("Alice"), "Utility", "batch", calls=(inner,) * 4000)
    with pytest.raises(InvalidTransaction) as refused:
        executive.validate_transaction(chain.state, chain.head, signed)
    assert refused.value.reason is TransactionReason.EXHAUSTS_RESOURCES


def test_the_heaviest_call_that_is_admitted_fits_in_a_block(chain: DevChain) -> None:
    inner = CALLS.make("Balances", "transfer_keep_alive", dest=Id(BOB), value=1)
    limit = BLOCK_WEIGHTS.per_class.normal.max_extrinsic
    assert limit is not None
    one = CALLS.weight(inner)
    batch = CALLS.weight(CALLS.make("Utility", "batch", calls=()))
    most = min(
        (limit.ref_time - batch.ref_time) // one.ref_time,
        (limit.proof_size - batch.proof_size) // one.proof_size,
    )
    signed = chain.sign(keys("Alice"), "Utility", "batch", calls=(inner,) * most)
    executive.validate_transaction(chain.state, chain.head, signed)
    assert len(chain.make_block(signed).block.extrinsics) == 2
    above = chain.sign(keys("Alice"), "Utility", "batch", calls=(inner,) * (most + 1))
    assert refused_by_pool(chain, above) is TransactionReason.EXHAUSTS_RESOURCES


def refused_by_pool(chain: DevChain, extrinsic: bytes) -> TransactionReason:
    with pytest.raises(InvalidTransaction) as refused:
        executive.validate_transaction(chain.state, chain.head, extrinsic)
    return refused.value.reason


def test_tips_raise_the_priority(chain: DevChain) -> None:
    plain, tipped = (
        executive.validate_transaction(chain.state, chain.head, transfer(chain, tip=tip)).priority
        for tip in (0, OPEN)
    )
    assert tipped > plain


def test_genesis_refuses_pallets_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="staking"):
        genesis_state({"staking": {}})


def test_a_genesis_header_commits_to_nothing_but_the_state() -> None:
    header = executive.genesis_header(bytes([3]) * 32)
    assert header == Header(bytes(32), 0, bytes([3]) * 32, ordered_root((), 0), ())


def test_addresses_in_a_genesis_are_ss58() -> None:
    state = genesis_state({"balances": {"balances": [[ss58_encode(NEW), "1000000000000000"]]}})
    assert storage_key("System", "Account", NEW) in state


def test_the_time_of_a_block_is_read_from_its_first_extrinsic(chain: DevChain) -> None:
    made = chain.make_block(transfer(chain), timestamp=12_345)
    time, paid = made.block.extrinsics
    assert executive.block_time(made.block) == executive.timestamp(chain.state) == 12_345
    remark = UncheckedExtrinsic(None, encode_call("System", "remark", remark=b"")).encode()
    for extrinsics in ((), (paid, time), (remark,), (b"",), (b"\x04\x04",), (time[:-1],)):
        assert executive.block_time(replace(made.block, extrinsics=extrinsics)) is None
