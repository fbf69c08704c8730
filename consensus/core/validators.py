"""The validators of an epoch: their keys, their weights, who leads which view."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import compress

from runtime.primitives.digest import Authority, NextEpoch
from runtime.primitives.leaders import leader_of, quorum


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """Members by position, with the weight of all and of a quorum."""

    members: tuple[Authority, ...]
    total: int = field(init=False)
    quorum: int = field(init=False)
    weights: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        weights = tuple(member.weight for member in self.members)
        total = sum(weights)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "total", total)
        object.__setattr__(self, "quorum", quorum(total))

    def __len__(self) -> int:
        return len(self.members)

    def weight_of(self, positions: Iterable[int]) -> int:
        """Sum the weights of distinct positions."""
        return sum(self.weights[position] for position in positions)

    def position(self, public: bytes) -> int | None:
        """Find the position of a key."""
        for position, member in enumerate(self.members):
            if member.public == public:
                return position
        return None

    def position_among(self, publics: Collection[bytes]) -> int | None:
        """Find the first position that one of these keys has."""
        for position, member in enumerate(self.members):
            if member.public in publics:
                return position
        return None

    def bitmap(self, positions: Iterable[int]) -> bytes:
        """Write positions as a bitmap: bit i % 8 of byte i // 8."""
        bits = bytearray(-(-len(self.members) // 8))
        for position in positions:
            bits[position >> 3] |= 1 << (position & 7)
        return bytes(bits)

    def positions(self, bitmap: bytes) -> list[int] | None:
        """Read a bitmap; None where it has another length or a bit outside the set."""
        if len(bitmap) != -(-len(self.members) // 8):
            return None
        bits = [bool(bitmap[i >> 3] >> (i & 7) & 1) for i in range(8 * len(bitmap))]
        found = list(compress(range(len(bits)), bits))
        return None if found and found[-1] >= len(self.members) else found


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch: its number, its validators, its seed, and the block that it starts from.

    The views of an epoch count from 1; view 0 stands for the block that it starts from.
    """

    number: int
    validators: ValidatorSet
    seed: bytes
    start_hash: bytes
    start_number: int

    def leader(self, view: int) -> int:
        """Return the position that leads a view."""
        return leader_of(self.seed, view, self.validators.weights)

    def after(self, announcement: NextEpoch, block_hash: bytes, number: int) -> Epoch:
        """Return the next epoch, which starts from the block that announced it."""
        return Epoch(
            announcement.epoch,
            ValidatorSet(announcement.authorities),
            announcement.seed,
            block_hash,
            number,
        )
