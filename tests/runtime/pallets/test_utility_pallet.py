from __future__ import annotations

import pytest
from dev_chain import ENDOWMENT, ROOT, DevChain, account, keys

from runtime.construct import CALLS, decode_call, encode_call
from runtime.frame.calls import MAX_CALL_DEPTH, MAX_INNER_CALLS, Call
from runtime.frame.errors import DispatchError, Module, ModuleError, Token, TokenError
from runtime.frame.origin import Unsigned
from runtime.pallets.balances.pallet import Transfer
from runtime.pallets.utility.pallet import (
    MAX_CALLS,
    BatchCompleted,
    BatchCompletedWithErrors,
    BatchInterrupted,
    Error,
    ItemCompleted,
    ItemFailed,
)
from runtime.primitives.errors import DispatchFailure
from runtime.primitives.scale import DecodeError, compact_encode
from runtime.primitives.types import Id, Weight

ALICE, BOB = account("Alice"), account("Bob")
FAILURE = Token(TokenError.FUNDS_UNAVAILABLE)
BATCHES = ("batch", "batch_all", "force_batch")


def pay(value: int) -> Call:
    return CALLS.make("Balances", "transfer_keep_alive", dest=Id(BOB), value=value)


GOOD, BAD = pay(5), pay(2 * ENDOWMENT)


def test_a_batch_stops_at_the_first_failure_and_keeps_what_was_done(chain: DevChain) -> None:
    made = chain.call("Alice", "Utility", "batch", calls=(GOOD, BAD, GOOD))
    assert made == [Transfer(ALICE, BOB, 5), ItemCompleted(), BatchInterrupted(1, FAILURE)]
    assert chain.free("Bob") == ENDOWMENT + 5


def test_batch_all_makes_every_call_or_none(chain: DevChain) -> None:
    chain.assert_refused(
        TokenError.FUNDS_UNAVAILABLE, "Alice", "Utility", "batch_all", calls=(GOOD, BAD, GOOD)
    )
    made = chain.call("Alice", "Utility", "batch_all", calls=(GOOD, GOOD))
    paid = [Transfer(ALICE, BOB, 5), ItemCompleted()]
    assert made == [*paid, *paid, BatchCompleted()]


def test_force_batch_tries_every_call(chain: DevChain) -> None:
    made = chain.call("Alice", "Utility", "force_batch", calls=(GOOD, BAD, GOOD))
    paid = [Transfer(ALICE, BOB, 5), ItemCompleted()]
    assert made == [*paid, ItemFailed(FAILURE), *paid, BatchCompletedWithErrors()]
    made = chain.call("Alice", "Utility", "force_batch", calls=())
    assert made == [BatchCompleted()]


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_made_as_its_signer_and_never_as_more(chain: DevChain, name: str) -> None:
    forced = CALLS.make("Balances", "force_transfer", source=Id(BOB), dest=Id(ALICE), value=1)
    sudo = CALLS.make("Sudo", "sudo", call=forced)
    before = chain.free("Bob")
    for inner in (forced, sudo):
        try:
            chain.call("Bob", "Utility", name, calls=(inner,))
        except DispatchFailure:
            assert name == "batch_all"
    assert chain.free("Bob") == before
    for origin in (ROOT, Unsigned()):
        chain.assert_refused(DispatchError.BAD_ORIGIN, origin, "Utility", name, calls=())


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_holds_a_bounded_number_of_calls(chain: DevChain, name: str) -> None:
    remark = CALLS.make("System", "remark", remark=b"")
    chain.call("Alice", "Utility", name, calls=(remark,) * MAX_CALLS)
    chain.assert_refused(
        Error.TOO_MANY_CALLS, "Alice", "Utility", name, calls=(remark,) * (MAX_CALLS + 1)
    )


def nested(depth: int, outer: str = "batch") -> bytes:
    call = CALLS.make("System", "remark", remark=b"")
    for _ in range(depth - 1):
        call = CALLS.make("Utility", outer, calls=(call,))
    return CALLS.encode(call)


@pytest.mark.parametrize("outer", BATCHES)
def test_calls_nest_to_a_fixed_depth(outer: str) -> None:
    assert decode_call(nested(MAX_CALL_DEPTH, outer)).pallet == "Utility"
    with pytest.raises(DecodeError, match="nested deeper"):
        decode_call(nested(MAX_CALL_DEPTH + 1, outer))
    assert decode_call(nested(MAX_CALL_DEPTH, outer)).pallet == "Utility"


def test_hostile_nesting_costs_nothing_but_its_bytes() -> None:
    prefix = encode_call("Utility", "batch", calls=(GOOD,))[:3]
    with pytest.raises(DecodeError, match="nested deeper"):
        decode_call(prefix * 100_000)


def test_an_inner_batch_that_fails_undoes_only_itself(chain: DevChain) -> None:
    inner = CALLS.make("Utility", "batch_all", calls=(GOOD, BAD))
    made = chain.call("Alice", "Utility", "force_batch", calls=(GOOD, inner))
    assert made[-2:] == [ItemFailed(FAILURE), BatchCompletedWithErrors()]
    assert chain.free("Bob") == ENDOWMENT + 5


def test_errors_of_pallets_are_told_by_index(chain: DevChain) -> None:
    accept = CALLS.make("Datanets", "accept", datanet=9, batch=0)
    made = chain.call("Alice", "Utility", "batch", calls=(accept,))
    assert made == [BatchInterrupted(0, Module(ModuleError(10, bytes(4))))]


def test_a_batch_weighs_at_least_what_its_calls_weigh() -> None:
    batch = CALLS.make("Utility", "batch", calls=(GOOD, GOOD))
    one = CALLS.weight(GOOD)
    both = Weight(2 * one.ref_time, 2 * one.proof_size)
    weight = CALLS.weight(batch)
    assert (weight.ref_time > both.ref_time, weight.proof_size >= both.proof_size) == (True, True)


def test_a_failed_batch_in_a_block_costs_its_fee_and_nothing_else(chain: DevChain) -> None:
    made = chain.make_block(chain.sign(keys("Alice"), "Utility", "batch_all", calls=(GOOD, BAD)))
    (failed,) = made.named("ExtrinsicFailed")
    assert failed.dispatch_error == FAILURE
    assert chain.free("Bob") == ENDOWMENT
    assert made.named("ItemCompleted") == []


def test_calls_inside_a_call_are_counted_at_all_depths() -> None:
    remark = encode_call("System", "remark", remark=b"")
    prefix = encode_call("Utility", "batch", calls=())[:2]
    half = prefix + compact_encode(MAX_INNER_CALLS // 2 - 1) + remark * (MAX_INNER_CALLS // 2 - 1)
    assert decode_call(prefix + compact_encode(2) + half * 2).pallet == "Utility"
    with pytest.raises(DecodeError, match=f"more than {MAX_INNER_CALLS} calls"):
        decode_call(prefix + compact_encode(3) + half * 2 + remark)
    assert decode_call(prefix + compact_encode(2) + half * 2).pallet == "Utility"
