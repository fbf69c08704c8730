"""Sudo: one key that may make any call, on development chains only."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from runtime.frame.calls import Call, Dispatcher, RuntimeCall, outer_table
from runtime.frame.errors import DispatchResult, Done
from runtime.frame.host import Host
from runtime.frame.origin import Origin, Root, ensure_signed
from runtime.frame.pallet import Pallet, call, event
from runtime.frame.storage import StorageValue, value
from runtime.frame.weights import add
from runtime.pallets.sudo import weights
from runtime.primitives.errors import ensure
from runtime.primitives.keys import ss58_decode
from runtime.primitives.types import AccountId, Weight


@event(index=0)
class Sudid:
    """The sudo key made a call as the chain itself; where that fails, its transaction fails."""

    sudo_result: DispatchResult


class Error(IntEnum):
    """Reasons a call of this pallet fails."""

    REQUIRE_SUDO = 0
    """Only the sudo key may call this; chains other than development ones have none."""


def _weight(one: Call) -> Weight:
    return add(weights.SUDO, outer_table().weight(one))


class Sudo(Pallet, index=6):
    """One key that may make any call as the chain itself, on development chains only."""

    Error = Error
    EVENTS = (Sudid,)

    key: StorageValue[AccountId | None] = value(doc="The sudo key; none outside development.")

    dispatcher: Dispatcher
    """Wired after all pallets exist."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)

    @call(index=0, weight=_weight)
    def sudo(self, origin: Origin, call: RuntimeCall) -> None:
        """Make a call as the chain itself."""
        who = ensure_signed(origin)
        ensure(self.key.get() == who, Error.REQUIRE_SUDO)
        self.dispatcher.dispatch(call, Root())
        self.deposit_event(Sudid(Done()))

    def build_genesis(self, genesis: Any) -> None:
        """Give the key to an account: ``{"key": address}``, or to nobody."""
        if genesis.get("key"):
            self.key.put(ss58_decode(genesis["key"])[0])
