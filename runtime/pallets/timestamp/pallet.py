"""Timestamp: the time of a block, set by its author."""

from __future__ import annotations

from enum import IntEnum

from runtime.frame.origin import Origin, ensure_none
from runtime.frame.pallet import Const, Pallet, call, constant
from runtime.frame.storage import StorageValue, value
from runtime.pallets.timestamp import weights
from runtime.primitives.errors import ensure
from runtime.primitives.scale import CompactU64
from runtime.primitives.types import Moment


class Error(IntEnum):
    """Reasons a block's time is refused."""

    TOO_EARLY = 0
    """The time is not at least the minimum period after the parent's."""


class Timestamp(Pallet, index=1):
    """The time of a block: milliseconds since 1970, set once in each block by its author."""

    Error = Error

    minimum_period: Const[Moment] = constant(
        50,
        doc="Milliseconds by which the time rises at least; the pace of a chain is in its "
        "specification.",
    )

    now: StorageValue[Moment] = value(default=0, doc="Time of the block, milliseconds since 1970.")

    @call(index=0, weight=weights.SET, mandatory=True)
    def set(self, origin: Origin, now: CompactU64) -> None:
        """Set the time of the block; an inherent, made by its author."""
        ensure_none(origin)
        before = self.now.get()
        ensure(before == 0 or now >= before + self.minimum_period, Error.TOO_EARLY)
        self.now.put(now)
