"""The network of a node that meets nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from node.network.interface import (
    Channel,
    Check,
    Counters,
    FailReason,
    Handler,
    NetworkEvent,
    Offence,
    PeerInfo,
    RequestFailed,
    RequestKind,
)
from node.network.reserved import Reserved


class NobodyElse:
    """A `Network` without peers: what is said is lost, what is asked stays unanswered."""

    id = ""

    def __init__(self) -> None:
        self.counters = Counters.zero()
        self.reserved = Reserved()

    def addresses(self) -> tuple[str, ...]:
        """Return none."""
        return ()

    def peers(self) -> tuple[PeerInfo, ...]:
        """Return none."""
        return ()

    def broadcast(self, channel: Channel, data: bytes) -> None:
        """Do nothing."""

    def send(self, peer: str, channel: Channel, data: bytes) -> None:
        """Do nothing."""

    async def request(
        self,
        peer: str,
        kind: RequestKind,
        body: bytes,
        *,
        timeout: float | None = None,
        limit: int | None = None,
    ) -> bytes:
        """Raise RequestFailed."""
        await trio.lowlevel.checkpoint()
        raise RequestFailed(FailReason.NOT_CONNECTED, f"{peer} is not connected")

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        """Do nothing."""

    def note_heads(self, peer: str, best: int | None, final: int | None) -> None:
        """Do nothing."""

    def set_handler(self, kind: RequestKind, handler: Handler) -> None:
        """Do nothing: nobody asks."""

    def set_check(self, channel: Channel, check: Check) -> None:
        """Do nothing: nobody speaks."""

    def set_validators(self, keys: Iterable[bytes]) -> None:
        """Do nothing."""

    async def next_event(self) -> NetworkEvent:
        """Wait until cancelled."""
        await trio.sleep_forever()
        raise AssertionError("nothing happens")

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Wait until cancelled."""
        task_status.started()
        await trio.sleep_forever()
