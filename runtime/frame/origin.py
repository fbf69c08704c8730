"""Who makes a call."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.frame.errors import DispatchError
from runtime.primitives.errors import DispatchFailure


@dataclass(frozen=True, slots=True)
class Signed:
    """An account, by its signature."""

    account: bytes


@dataclass(frozen=True, slots=True)
class Root:
    """The chain itself: governance, or sudo on a development chain."""


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Nobody: an inherent, or evidence that proves itself."""


Origin = Signed | Root | Unsigned


def ensure_signed(origin: Origin) -> bytes:
    """Return the account that signed; refuses any other origin."""
    if not isinstance(origin, Signed):
        raise DispatchFailure(DispatchError.BAD_ORIGIN)
    return origin.account


def ensure_root(origin: Origin) -> None:
    """Refuse any origin but the chain itself."""
    if not isinstance(origin, Root):
        raise DispatchFailure(DispatchError.BAD_ORIGIN)


def ensure_none(origin: Origin) -> None:
    """Refuse any origin but an inherent's."""
    if not isinstance(origin, Unsigned):
        raise DispatchFailure(DispatchError.BAD_ORIGIN)
