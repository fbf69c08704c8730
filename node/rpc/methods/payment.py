"""`payment_*`: what an extrinsic would cost."""

from __future__ import annotations

from dataclasses import dataclass

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.params import Param, hash32, hex_bytes
from runtime.primitives.scale import U8, U128, decode
from runtime.primitives.types import Weight

_CLASSES = ("normal", "operational", "mandatory")
_PARAMS = (
    Param("extrinsic", hex_bytes, doc="The extrinsic, with its length prefix."),
    Param("at", hash32, optional=True, doc="On which block; by default the best one."),
)
_INFO = schema.record(
    **{
        "weight": schema.record(ref_time=schema.U64, proof_size=schema.U64),
        "class": {"enum": list(_CLASSES)},
        "partialFee": schema.DECIMAL,
    }
)
_DETAILS = schema.record(
    inclusionFee=schema.nullable(
        schema.record(
            baseFee=schema.HEX_NUMBER,
            lenFee=schema.HEX_NUMBER,
            adjustedWeightFee=schema.HEX_NUMBER,
        )
    )
)


@dataclass(frozen=True, slots=True)
class DispatchCost:
    """`RuntimeDispatchInfo` as the runtime encodes it."""

    weight: Weight
    dispatch_class: U8
    partial_fee: U128


@dataclass(frozen=True, slots=True)
class InclusionFee:
    """The three parts of the fee that depend on the extrinsic."""

    base_fee: U128
    len_fee: U128
    adjusted_weight_fee: U128


@dataclass(frozen=True, slots=True)
class FeeDetails:
    """`FeeDetails` as the runtime encodes it."""

    inclusion_fee: InclusionFee | None
    tip: U128


def payment_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""

    async def query(name: str, extrinsic: bytes, at: bytes | None) -> bytes:
        argument = extrinsic + len(extrinsic).to_bytes(4, "little")
        return await backend.run_api(f"TransactionPaymentApi_{name}", argument, at)

    async def query_info(extrinsic: bytes, at: bytes | None) -> object:
        """Tell what an extrinsic would cost without its tip: weight, class and fee in planck."""
        cost: DispatchCost = decode(DispatchCost, await query("query_info", extrinsic, at))
        return {
            "weight": {"ref_time": cost.weight.ref_time, "proof_size": cost.weight.proof_size},
            "class": _CLASSES[cost.dispatch_class],
            "partialFee": str(cost.partial_fee),
        }

    async def query_fee_details(extrinsic: bytes, at: bytes | None) -> object:
        """Tell the parts of an extrinsic's fee; null where it is feeless."""
        details: FeeDetails = decode(FeeDetails, await query("query_fee_details", extrinsic, at))
        fee = details.inclusion_fee
        if fee is None:
            return {"inclusionFee": None}
        return {
            "inclusionFee": {
                "baseFee": hex(fee.base_fee),
                "lenFee": hex(fee.len_fee),
                "adjustedWeightFee": hex(fee.adjusted_weight_fee),
            }
        }

    return [
        LengthyMethod(
            "payment_queryInfo",
            query_info,
            _PARAMS,
            ("payment_queryInfoAt",),
            result=_INFO,
        ),
        LengthyMethod(
            "payment_queryFeeDetails",
            query_fee_details,
            _PARAMS,
            ("payment_queryFeeDetailsAt",),
            result=_DETAILS,
        ),
    ]
