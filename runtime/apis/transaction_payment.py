"""`TransactionPaymentApi` and `TransactionPaymentCallApi`: what a transaction will cost."""

from __future__ import annotations

from runtime.apis.arguments import Extrinsic
from runtime.apis.base import StateApi
from runtime.construct import CALLS, Runtime, decode_call
from runtime.frame.calls import Call, RuntimeCall
from runtime.frame.dispatch_info import DispatchClass
from runtime.frame.runtime_api import api_method
from runtime.pallets.transaction_payment.types import FeeDetails, RuntimeDispatchInfo
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.scale import U32
from runtime.primitives.types import Balance, Weight


class TransactionPaymentApi(StateApi, version=4):
    """What a transaction will cost."""

    @api_method
    def query_info(self, uxt: Extrinsic, len_: U32) -> RuntimeDispatchInfo:
        """Return weight, class and fee of an extrinsic of `len` bytes; the tip is not in it."""
        decoded = UncheckedExtrinsic.decode(uxt)
        call = decode_call(decoded.call)
        return _info(self.runtime, call, len_, signed=decoded.signed is not None)

    @api_method
    def query_fee_details(self, uxt: Extrinsic, len_: U32) -> FeeDetails:
        """Return the parts of the fee of an extrinsic of `len` bytes, and its tip."""
        decoded = UncheckedExtrinsic.decode(uxt)
        call = decode_call(decoded.call)
        tip = decoded.signed.extensions.tip if decoded.signed else 0
        return _details(self.runtime, call, len_, tip, signed=decoded.signed is not None)

    @api_method
    def query_weight_to_fee(self, weight: Weight) -> Balance:
        """Return what so much weight costs in the next block."""
        return _weight_fee(self.runtime, weight)

    @api_method
    def query_length_to_fee(self, length: U32) -> Balance:
        """Return what so many bytes cost."""
        return _length_fee(self.runtime, length)


class TransactionPaymentCallApi(StateApi, version=3):
    """What a call will cost in a transaction that is not signed yet."""

    @api_method
    def query_call_info(self, call: RuntimeCall, len_: U32) -> RuntimeDispatchInfo:
        """Return weight, class and fee of a call in a signed extrinsic of `len` bytes."""
        return _info(self.runtime, call, len_, signed=True)

    @api_method
    def query_call_fee_details(self, call: RuntimeCall, len_: U32) -> FeeDetails:
        """Return the parts of the fee of a call in a signed extrinsic of `len` bytes."""
        return _details(self.runtime, call, len_, 0, signed=True)

    @api_method
    def query_weight_to_fee(self, weight: Weight) -> Balance:
        """Return what so much weight costs in the next block."""
        return _weight_fee(self.runtime, weight)

    @api_method
    def query_length_to_fee(self, length: U32) -> Balance:
        """Return what so many bytes cost."""
        return _length_fee(self.runtime, length)


def _is_due(call: Call, signed: bool) -> bool:
    """Tell whether a fee is due: inherents and duties are free."""
    return signed and not CALLS.entry(call).info.duty


def _info(runtime: Runtime, call: Call, length: int, *, signed: bool) -> RuntimeDispatchInfo:
    weight = CALLS.weight(call)
    due = _is_due(call, signed)
    fee = runtime.transaction_payment.fee(length, weight, 0) if due else 0
    mandatory = CALLS.entry(call).info.mandatory
    class_ = DispatchClass.MANDATORY if mandatory else DispatchClass.NORMAL
    return RuntimeDispatchInfo(weight, class_, fee)


def _details(runtime: Runtime, call: Call, length: int, tip: int, *, signed: bool) -> FeeDetails:
    weight = CALLS.weight(call)
    due = _is_due(call, signed)
    parts = runtime.transaction_payment.inclusion_fee(length, weight) if due else None
    return FeeDetails(parts, tip)


def _weight_fee(runtime: Runtime, weight: Weight) -> int:
    payment = runtime.transaction_payment
    base = payment.inclusion_fee(0, Weight(0, 0)).adjusted_weight_fee
    return payment.inclusion_fee(0, weight).adjusted_weight_fee - base


def _length_fee(runtime: Runtime, length: int) -> int:
    return runtime.transaction_payment.inclusion_fee(length, Weight(0, 0)).len_fee
