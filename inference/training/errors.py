"""Why a training run is refused."""

from __future__ import annotations

from enum import Enum

from runtime.primitives.errors import Refusal


class TrainingReason(Enum):
    """Stable names of the reasons."""

    NO_TOKENIZER = "no_tokenizer"
    NO_RECORDS = "no_records"
    BAD_PARAMETER = "bad_parameter"
    DIVERGED = "diverged"
    BAD_RECEIPT = "bad_receipt"


class TrainingRefused(Refusal):
    """A run that cannot start, or that came to nothing."""

    def __init__(self, reason: TrainingReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: TrainingReason = reason
