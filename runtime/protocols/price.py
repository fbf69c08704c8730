"""A model's price per token, and what an inference costs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from runtime.primitives.errors import Refusal
from runtime.primitives.scale import U128

BASIS: Final = 10_000
"""Basis points in the whole."""
DEFAULT_PREMIUM_FLOOR: Final = 5_000
"""Least premium in basis points of the compute price; a governance parameter."""
HARD_PREMIUM_FLOOR: Final = 2_500
"""Below this no parameter may go: an owner who also executes would pay contributors nothing."""
MAX_UNIT_PRICE: Final = 10**24
"""A million OPEN per token: far above any price, far below what could overflow a balance."""


class PriceReason(Enum):
    """Why a price is refused."""

    COMPUTE_ABOVE_CAP = "lower the compute price to the base model's cap"
    PREMIUM_TOO_LOW = "raise the premium: it pays the contributors"
    TOO_HIGH = "no price per token may exceed a million OPEN"
    BAD_FLOOR = "the premium's floor lies between 25 % and 100 % of compute"


class PriceRefusal(Refusal):
    """A price that the chain does not take."""

    def __init__(self, reason: PriceReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: PriceReason = reason


@dataclass(frozen=True, slots=True)
class Price:
    """Planck per token: prompt compute, completion compute, and the premium on either."""

    compute_in: U128
    compute_out: U128
    premium: U128


@dataclass(frozen=True, slots=True)
class Cost:
    """What an inference costs, in planck."""

    compute: U128
    premium: U128

    def total(self) -> int:
        """Return compute and premium together."""
        return self.compute + self.premium


def cost(price: Price, prompt_tokens: int, completion_tokens: int) -> Cost:
    """Return the exact cost of an inference."""
    return Cost(
        compute=price.compute_in * prompt_tokens + price.compute_out * completion_tokens,
        premium=price.premium * (prompt_tokens + completion_tokens),
    )


def least_premium(price: Price, floor: int = DEFAULT_PREMIUM_FLOOR) -> int:
    """Return the least premium per token, rounded up.

    It is taken of the dearer of the two compute prices, so that no mix of prompt and completion
    tokens brings an inference's premium below the floor.
    """
    return -(-max(price.compute_in, price.compute_out) * floor // BASIS)


def check_price(price: Price, compute_cap: int, floor: int = DEFAULT_PREMIUM_FLOOR) -> None:
    """Refuse a price above the base model's cap or with a premium below the floor.

    Raises:
        PriceRefusal: BAD_FLOOR, TOO_HIGH, COMPUTE_ABOVE_CAP or PREMIUM_TOO_LOW.
    """
    if not HARD_PREMIUM_FLOOR <= floor <= BASIS:
        raise PriceRefusal(PriceReason.BAD_FLOOR)
    compute = max(price.compute_in, price.compute_out)
    if max(compute, price.premium) > MAX_UNIT_PRICE:
        raise PriceRefusal(PriceReason.TOO_HIGH)
    if compute > compute_cap:
        raise PriceRefusal(PriceReason.COMPUTE_ABOVE_CAP, f"{compute} per token; cap {compute_cap}")
    least = least_premium(price, floor)
    if price.premium < least:
        raise PriceRefusal(
            PriceReason.PREMIUM_TOO_LOW, f"{price.premium} per token; at least {least}"
        )
