"""Why a call fails, as wallets read it: `sp_runtime::DispatchError`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from runtime.primitives.scale import U8, Bytes4, Variants, variant


class DispatchError(IntEnum):
    """Failures that belong to no pallet; the indices of `sp_runtime::DispatchError`."""

    OTHER = 0
    """The call failed for a reason without a name."""
    CANNOT_LOOKUP = 1
    """The address does not resolve to an account. Use an account id."""
    BAD_ORIGIN = 2
    """This origin may not make this call."""
    CONSUMER_REMAINING = 4
    """The account cannot go while something depends on it."""
    NO_PROVIDERS = 5
    """The account does not exist. Fund it with the existential deposit."""
    EXHAUSTED = 10
    """A limit of the chain is reached. Try later."""
    UNAVAILABLE = 12
    """What the call needs is not available."""


class TokenError(IntEnum):
    """Failures of moving money; the indices of `sp_runtime::TokenError`."""

    FUNDS_UNAVAILABLE = 0
    """The free balance is too low."""
    ONLY_PROVIDER = 1
    """The account must stay alive while it holds something."""
    BELOW_MINIMUM = 2
    """The account would hold less than the existential deposit."""
    CANNOT_CREATE = 3
    """The account cannot be created by this amount."""
    UNKNOWN_ASSET = 4
    """There is no such asset."""
    FROZEN = 5
    """The funds are frozen."""
    UNSUPPORTED = 6
    """The operation is not supported."""
    CANNOT_CREATE_HOLD = 7
    """The amount cannot be held."""
    NOT_EXPENDABLE = 8
    """The transfer would kill an account that must be kept alive."""
    BLOCKED = 9
    """The account is blocked."""


class ArithmeticReason(IntEnum):
    """Failures of arithmetic; the indices of `sp_arithmetic::ArithmeticError`."""

    UNDERFLOW = 0
    """A number would fall below zero."""
    OVERFLOW = 1
    """A number would exceed its type."""
    DIVISION_BY_ZERO = 2
    """A division by zero."""


@dataclass(frozen=True, slots=True)
class ModuleError:
    """An error of a pallet: its index and the error's, padded to four bytes."""

    SCALE_PATH: ClassVar[str] = "sp_runtime::ModuleError"
    index: U8
    error: Bytes4


@variant(index=0)
@dataclass(frozen=True, slots=True)
class Other:
    """A failure without a name."""


@variant(index=1)
@dataclass(frozen=True, slots=True)
class CannotLookup:
    """The address does not resolve."""


@variant(index=2)
@dataclass(frozen=True, slots=True)
class BadOrigin:
    """This origin may not make the call."""


@variant(index=3, positional=True)
@dataclass(frozen=True, slots=True)
class Module:
    """A pallet's own error."""

    value: ModuleError


@variant(index=4)
@dataclass(frozen=True, slots=True)
class ConsumerRemaining:
    """Something depends on the account."""


@variant(index=5)
@dataclass(frozen=True, slots=True)
class NoProviders:
    """The account does not exist."""


@variant(index=6)
@dataclass(frozen=True, slots=True)
class TooManyConsumers:
    """Too much depends on the account."""


@variant(index=7, positional=True)
@dataclass(frozen=True, slots=True)
class Token:
    """Money could not be moved."""

    value: TokenError


@variant(index=8, positional=True)
@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A number left its range."""

    value: ArithmeticReason


@variant(index=10)
@dataclass(frozen=True, slots=True)
class Exhausted:
    """A limit is reached."""


@variant(index=11)
@dataclass(frozen=True, slots=True)
class Corruption:
    """The state is corrupt."""


@variant(index=12)
@dataclass(frozen=True, slots=True)
class Unavailable:
    """Something is not available."""


@variant(index=13)
@dataclass(frozen=True, slots=True)
class RootNotAllowed:
    """The chain itself may not make the call."""


DispatchErrorValue = Annotated[
    Other
    | CannotLookup
    | BadOrigin
    | Module
    | ConsumerRemaining
    | NoProviders
    | TooManyConsumers
    | Token
    | Arithmetic
    | Exhausted
    | Corruption
    | Unavailable
    | RootNotAllowed,
    Variants("sp_runtime::DispatchError"),
]
"""The error as it stands in events and results."""


@variant(index=0, name="Ok", positional=True)
@dataclass(frozen=True, slots=True)
class Done:
    """The call was made."""

    value: None = None


@variant(index=1, name="Err", positional=True)
@dataclass(frozen=True, slots=True)
class Failed:
    """The call failed."""

    error: DispatchErrorValue


DispatchResult = Annotated[
    Done | Failed, Variants("Result", (("T", type(None)), ("E", DispatchErrorValue)))
]
"""What came of a call, as it stands in events."""

PLAIN_ERRORS = {
    DispatchError.OTHER: Other(),
    DispatchError.CANNOT_LOOKUP: CannotLookup(),
    DispatchError.BAD_ORIGIN: BadOrigin(),
    DispatchError.CONSUMER_REMAINING: ConsumerRemaining(),
    DispatchError.NO_PROVIDERS: NoProviders(),
    DispatchError.EXHAUSTED: Exhausted(),
    DispatchError.UNAVAILABLE: Unavailable(),
}
