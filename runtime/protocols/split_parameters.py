"""Who gets which part of a batch: basis points, with bounds that governance cannot leave."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from runtime.primitives.errors import Refusal
from runtime.primitives.scale import U16
from runtime.protocols.price import BASIS

MAX_ROYALTIES: Final = 3_000
"""Most basis points of the owner's part that all ancestors of a model take together."""
MAX_LINEAGE: Final = 8


class SplitReason(Enum):
    """Why a batch cannot be split."""

    OUT_OF_BOUNDS = "keep every parameter inside its hard bounds"
    WRONG_SUM = "the parts of compute, and those of the premium, sum to 10,000"
    NEGATIVE_AMOUNT = "amounts are not negative"
    TOO_MUCH_UNMATCHED = "the unmatched premium is a part of the premium"
    BAD_WEIGHTS = "matched premium needs clusters that weigh 1,000,000; unmatched premium has none"
    BAD_ROYALTIES = "a model has at most 8 ancestors that take at most 30 % together"
    NO_DATANET = "a model rests on at least one Datanet, each with a positive weight"
    BAD_SEATS = "an audited batch has at least one seat, no validator two"
    BAD_PAYABLE = "a record is payable between 0 and 1,000,000 ppm"


class SplitRefusal(Refusal):
    """Input that has no split."""

    def __init__(self, reason: SplitReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: SplitReason = reason


@dataclass(frozen=True, slots=True)
class SplitParameters:
    """Basis points: the first two of compute, the other six of the premium."""

    executor: U16 = 7_000
    committee: U16 = 3_000
    treasury: U16 = 500
    burn: U16 = 500
    owner: U16 = 1_600
    backers: U16 = 400
    stakers: U16 = 2_000
    contributors: U16 = 5_000

    def of_compute(self) -> tuple[int, ...]:
        """Return executor and committee."""
        return self.executor, self.committee

    def of_premium(self) -> tuple[int, ...]:
        """Return treasury, burn, owner, backers, stakers, contributors."""
        return (
            self.treasury,
            self.burn,
            self.owner,
            self.backers,
            self.stakers,
            self.contributors,
        )


DEFAULT_SPLIT: Final = SplitParameters()

LOWEST: Final = SplitParameters(
    executor=5_000,
    committee=1_000,
    treasury=100,
    burn=100,
    owner=500,
    backers=0,
    stakers=1_000,
    contributors=4_000,
)
HIGHEST: Final = SplitParameters(
    executor=9_000,
    committee=5_000,
    treasury=1_500,
    burn=1_500,
    owner=2_500,
    backers=1_000,
    stakers=3_000,
    contributors=8_000,
)


def check_split_parameters(parameters: SplitParameters) -> None:
    """Refuse parameters outside the bounds or that do not sum to 10,000.

    Raises:
        SplitRefusal: OUT_OF_BOUNDS, WRONG_SUM.
    """
    for part in ("of_compute", "of_premium"):
        values = getattr(parameters, part)()
        lowest, highest = getattr(LOWEST, part)(), getattr(HIGHEST, part)()
        for value, low, high in zip(values, lowest, highest, strict=True):
            if not low <= value <= high:
                raise SplitRefusal(SplitReason.OUT_OF_BOUNDS, f"{value} is not in {low}..{high}")
        if sum(values) != BASIS:
            raise SplitRefusal(SplitReason.WRONG_SUM, f"{values} sum to {sum(values)}")
