"""Why a checkpoint is refused."""

from __future__ import annotations

from enum import Enum

from runtime.primitives.errors import Refusal


class ModelReason(Enum):
    """Why a checkpoint is refused."""

    UNREADABLE_CONFIG = "unreadable_config"
    UNSUPPORTED_ARCHITECTURE = "unsupported_architecture"
    UNSUPPORTED_OPTION = "unsupported_option"
    WRONG_SHAPE = "wrong_shape"
    MISSING_TENSOR = "missing_tensor"
    UNKNOWN_TENSOR = "unknown_tensor"
    UNSUPPORTED_DTYPE = "unsupported_dtype"
    UNSAFE_FORMAT = "unsafe_format"
    MISSING_FILE = "missing_file"
    BROKEN_FILE = "broken_file"
    NOT_FINITE = "not_finite"
    BAD_TOKENIZER = "bad_tokenizer"
    BAD_TEMPLATE = "bad_template"
    NOT_BATCH_INVARIANT = "not_batch_invariant"


class UnsupportedModel(Refusal):
    """A checkpoint that this backbone does not compute."""

    def __init__(self, reason: ModelReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: ModelReason = reason
