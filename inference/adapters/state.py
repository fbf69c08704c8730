"""How far an adapter is on its way to a device."""

from __future__ import annotations

from enum import Enum


class AdapterState(Enum):
    """READY may be used in a step; NO_ROOM is loaded and waits for memory of the device."""

    LOADING = "loading"
    NO_ROOM = "no_room"
    READY = "ready"
    FAILED = "failed"
