"""From the error that a call raised to the one that events and results carry."""

from __future__ import annotations

from typing import Any

from runtime.frame.errors import (
    PLAIN_ERRORS,
    Arithmetic,
    ArithmeticReason,
    DispatchError,
    Module,
    ModuleError,
    Token,
    TokenError,
)
from runtime.primitives.errors import DispatchFailure, InvariantViolation

_PALLET_OF: dict[type, int] = {}


def register_errors(error: type, pallet: int) -> None:
    """Note which pallet an error enumeration belongs to; done once, where pallets are wired."""
    _PALLET_OF[error] = pallet


def encode_failure(failure: DispatchFailure) -> Any:
    """Return the `DispatchErrorValue` of a failure."""
    error = failure.error
    if isinstance(error, DispatchError):
        return PLAIN_ERRORS[error]
    if isinstance(error, TokenError):
        return Token(error)
    if isinstance(error, ArithmeticReason):
        return Arithmetic(error)
    pallet = _PALLET_OF.get(type(error))
    if pallet is None:
        raise InvariantViolation(f"{error!r} belongs to no pallet of this runtime")
    return Module(ModuleError(pallet, bytes((error.value, 0, 0, 0))))
