"""Which extrinsics a state admits: signature, era, nonce, weight, fee or duty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runtime.construct import CALLS, Runtime, decode_call
from runtime.frame.calls import Call
from runtime.frame.weights import BLOCK_WEIGHTS
from runtime.primitives.errors import InvalidTransaction, TransactionReason, invariant
from runtime.primitives.extrinsic import Immortal, SignedPart, UncheckedExtrinsic, signing_payload
from runtime.primitives.header import Header
from runtime.primitives.keys import verify
from runtime.primitives.scale import U32, U64, DecodeError, codec
from runtime.primitives.types import Id, Weight
from runtime.primitives.version import RUNTIME_VERSION
from runtime.state.overlay import Overlay
from runtime.state.store import State

DUTY_PRIORITY = 1 << 62
"""Duties come before everything that pays: they are few, bounded and have a window."""
LONGEVITY = 64
IMMORTAL_LONGEVITY = (1 << 64) - 1
_nonce_bytes = codec(U32).encode


@dataclass(frozen=True, slots=True)
class ValidTransaction:
    """What the pool must know: `sp_runtime::ValidTransaction`."""

    SCALE_PATH: ClassVar[str] = "sp_runtime::transaction_validity::ValidTransaction"
    priority: U64
    requires: tuple[bytes, ...]
    provides: tuple[bytes, ...]
    longevity: U64
    propagate: bool


@dataclass(frozen=True, slots=True)
class CheckedExtrinsic:
    """An extrinsic whose signature holds and that the state admits, now or after others."""

    call: Call
    weight: Weight
    length: int
    signer: bytes
    nonce: int
    tip: int
    fee: int
    """Zero for a duty."""
    duty: tuple[bytes, ...] | None
    longevity: int


def check_signed(
    runtime: Runtime, extrinsic: UncheckedExtrinsic, signed: SignedPart, length: int
) -> CheckedExtrinsic:
    """Check a signed extrinsic in the context of the block that `runtime` has open.

    Raises InvalidTransaction. A nonce ahead of the account's is let through: the caller decides.
    """
    call = checked_call(extrinsic.call)
    if not isinstance(signed.address, Id) or signed.address.account == bytes(32):
        raise InvalidTransaction(TransactionReason.BAD_SIGNER, "sign with an account id")
    signer = signed.address.account
    extensions = signed.extensions
    account = runtime.system.account[signer]
    if extensions.nonce < account.nonce:
        raise InvalidTransaction(
            TransactionReason.STALE, f"nonce {extensions.nonce}, the account is at {account.nonce}"
        )
    longevity = _check_signature(runtime, extrinsic, signed, signer)
    weight = CALLS.weight(call)
    limit = BLOCK_WEIGHTS.per_class.normal.max_extrinsic
    invariant(limit is not None, "normal extrinsics have a limit")
    if limit is not None and (
        weight.ref_time > limit.ref_time or weight.proof_size > limit.proof_size
    ):
        raise InvalidTransaction(
            TransactionReason.EXHAUSTS_RESOURCES, "too heavy for any block; do less in one call"
        )
    duty = runtime.dispatcher.admit_duty(call, signer)
    fee = 0
    if duty is None:
        fee = runtime.transaction_payment.fee(length, weight, extensions.tip)
        if not runtime.balances.can_pay_fee(signer, fee):
            raise InvalidTransaction(
                TransactionReason.PAYMENT,
                f"the fee is {fee}, the balance {account.data.free}; keep the existential deposit",
            )
    return CheckedExtrinsic(
        call, weight, length, signer, extensions.nonce, extensions.tip, fee, duty, longevity
    )


def checked_call(data: bytes) -> Call:
    """Decode the bytes of one call; raises InvalidTransaction."""
    try:
        return decode_call(data)
    except DecodeError as error:
        raise InvalidTransaction(TransactionReason.CALL, str(error)) from error


def _check_signature(
    runtime: Runtime, extrinsic: UncheckedExtrinsic, signed: SignedPart, signer: bytes
) -> int:
    """Check era and signature; return for how many blocks the transaction stays valid."""
    era = signed.extensions.era
    number = runtime.system.number.get()
    birth = era.birth(number)
    if birth >= number or (number - birth > runtime.system.block_hash_count and birth):
        raise InvalidTransaction(
            TransactionReason.ANCIENT_BIRTH_BLOCK, "sign again with a recent block"
        )
    payload = signing_payload(
        extrinsic.call,
        signed.extensions,
        spec_version=RUNTIME_VERSION.spec_version,
        transaction_version=RUNTIME_VERSION.transaction_version,
        genesis_hash=runtime.system.block_hash[0],
        birth_hash=runtime.system.block_hash[birth],
    )
    if not verify(signed.signature, payload, signer):
        raise InvalidTransaction(
            TransactionReason.BAD_PROOF,
            "the signature does not match: check key, genesis hash, runtime version and era",
        )
    return IMMORTAL_LONGEVITY if isinstance(era, Immortal) else max(0, era.death(number) - number)


class Checker:
    """Checks extrinsics for the block after one state; what it writes is dropped."""

    def __init__(self, state: State, best: Header) -> None:
        self._runtime = Runtime(Overlay(state))
        self._runtime.system.open_block(best.number + 1, best.hash(), best.digest)

    @property
    def runtime(self) -> Runtime:
        """Return the pallets over the state, as the next block would find them."""
        return self._runtime

    def validate(self, extrinsic: bytes) -> ValidTransaction:
        """Return what the pool must know; raises InvalidTransaction."""
        try:
            decoded = UncheckedExtrinsic.decode(extrinsic)
        except DecodeError as error:
            raise InvalidTransaction(TransactionReason.MALFORMED, str(error)) from error
        if decoded.signed is None:
            entry = CALLS.entry(checked_call(decoded.call))
            reason = (
                TransactionReason.MANDATORY_VALIDATION
                if entry.info.mandatory
                else TransactionReason.CALL
            )
            raise InvalidTransaction(reason, f"{entry.info.name} needs a signature or an author")
        checked = check_signed(self._runtime, decoded, decoded.signed, len(extrinsic))
        return self._validity(checked)

    def _validity(self, checked: CheckedExtrinsic) -> ValidTransaction:
        signer, nonce = checked.signer, checked.nonce
        requires: tuple[bytes, ...] = ()
        if nonce > self._runtime.system.account[signer].nonce:
            requires = (signer + _nonce_bytes(nonce - 1),)
        provides = (signer + _nonce_bytes(nonce), *(checked.duty or ()))
        priority = DUTY_PRIORITY if checked.duty is not None else _priority(checked)
        return ValidTransaction(priority, requires, provides, checked.longevity, True)


def _priority(checked: CheckedExtrinsic) -> int:
    """Tip per microsecond of weight, so that what pays most for its room goes first."""
    microseconds = max(1, checked.weight.ref_time // 1_000_000)
    return min((checked.tip + 1) * 1_000 // microseconds, DUTY_PRIORITY - 1)
