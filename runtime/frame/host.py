"""What pallets run in: the overlay and the events of one block, both undone together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runtime.state.overlay import Overlay


class Host:
    """The overlay a block writes to, and what has happened in it so far."""

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        self.phase: bytes = b"\x02"
        """SCALE of `frame_system::Phase`: which extrinsic is being applied."""
        self.events: list[tuple[bytes, int, object]] = []

    def deposit(self, pallet: int, record: object) -> None:
        """Record an event of a pallet in the current phase."""
        self.events.append((self.phase, pallet, record))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Undo every write and event of the block inside where it raises."""
        mark = len(self.events)
        self.overlay.begin()
        try:
            yield
        except BaseException:
            self.overlay.rollback()
            del self.events[mark:]
            raise
        self.overlay.commit()
