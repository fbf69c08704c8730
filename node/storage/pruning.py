"""How much of the past stays readable: states and bodies of finalised blocks."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_WINDOW = 256
STEPS_PER_COMMIT = 64
"""At most so many states, and so many bodies, go with one commit: no setting costs a stall."""
WORK_PER_COMMIT = 20_000
"""From so many nodes or extrinsics on, only as many blocks go with a commit as came, and one."""


@dataclass(frozen=True, slots=True)
class Pruning:
    """Keep states and bodies of the last so many finalised blocks; None keeps all (an archive).

    Headers, and the proofs of the blocks that ended an epoch, are always kept. A database may be
    opened with another setting at any start: what is gone stays gone, what is too old goes over
    the next commits.
    """

    window: int | None = DEFAULT_WINDOW
    blocks: int | None = None

    def __post_init__(self) -> None:
        for name, kept in (("state", self.window), ("blocks", self.blocks)):
            if kept is not None and kept < 1:
                raise ValueError(f"--{name}-pruning must keep at least 1 block, or be `archive`")

    @classmethod
    def parse(cls, states: str, blocks: str = "archive") -> Pruning:
        """Read two times `archive` or a number of blocks."""
        return cls(_parse("state", states), _parse("blocks", blocks))

    @property
    def text(self) -> str:
        """Say what is kept, as the options do."""
        states = "archive" if self.window is None else self.window
        return f"states={states} blocks={'archive' if self.blocks is None else self.blocks}"

    def first_state(self, finalized: int) -> int:
        """Return the oldest block whose state is wanted with this last finalised block."""
        return 0 if self.window is None else max(0, finalized + 1 - self.window)

    def first_body(self, finalized: int) -> int:
        """Return the oldest block whose body is wanted with this last finalised block."""
        return 0 if self.blocks is None else max(0, finalized + 1 - self.blocks)


@dataclass(frozen=True, slots=True)
class Kept:
    """From which finalised block on, without a gap, there are states, bodies and headers."""

    states: int = 0
    bodies: int = 0
    headers: int = 0


class Budget:
    """How many of the blocks that are too old may go with one commit."""

    def __init__(self, came: int) -> None:
        self._least = came + 1
        self._most = max(STEPS_PER_COMMIT, self._least)
        self._steps = 0
        self._work = 0

    def allows(self) -> bool:
        """Tell whether one more may go."""
        if self._steps < self._least:
            return True
        return self._steps < self._most and self._work < WORK_PER_COMMIT

    def spend(self, work: int) -> None:
        """Count one that went, with the records it took."""
        self._steps += 1
        self._work += work


def _parse(name: str, text: str) -> int | None:
    if text in ("archive", "archive-canonical"):
        return None
    if not text.isdecimal():
        raise ValueError(f"--{name}-pruning takes a number of blocks or `archive`")
    return int(text)
