"""Runtime calls: what the node answers from a state without a transaction (`state_call`)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from runtime.apis.registry import APIS
from runtime.construct import CALLS, PALLETS, decode_call
from runtime.frame.dispatch_info import DispatchClass
from runtime.frame.metadata import MetadataBuilder
from runtime.frame.metadata_schema import VERSION, encode_v14
from runtime.frame.runtime_api import ApiArgumentError, UnknownApi, answer, api_methods
from runtime.pallets.transaction_payment.types import FeeDetails, RuntimeDispatchInfo
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.header import Header
from runtime.primitives.scale import (
    U32,
    U128,
    DecodeError,
    codec,
    compact_decode,
    decode,
    encode,
)
from runtime.primitives.types import AccountId, Weight
from runtime.primitives.version import RUNTIME_VERSION, RuntimeVersion
from runtime.state.store import State
from runtime.validity import Checker, ValidTransaction

CRATE = "openledger_runtime"


@dataclass(frozen=True, slots=True)
class _Request:
    """A runtime call: the state it reads, the header of that state's block, its arguments."""

    state: State
    header: Header
    data: bytes

    @property
    def checker(self) -> Checker:
        return Checker(self.state, self.header)


@functools.cache
def metadata_v14() -> bytes:
    """Return the runtime's metadata, with magic and version."""
    return encode_v14(MetadataBuilder(PALLETS, CRATE).build())


def call_api(state: State, header: Header, method: str, data: bytes) -> bytes:
    """Answer a runtime call; raises UnknownApi, ApiArgumentError, InvalidTransaction."""
    try:
        declared = _DECLARED.get(method)
        if declared is not None:
            api, found = declared
            return answer(api(state, header), found, data)
        plain = _METHODS.get(method)
        if plain is None:
            raise UnknownApi(f"Exported method {method} is not found")
        return plain(_Request(state, header, data))
    except DecodeError as error:
        raise ApiArgumentError(f"{method}: {error}") from error


_DECLARED = {
    f"{api.NAME}_{name}": (api, method) for api in APIS for name, method in api_methods(api).items()
}


def _version(request: _Request) -> bytes:
    return encode(RuntimeVersion, RUNTIME_VERSION)


def _metadata(request: _Request) -> bytes:
    return encode(bytes, metadata_v14())


def _metadata_at_version(request: _Request) -> bytes:
    wanted = decode(U32, request.data)
    return encode(bytes | None, metadata_v14() if wanted == VERSION else None)


def _metadata_versions(request: _Request) -> bytes:
    return encode(tuple[U32, ...], (VERSION,))


def _account_nonce(request: _Request) -> bytes:
    account = decode(AccountId, request.data)
    return encode(U32, request.checker.runtime.system.account[account].nonce)


def _extrinsic_at(data: bytes, offset: int) -> tuple[bytes, int]:
    """Return an extrinsic with its length prefix, and where it ends."""
    try:
        length, start = compact_decode(data, offset)
    except IndexError as error:
        raise DecodeError("an extrinsic is missing") from error
    end = start + length
    if end > len(data):
        raise DecodeError("the extrinsic is longer than the arguments")
    return data[offset:end], end


def _weighed(request: _Request) -> tuple[Checker, UncheckedExtrinsic, Weight, int, bool]:
    """Return what a fee depends on; the last item tells whether it is due at all."""
    raw, end = _extrinsic_at(request.data, 0)
    length = decode(U32, request.data[end:])
    extrinsic = UncheckedExtrinsic.decode(raw)
    call = decode_call(extrinsic.call)
    entry = CALLS.entry(call)
    due = extrinsic.signed is not None and not entry.info.duty
    return request.checker, extrinsic, CALLS.weight(call), length, due


def _query_info(request: _Request) -> bytes:
    checker, _, weight, length, due = _weighed(request)
    fee = checker.runtime.transaction_payment.fee(length, weight, 0) if due else 0
    info = RuntimeDispatchInfo(weight, DispatchClass.NORMAL, fee)
    return encode(RuntimeDispatchInfo, info)


def _query_fee_details(request: _Request) -> bytes:
    checker, extrinsic, weight, length, due = _weighed(request)
    parts = checker.runtime.transaction_payment.inclusion_fee(length, weight) if due else None
    tip = extrinsic.signed.extensions.tip if extrinsic.signed else 0
    return encode(FeeDetails, FeeDetails(parts, tip))


def _weight_to_fee(request: _Request) -> bytes:
    weight = decode(Weight, request.data)
    payment = request.checker.runtime.transaction_payment
    base = payment.inclusion_fee(0, Weight(0, 0)).adjusted_weight_fee
    return encode(U128, payment.inclusion_fee(0, weight).adjusted_weight_fee - base)


def _length_to_fee(request: _Request) -> bytes:
    length = decode(U32, request.data)
    payment = request.checker.runtime.transaction_payment
    return encode(U128, payment.inclusion_fee(length, Weight(0, 0)).len_fee)


def _validate_transaction(request: _Request) -> bytes:
    raw, end = _extrinsic_at(request.data, 1)
    if len(request.data) != end + 32:
        raise DecodeError("source, extrinsic and block hash expected")
    try:
        valid = request.checker.validate(raw)
    except InvalidTransaction as invalid:
        reason = invalid.reason
        if reason is TransactionReason.MALFORMED:
            reason = TransactionReason.CALL
        tail = bytes((invalid.custom,)) if reason is TransactionReason.CUSTOM else b""
        return bytes((1, 0, reason)) + tail
    return b"\x00" + codec(ValidTransaction).encode(valid)


_METHODS: dict[str, Callable[[_Request], bytes]] = {
    "Core_version": _version,
    "Metadata_metadata": _metadata,
    "Metadata_metadata_at_version": _metadata_at_version,
    "Metadata_metadata_versions": _metadata_versions,
    "AccountNonceApi_account_nonce": _account_nonce,
    "TransactionPaymentApi_query_info": _query_info,
    "TransactionPaymentApi_query_fee_details": _query_fee_details,
    "TransactionPaymentApi_query_weight_to_fee": _weight_to_fee,
    "TransactionPaymentApi_query_length_to_fee": _length_to_fee,
    "TaggedTransactionQueue_validate_transaction": _validate_transaction,
}
