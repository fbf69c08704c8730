"""What an extrinsic costs a block, as events and fee queries tell it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from runtime.primitives.types import Weight


class DispatchClass(IntEnum):
    """What part of a block's weight an extrinsic uses."""

    NORMAL = 0
    OPERATIONAL = 1
    MANDATORY = 2


class Pays(IntEnum):
    """Whether the signer pays for an extrinsic."""

    YES = 0
    NO = 1


@dataclass(frozen=True, slots=True)
class DispatchEventInfo:
    """What an extrinsic cost the block."""

    SCALE_PATH: ClassVar[str] = "frame_system::DispatchEventInfo"
    weight: Weight
    class_: DispatchClass
    pays_fee: Pays
