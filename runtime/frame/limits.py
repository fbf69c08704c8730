"""Limits of a block, in the layouts of FRAME's `frame_system::limits`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from runtime.primitives.scale import U32, U64
from runtime.primitives.types import Weight


@dataclass(frozen=True, slots=True)
class WeightsPerClass:
    """Weight limits of one class of extrinsics."""

    SCALE_PATH: ClassVar[str] = "frame_system::limits::WeightsPerClass"
    base_extrinsic: Weight
    max_extrinsic: Weight | None
    max_total: Weight | None
    reserved: Weight | None


@dataclass(frozen=True, slots=True)
class LimitsPerClass:
    """One value per class of extrinsics."""

    SCALE_PATH: ClassVar[str] = "frame_support::dispatch::PerDispatchClass"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"T": WeightsPerClass}
    normal: WeightsPerClass
    operational: WeightsPerClass
    mandatory: WeightsPerClass


@dataclass(frozen=True, slots=True)
class LengthPerClass:
    """One value per class of extrinsics."""

    SCALE_PATH: ClassVar[str] = "frame_support::dispatch::PerDispatchClass"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"T": U32}
    normal: U32
    operational: U32
    mandatory: U32


@dataclass(frozen=True, slots=True)
class WeightPerClass:
    """One value per class of extrinsics."""

    SCALE_PATH: ClassVar[str] = "frame_support::dispatch::PerDispatchClass"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"T": Weight}
    normal: Weight
    operational: Weight
    mandatory: Weight


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """Weight limits of a block."""

    SCALE_PATH: ClassVar[str] = "frame_system::limits::BlockWeights"
    base_block: Weight
    max_block: Weight
    per_class: LimitsPerClass


@dataclass(frozen=True, slots=True)
class BlockLength:
    """Length limits of a block, in bytes."""

    SCALE_PATH: ClassVar[str] = "frame_system::limits::BlockLength"
    max: LengthPerClass


@dataclass(frozen=True, slots=True)
class RuntimeDbWeight:
    """What one read and one write of the database cost, in picoseconds."""

    SCALE_PATH: ClassVar[str] = "sp_weights::RuntimeDbWeight"
    read: U64
    write: U64
