"""What wallets read about a fee before they pay it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from runtime.frame.dispatch_info import DispatchClass
from runtime.primitives.types import Balance, Weight


@dataclass(frozen=True, slots=True)
class RuntimeDispatchInfo:
    """Weight, class and fee of an extrinsic without its tip."""

    SCALE_PATH: ClassVar[str] = "pallet_transaction_payment::types::RuntimeDispatchInfo"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"Balance": Balance, "Weight": Weight}
    weight: Weight
    class_: DispatchClass
    partial_fee: Balance


@dataclass(frozen=True, slots=True)
class InclusionFee:
    """The parts of a fee."""

    SCALE_PATH: ClassVar[str] = "pallet_transaction_payment::types::InclusionFee"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"Balance": Balance}
    base_fee: Balance
    len_fee: Balance
    adjusted_weight_fee: Balance


@dataclass(frozen=True, slots=True)
class FeeDetails:
    """The parts of a fee and the tip; no parts where the extrinsic is feeless."""

    SCALE_PATH: ClassVar[str] = "pallet_transaction_payment::types::FeeDetails"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"Balance": Balance}
    inclusion_fee: InclusionFee | None
    tip: Balance
