"""Why an adapter is refused."""

from __future__ import annotations

from enum import Enum

from runtime.primitives.errors import Refusal


class AdapterReason(Enum):
    """Stable names of the reasons."""

    MISSING_FILE = "missing_file"
    UNREADABLE = "unreadable"
    PICKLE = "pickle"
    NOT_LORA = "not_lora"
    DORA = "dora"
    BIAS = "bias"
    MODULES_TO_SAVE = "modules_to_save"
    UNSUPPORTED_OPTION = "unsupported_option"
    BAD_PATTERN = "bad_pattern"
    UNKNOWN_TARGET = "unknown_target"
    MISSING_TENSOR = "missing_tensor"
    UNKNOWN_TENSOR = "unknown_tensor"
    WRONG_SHAPE = "wrong_shape"
    WRONG_DTYPE = "wrong_dtype"
    NOT_FINITE = "not_finite"
    WRONG_BASE = "wrong_base"
    WRONG_HASH = "wrong_hash"
    TOO_LARGE = "too_large"
    NOT_STORED = "not_stored"
    STORE_FULL = "store_full"
    IN_USE = "in_use"
    DISK = "disk"
    NOT_FETCHED = "not_fetched"
    NOT_LOADED = "not_loaded"
    CLOSED = "closed"


class AdapterRefused(Refusal):
    """An adapter that cannot be used here."""

    def __init__(self, reason: AdapterReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: AdapterReason = reason
