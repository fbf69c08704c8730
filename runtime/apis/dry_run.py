"""What the next block would make of an extrinsic, found by executing it and keeping nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.apis.base import StateApi
from runtime.apis.error_names import NamedError, named_error
from runtime.block import BlockExecution
from runtime.construct import CALLS, EVENTS, Runtime
from runtime.frame.dispatch_info import DispatchEventInfo
from runtime.frame.errors import DispatchErrorValue
from runtime.frame.pallet import pascal
from runtime.frame.runtime_api import ApiArgumentError, api_method
from runtime.frame.transaction_validity import Invalid, Invalidity, TransactionValidityError
from runtime.pallets.system.pallet import ExtrinsicFailed
from runtime.pallets.transaction_payment.pallet import TransactionFeePaid
from runtime.primitives.digest import PreDigest, find_claim, pre_digest_item
from runtime.primitives.errors import InvalidBlock, InvalidTransaction
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.header import DigestItem, Header
from runtime.primitives.leaders import leader_of
from runtime.primitives.scale import DecodeError, encode
from runtime.primitives.types import Balance, Weight
from runtime.state.overlay import Overlay
from runtime.state.store import State
from runtime.validity import checked_call

_OK = b"\x00\x00"
_FAILED = b"\x00\x01"
_INVALID = b"\x01"


@dataclass(frozen=True, slots=True)
class RefusedExtrinsic:
    """Why no block would carry an extrinsic now."""

    reason: str
    """Name of the reason, such as `Payment` or `Stale`."""
    detail: str
    """What to do; for a pallet's rule, its pallet, error and text."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What the next block would make of an extrinsic."""

    applied: bytes
    """SCALE of `ApplyExtrinsicResult`, which `system_dryRun` answers."""
    refusal: RefusedExtrinsic | None
    """Set where no block would carry the extrinsic now: nothing is charged."""
    error: NamedError | None
    """Set where the call fails: a block carries it and the fee is charged."""
    fee: Balance
    """Paid with the tip; of a refused extrinsic, what it would have to pay."""
    weight: Weight
    """Declared by the call."""
    events: tuple[bytes, ...]
    """SCALE of each `EventRecord` of the extrinsic."""


class DryRunApi(StateApi, version=1):
    """Executes extrinsics as the next block would, and keeps nothing."""

    @api_method
    def dry_run_extrinsic(self, extrinsic: bytes) -> DryRun:
        """Execute a signed extrinsic, given with its own length prefix, on top of this block.

        The block is the next leader's, at the earliest time that it may have, and holds nothing
        else: extrinsics that wait in the pool are not executed before.
        """
        try:
            execution = open_next_block(self.state, self.header)
        except InvalidBlock as refusal:
            raise ApiArgumentError(f"no block can follow here: {refusal}") from refusal
        mark = len(execution.runtime.host.events)
        try:
            execution.apply(extrinsic)
        except InvalidTransaction as refusal:
            return _refused(self.runtime, extrinsic, refusal)
        return _outcome(execution.runtime.host.events[mark:])


def open_next_block(state: State, parent: Header) -> BlockExecution:
    """Open the block after `parent` with a claim of its first leader, and set its time.

    The claim's randomness and the signers that it names are none: what comes of them is dropped.
    """
    runtime = Runtime(Overlay(state))
    earliest = runtime.timestamp.now.get() + runtime.timestamp.minimum_period
    execution = BlockExecution(parent, state, (_next_claim(runtime, parent),))
    time = CALLS.encode(CALLS.make("Timestamp", "set", now=earliest))
    execution.apply(UncheckedExtrinsic(None, time).encode())
    return execution


def _next_claim(runtime: Runtime, parent: Header) -> DigestItem:
    epoch = runtime.session.current()
    first = runtime.session.begins_epoch(parent.number + 1)
    before = None if first else find_claim(parent.digest)
    parent_view = before.view if before else 0
    weights = [authority.weight for authority in epoch.authorities]
    claim = PreDigest(
        epoch=epoch.epoch,
        view=parent_view + 1,
        parent_view=parent_view,
        leader=leader_of(epoch.seed, parent_view + 1, weights),
        vrf_output=bytes(64),
        vrf_proof=bytes(80),
        justification_hash=bytes(32),
        parent_signers=bytes(0 if first else -(-len(weights) // 8)),
    )
    return pre_digest_item(claim)


def _outcome(records: list[tuple[bytes, int, Any]]) -> DryRun:
    """Tell what an extrinsic did from its events; the last one says whether it succeeded."""
    *_, (_, _, last) = records
    info: DispatchEventInfo = last.dispatch_info
    fees = [record.actual_fee for *_, record in records if isinstance(record, TransactionFeePaid)]
    failure = last.dispatch_error if isinstance(last, ExtrinsicFailed) else None
    applied = _OK if failure is None else _FAILED + encode(DispatchErrorValue, failure)
    return DryRun(
        applied=applied,
        refusal=None,
        error=None if failure is None else named_error(failure),
        fee=sum(fees),
        weight=info.weight,
        events=tuple(EVENTS.encode([record])[1:] for record in records),
    )


def _refused(runtime: Runtime, extrinsic: bytes, refusal: InvalidTransaction) -> DryRun:
    error = Invalid(Invalidity.of(refusal))
    weight, fee = _price(runtime, extrinsic)
    return DryRun(
        applied=_INVALID + encode(TransactionValidityError, error),
        refusal=RefusedExtrinsic(pascal(refusal.reason.name), refusal.detail),
        error=None,
        fee=fee,
        weight=weight,
        events=(),
    )


def _price(runtime: Runtime, extrinsic: bytes) -> tuple[Weight, int]:
    """Tell what an extrinsic would cost; nothing where its bytes are none."""
    try:
        decoded = UncheckedExtrinsic.decode(extrinsic)
        call = checked_call(decoded.call)
    except (DecodeError, InvalidTransaction):
        return Weight(0, 0), 0
    weight = CALLS.weight(call)
    if decoded.signed is None or CALLS.entry(call).info.duty:
        return weight, 0
    tip = decoded.signed.extensions.tip
    return weight, runtime.transaction_payment.fee(len(extrinsic), weight, tip)
