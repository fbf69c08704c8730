"""Runtime calls: what the node answers from a state without a transaction."""

from __future__ import annotations

import pytest
from dev_chain import OPEN, DevChain, account, keys

from runtime import executive
from runtime.construct import encode_call
from runtime.frame.dispatch_info import DispatchClass
from runtime.frame.runtime_api import ApiArgumentError, UnknownApi
from runtime.pallets.transaction_payment.types import FeeDetails, RuntimeDispatchInfo
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.scale import U32, U128, decode, encode
from runtime.primitives.types import Id, Weight
from runtime.primitives.version import RUNTIME_VERSION, RuntimeVersion

BOB = account("Bob")


def ask(chain: DevChain, method: str, data: bytes = b"") -> bytes:
    return executive.call_api(chain.state, chain.head, method, data)


def signed(chain: DevChain, tip: int = 0) -> bytes:
    return chain.sign(
        keys("Alice"), "Balances", "transfer_keep_alive", dest=Id(BOB), value=OPEN, tip=tip
    )


def test_the_version_is_that_of_the_rules(chain: DevChain) -> None:
    assert decode(RuntimeVersion, ask(chain, "Core_version")) == RUNTIME_VERSION


def test_metadata_is_offered_in_the_versions_it_has(chain: DevChain) -> None:
    metadata = decode(bytes, ask(chain, "Metadata_metadata"))
    assert metadata == executive.metadata_v14()
    versions = decode(tuple[U32, ...], ask(chain, "Metadata_metadata_versions"))
    for version in range(20):
        found = decode(
            bytes | None, ask(chain, "Metadata_metadata_at_version", encode(U32, version))
        )
        assert (found is not None) == (version in versions)
        if version == 14:
            assert found == metadata


def test_the_nonce_is_the_next_one(chain: DevChain) -> None:
    for nonce in range(2):
        answer = ask(chain, "AccountNonceApi_account_nonce", account("Alice"))
        assert decode(U32, answer) == nonce
        chain.submit("Alice", "System", "remark", remark=b"")


def test_a_fee_is_foretold_exactly(chain: DevChain) -> None:
    extrinsic = signed(chain, tip=77)
    arguments = extrinsic + encode(U32, len(extrinsic))
    info = decode(RuntimeDispatchInfo, ask(chain, "TransactionPaymentApi_query_info", arguments))
    details = decode(FeeDetails, ask(chain, "TransactionPaymentApi_query_fee_details", arguments))
    made = chain.make_block(extrinsic)
    ((paid),) = made.named("TransactionFeePaid")
    parts = details.inclusion_fee
    assert info.partial_fee == parts.base_fee + parts.len_fee + parts.adjusted_weight_fee
    assert paid.actual_fee == info.partial_fee + 77
    assert (info.class_, details.tip) == (DispatchClass.NORMAL, 77)


def test_a_bare_extrinsic_costs_nothing(chain: DevChain) -> None:
    extrinsic = executive.timestamp_inherent(5)
    arguments = extrinsic + encode(U32, len(extrinsic))
    details = decode(FeeDetails, ask(chain, "TransactionPaymentApi_query_fee_details", arguments))
    assert details == FeeDetails(None, 0)


def test_lengths_and_weights_have_prices(chain: DevChain) -> None:
    one = decode(U128, ask(chain, "TransactionPaymentApi_query_length_to_fee", encode(U32, 1)))
    ten = decode(U128, ask(chain, "TransactionPaymentApi_query_length_to_fee", encode(U32, 10)))
    assert ten == 10 * one > 0
    weight = encode(Weight, Weight(10**9, 0))
    assert decode(U128, ask(chain, "TransactionPaymentApi_query_weight_to_fee", weight)) > 0


def test_a_transaction_is_validated_as_the_pool_does(chain: DevChain) -> None:
    good = signed(chain)
    answer = ask(chain, "TaggedTransactionQueue_validate_transaction", b"\x02" + good + bytes(32))
    valid = executive.validate_transaction(chain.state, chain.head, good)
    assert answer == b"\x00" + encode(executive.ValidTransaction, valid)
    bad = chain.sign(keys("Nobody"), "Balances", "transfer_keep_alive", dest=Id(BOB), value=OPEN)
    answer = ask(chain, "TaggedTransactionQueue_validate_transaction", b"\x02" + bad + bytes(32))
    assert answer == b"\x01\x00\x01"  # Err(Invalid(Payment))


@pytest.mark.parametrize("method", ["Core_nothing", "", "metadata"])
def test_an_unknown_call_is_named(chain: DevChain, method: str) -> None:
    with pytest.raises(UnknownApi):
        ask(chain, method)


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("AccountNonceApi_account_nonce", bytes(31)),
        ("Metadata_metadata_at_version", b"\x0e"),
        ("TransactionPaymentApi_query_info", b""),
        ("TransactionPaymentApi_query_info", b"\x04"),
        ("TransactionPaymentApi_query_info", b"\x04\x84" + bytes(4)),
        ("TransactionPaymentApi_query_weight_to_fee", b"\x00"),
        ("TaggedTransactionQueue_validate_transaction", b""),
        ("TaggedTransactionQueue_validate_transaction", b"\x02\x04\x04"),
    ],
)
def test_arguments_that_do_not_decode_are_refused(
    chain: DevChain, method: str, data: bytes
) -> None:
    with pytest.raises(ApiArgumentError):
        ask(chain, method, data)


def test_a_call_inside_an_extrinsic_must_be_whole(chain: DevChain) -> None:
    call = encode_call("System", "remark", remark=b"abc")
    cut = UncheckedExtrinsic(None, call[:-1]).encode()
    with pytest.raises(ApiArgumentError):
        ask(chain, "TransactionPaymentApi_query_info", cut + encode(U32, len(cut)))
