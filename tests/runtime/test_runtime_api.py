"""Runtime calls: what the node answers from a state without a transaction."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b

import pytest
from dev_chain import OPEN, DevChain, account, keys

from runtime import executive
from runtime.api import pallet_constants
from runtime.construct import encode_call
from runtime.frame.dispatch_info import DispatchClass
from runtime.frame.metadata_schema import MetadataV16, decode_metadata
from runtime.frame.runtime_api import ApiArgumentError, UnknownApi
from runtime.pallets.system import System
from runtime.pallets.transaction_payment.types import FeeDetails, RuntimeDispatchInfo
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.scale import U32, U128, decode, encode
from runtime.primitives.types import Id, Weight
from runtime.primitives.version import RUNTIME_VERSION, RuntimeVersion, offered_version

BOB = account("Bob")


def ask(chain: DevChain, method: str, data: bytes = b"") -> bytes:
    return executive.call_api(chain.state, chain.head, method, data)


def signed(chain: DevChain, tip: int = 0) -> bytes:
    return chain.sign(
        keys("Alice"), "Balances", "transfer_keep_alive", dest=Id(BOB), value=OPEN, tip=tip
    )


def test_the_version_is_that_of_the_rules(chain: DevChain) -> None:
    version = decode(RuntimeVersion, ask(chain, "Core_version"))
    assert version == offered_version()
    assert replace(version, apis=()) == RUNTIME_VERSION


def test_the_version_lists_every_api_under_the_hash_of_its_name(chain: DevChain) -> None:
    version = decode(RuntimeVersion, ask(chain, "Core_version"))
    described = decode_metadata(executive.metadata(16) or b"")
    assert isinstance(described, MetadataV16)
    assert version.apis == tuple(
        (blake2b(api.name.encode(), digest_size=8).digest(), api.version) for api in described.apis
    )
    assert (bytes.fromhex("37e397fc7c91f5e4"), 2) in version.apis  # Metadata, as pjs looks it up


def test_the_constant_that_clients_read_is_that_version() -> None:
    values = {c.name: c.value for c in pallet_constants(System)}
    assert values["Version"] == offered_version()


def test_every_described_method_is_served(chain: DevChain) -> None:
    described = decode_metadata(executive.metadata(16) or b"")
    assert isinstance(described, MetadataV16)
    for api in described.apis:
        for method in api.methods:
            with suppress(ApiArgumentError):
                ask(chain, f"{api.name}_{method.name}")


def test_metadata_is_offered_in_the_versions_it_has(chain: DevChain) -> None:
    metadata = decode(bytes, ask(chain, "Metadata_metadata"))
    assert metadata == executive.metadata(14)
    versions = decode(tuple[U32, ...], ask(chain, "Metadata_metadata_versions"))
    assert versions == (14, 15, 16)
    for version in range(20):
        found = decode(
            bytes | None, ask(chain, "Metadata_metadata_at_version", encode(U32, version))
        )
        assert found == executive.metadata(version)
        assert (found is not None) == (version in versions)


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


def test_a_call_is_priced_as_in_the_transaction_that_carries_it(chain: DevChain) -> None:
    extrinsic = signed(chain)
    length = encode(U32, len(extrinsic))
    call = encode_call("Balances", "transfer_keep_alive", dest=Id(BOB), value=OPEN)
    for method in ("info", "fee_details"):
        of_call = ask(chain, f"TransactionPaymentCallApi_query_call_{method}", call + length)
        assert of_call == ask(chain, f"TransactionPaymentApi_query_{method}", extrinsic + length)


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
