"""How many states of finalised blocks stay readable."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_WINDOW = 256
JOURNALS_PER_COMMIT = 64
"""At most so many states leave the window with one commit: a smaller window costs no stall."""


@dataclass(frozen=True, slots=True)
class Pruning:
    """Keep the states of the last `window` finalised blocks; None keeps all (an archive)."""

    window: int | None = DEFAULT_WINDOW

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise ValueError("--state-pruning must keep at least 1 state, or be `archive`")

    @classmethod
    def parse(cls, text: str) -> Pruning:
        """Read `archive` or a number of blocks."""
        if text in ("archive", "archive-canonical"):
            return cls(None)
        if not text.isdecimal():
            raise ValueError("--state-pruning takes a number of blocks or `archive`")
        return cls(int(text))

    @property
    def mode(self) -> bytes:
        """Name what cannot change in an existing database."""
        return b"archive" if self.window is None else b"window"

    def leaving(self, oldest: int, finalized: int) -> range:
        """List the states that leave the window when `finalized` becomes the last finalised block.

        The journal of block n + 1 frees the state of block n.
        """
        if self.window is None:
            return range(oldest, oldest)
        first_kept = max(oldest, finalized + 1 - self.window)
        return range(oldest, min(first_kept, oldest + JOURNALS_PER_COMMIT))
