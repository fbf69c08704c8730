"""Why this validator does not sign, or cannot go on."""

from __future__ import annotations

from enum import Enum

from runtime.primitives.errors import Refusal


class SigningReason(Enum):
    """Why nothing is signed: in an epoch at all, or for one vote."""

    IN_USE = "another process signs with this folder"
    NO_LOG = "there is no log of what this key signed in the epoch"
    DAMAGED = "the log of what this key signed is damaged"
    OTHER_CHAIN = "the log belongs to another chain"
    OTHER_FORK = "the log belongs to another fork of the chain"
    OTHER_EPOCH = "the log belongs to another epoch"
    OTHER_KEY = "the log was written with another key"
    BEHIND = "the log is older than the database"
    LISTENING = "it is not sure yet that nothing else signs with this key"
    STOPPED = "something else signed with this key"
    EPOCH_OVER = "a later epoch has begun"
    BELOW_FLOOR = "the view is final, or none at all"
    NOTARIZED = "another block, or this one on another parent, was notarized in this view"
    NULLIFIED = "this view was given up with a nullify vote"
    FINALIZED = "a finalize vote was cast in this view"
    NOT_NOTARIZED = "the block did not get this validator's notarize vote"
    NO_CERTIFICATE = "the log holds no notarization certificate of the block"


class SigningRefused(Refusal):
    """Signing is refused; `detail` says what to do."""

    def __init__(self, reason: SigningReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: SigningReason = reason


class LogDamaged(SigningRefused):
    """A log that is not what was written; its epoch can only be observed."""

    def __init__(self, detail: str) -> None:
        super().__init__(SigningReason.DAMAGED, detail)


class LogFailed(OSError):
    """The disk did not take what must be on it before a signature is shown; the node must stop."""
