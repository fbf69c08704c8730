"""A dry run tells what the next block makes of an extrinsic, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from dev_chain import ENDOWMENT, OPEN, DevChain, account, keys

from runtime import executive
from runtime.apis.dry_run import DryRun
from runtime.apis.error_names import named_error
from runtime.construct import CALLS, EVENTS, PALLETS
from runtime.frame.errors import Arithmetic, ArithmeticReason, BadOrigin, Module, ModuleError
from runtime.frame.pallet import errors
from runtime.primitives.scale import compact_encode, decode, encode
from runtime.primitives.types import Id

BOB = account("Bob")


def dry(chain: DevChain, extrinsic: bytes) -> DryRun:
    answer = executive.call_api(
        chain.state, chain.head, "DryRunApi_dry_run_extrinsic", encode(bytes, extrinsic)
    )
    found: DryRun = decode(DryRun, answer)
    return found


def transfer(chain: DevChain, value: int, who: str = "Alice", **more: Any) -> bytes:
    return chain.sign(
        keys(who), "Balances", "transfer_keep_alive", dest=Id(BOB), value=value, **more
    )


@pytest.mark.parametrize("blocks", [0, 1, 4])
def test_a_dry_run_foretells_the_block(blocks: int) -> None:
    chain = DevChain(session={**DevChain().config["session"], "epoch_length": 3})
    for _ in range(blocks):
        chain.make_block()
    extrinsic = transfer(chain, OPEN, tip=5)
    root = chain.state.root
    foretold = dry(chain, extrinsic)
    assert chain.state.root == root
    assert (foretold.applied, foretold.refusal, foretold.error) == (b"\x00\x00", None, None)
    made = chain.make_block(extrinsic)
    assert foretold.fee == made.named("TransactionFeePaid")[0].actual_fee
    assert foretold.weight == made.named("ExtrinsicSuccess")[-1].dispatch_info.weight
    events = EVENTS.decode(compact_encode(len(foretold.events)) + b"".join(foretold.events))
    assert events == tuple(record for record in made.events if record.extrinsic == 1)


def test_a_failing_call_is_charged_and_named(chain: DevChain) -> None:
    foretold = dry(chain, transfer(chain, ENDOWMENT * 2))
    assert foretold.refusal is None
    assert foretold.error is not None
    assert (foretold.error.pallet, foretold.error.name) == ("Token", "FundsUnavailable")
    assert foretold.error.text
    assert foretold.applied[:2] == b"\x00\x01"
    assert foretold.fee > 0


def test_an_error_of_a_pallet_is_named_with_its_text(chain: DevChain) -> None:
    extrinsic = chain.sign(
        keys("Bob"), "Sudo", "sudo", call=CALLS.make("System", "remark", remark=b"")
    )
    error = dry(chain, extrinsic).error
    assert error is not None
    assert error.pallet == "Sudo"
    assert error.text


def test_every_error_of_every_pallet_has_a_name_and_a_text() -> None:
    for pallet in PALLETS:
        if pallet.Error is None:
            continue
        for index, info in errors(pallet).items():
            value = Module(ModuleError(pallet.INDEX, bytes((index, 0, 0, 0))))
            named = named_error(value)
            assert (named.pallet, named.name) == (pallet.NAME, info.name)
            assert named.text
    assert named_error(BadOrigin()).name == "BadOrigin"
    assert named_error(Arithmetic(ArithmeticReason.OVERFLOW)).pallet == "Arithmetic"
    assert named_error(Module(ModuleError(255, bytes(4)))).pallet == "Pallet255"


@pytest.mark.parametrize(
    ("reason", "code", "more"),
    [("Future", 2, {"nonce": 3}), ("BadProof", 4, {"genesis_hash": bytes(32)})],
)
def test_a_refusal_names_its_reason_and_the_price(
    chain: DevChain, reason: str, code: int, more: dict[str, Any]
) -> None:
    foretold = dry(chain, transfer(chain, OPEN, **more))
    assert foretold.refusal is not None
    assert foretold.refusal.reason == reason
    assert foretold.refusal.detail
    assert foretold.applied == bytes((1, 0, code))
    assert foretold.events == ()
    assert foretold.fee > 0


def test_a_stranger_without_money_cannot_pay(chain: DevChain) -> None:
    foretold = dry(chain, transfer(chain, 1, who="Nobody"))
    assert foretold.refusal is not None
    assert (foretold.refusal.reason, foretold.applied) == ("Payment", b"\x01\x00\x01")


def test_what_is_no_signed_extrinsic_is_refused(chain: DevChain) -> None:
    garbage = dry(chain, b"\x01\x02")
    assert garbage.refusal is not None
    assert garbage.refusal.reason == "Malformed"
    assert (garbage.applied, garbage.fee) == (b"\x01\x00\x00", 0)
    inherent = dry(chain, executive.timestamp_inherent(10**12))
    assert inherent.refusal is not None
    assert inherent.refusal.reason == "BadMandatory"
