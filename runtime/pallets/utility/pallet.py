"""Utility: several calls in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from runtime.frame.calls import Call, Dispatcher, RuntimeCall, outer_table
from runtime.frame.dispatch_errors import encode_failure
from runtime.frame.errors import DispatchErrorValue
from runtime.frame.host import Host
from runtime.frame.origin import Origin, ensure_signed
from runtime.frame.pallet import Const, Pallet, call, constant, event
from runtime.frame.weights import add, per_unit
from runtime.pallets.utility import weights
from runtime.primitives.errors import DispatchFailure, ensure
from runtime.primitives.scale import U32
from runtime.primitives.types import Weight

MAX_CALLS = 1000


@event(index=0)
class BatchInterrupted:
    """A call of a batch failed; those before it stand, those after it were not made."""

    index: U32
    error: DispatchErrorValue


@event(index=1)
class BatchCompleted:
    """Every call of a batch was made."""


@event(index=2)
class BatchCompletedWithErrors:
    """Every call of a batch was tried; some failed."""


@event(index=3)
class ItemCompleted:
    """A call of a batch was made."""


@event(index=4)
class ItemFailed:
    """A call of a batch failed."""

    error: DispatchErrorValue


class Error(IntEnum):
    """Reasons a call of this pallet fails."""

    TOO_MANY_CALLS = 0
    """A batch holds at most 1000 calls. Split it."""


def _weight(fixed: Weight, each: int) -> Callable[[tuple[Call, ...]], Weight]:
    """Return what a batch weighs by its calls: theirs, `fixed` and `each` picoseconds."""

    def weight(calls: tuple[Call, ...]) -> Weight:
        total = per_unit(fixed, len(calls), each)
        for one in calls:
            total = add(total, outer_table().weight(one))
        return total

    return weight


class Utility(Pallet, index=5):
    """Several calls in one transaction. Each is made as the signer, never as more."""

    Error = Error
    EVENTS = (
        BatchInterrupted,
        BatchCompleted,
        BatchCompletedWithErrors,
        ItemCompleted,
        ItemFailed,
    )

    batched_calls_limit: Const[U32] = constant(MAX_CALLS, doc="Most calls in one batch.")

    dispatcher: Dispatcher
    """Wired after all pallets exist."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)

    @call(index=0, weight=_weight(weights.BATCH, weights.BATCH_CALL))
    def batch(self, origin: Origin, calls: tuple[RuntimeCall, ...]) -> None:
        """Make calls in order until one fails; those before it stand."""
        ensure_signed(origin)
        ensure(len(calls) <= MAX_CALLS, Error.TOO_MANY_CALLS)
        for index, one in enumerate(calls):
            failure = self._try(one, origin)
            if failure is not None:
                self.deposit_event(BatchInterrupted(index, failure))
                return
            self.deposit_event(ItemCompleted())
        self.deposit_event(BatchCompleted())

    @call(index=2, weight=_weight(weights.BATCH_ALL, weights.BATCH_ALL_CALL))
    def batch_all(self, origin: Origin, calls: tuple[RuntimeCall, ...]) -> None:
        """Make all calls or none."""
        ensure_signed(origin)
        ensure(len(calls) <= MAX_CALLS, Error.TOO_MANY_CALLS)
        for one in calls:
            self.dispatcher.dispatch(one, origin)
            self.deposit_event(ItemCompleted())
        self.deposit_event(BatchCompleted())

    @call(index=4, weight=_weight(weights.FORCE_BATCH, weights.FORCE_BATCH_CALL))
    def force_batch(self, origin: Origin, calls: tuple[RuntimeCall, ...]) -> None:
        """Try every call; those that fail change nothing."""
        ensure_signed(origin)
        ensure(len(calls) <= MAX_CALLS, Error.TOO_MANY_CALLS)
        failed = False
        for one in calls:
            failure = self._try(one, origin)
            failed = failed or failure is not None
            self.deposit_event(ItemCompleted() if failure is None else ItemFailed(failure))
        self.deposit_event(BatchCompletedWithErrors() if failed else BatchCompleted())

    def _try(self, one: Call, origin: Origin) -> Any:
        try:
            with self.host.transaction():
                self.dispatcher.dispatch(one, origin)
        except DispatchFailure as failure:
            return encode_failure(failure)
        return None
