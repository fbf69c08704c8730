"""The kinds of error that the rules know.

Exception
├── Refusal(reason)             outside input breaks a rule
│   ├── InvalidTransaction      an extrinsic that no block may carry (now)
│   └── InvalidBlock            a block that no chain may carry
├── DispatchFailure(error)      a call in a valid block says no: rolled back, charged, an event
└── InvariantViolation          a rule of our own is broken: a bug, the node stops
"""

from __future__ import annotations

from enum import Enum, IntEnum


class Refusal(Exception):
    """Outside input breaks a rule; `reason` is stable, `detail` says what to do."""

    def __init__(self, reason: Enum, detail: str = "") -> None:
        super().__init__(f"{reason.name}: {detail}" if detail else reason.name)
        self.reason = reason
        self.detail = detail


class TransactionReason(IntEnum):
    """Why an extrinsic is refused; the indices of `sp_runtime::InvalidTransaction`."""

    CALL = 0
    """The call is not one that this origin may make."""
    PAYMENT = 1
    """The signer cannot pay the fee. Fund the account."""
    FUTURE = 2
    """The nonce is higher than the account's. Submit the earlier transactions first."""
    STALE = 3
    """The nonce was used already. Read the account's nonce again."""
    BAD_PROOF = 4
    """The signature does not match: wrong key, genesis, runtime version or era."""
    ANCIENT_BIRTH_BLOCK = 5
    """The transaction's era is over. Sign again with a recent block."""
    EXHAUSTS_RESOURCES = 6
    """The block, or the signer's quota, is full. Try in a later block."""
    CUSTOM = 7
    """A rule of a pallet refuses it; the detail says which."""
    BAD_MANDATORY = 8
    """An inherent failed."""
    MANDATORY_VALIDATION = 9
    """An inherent is not accepted from outside."""
    BAD_SIGNER = 10
    """This signer may not sign transactions."""
    MALFORMED = 255
    """The bytes are not an extrinsic of this runtime. On the wire this is `Call`."""


class InvalidTransaction(Refusal):
    """An extrinsic that the state does not admit; `custom` is the code of a CUSTOM reason."""

    def __init__(self, reason: TransactionReason, detail: str = "", custom: int = 0) -> None:
        super().__init__(reason, detail)
        self.reason: TransactionReason = reason
        self.custom = custom


class BlockReason(IntEnum):
    """Why a block is refused."""

    WRONG_PARENT = 0
    """The block's parent is not the state it is applied to."""
    WRONG_NUMBER = 1
    """The number does not follow the parent's."""
    INVALID_EXTRINSIC = 2
    """An extrinsic in it is not admitted by the state."""
    WRONG_EXTRINSICS_ROOT = 3
    """The header commits to other extrinsics."""
    WRONG_STATE_ROOT = 4
    """Executing it gives another state."""
    WRONG_DIGEST = 5
    """The digest lacks a required item or holds one too many."""
    MISSING_INHERENT = 6
    """The inherents are missing, out of place or wrong."""
    TOO_HEAVY = 7
    """It exceeds the weight or the length of a block."""
    UNKNOWN_RUNTIME = 8
    """The state selects a runtime version that this node does not have. Upgrade the node."""


class InvalidBlock(Refusal):
    """A block that breaks the rules of the chain."""

    def __init__(self, reason: BlockReason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason: BlockReason = reason


class DispatchFailure(Exception):
    """A call refuses; the executive rolls its writes back and records the error."""

    def __init__(self, error: Enum) -> None:
        super().__init__(f"{type(error).__qualname__}.{error.name}")
        self.error = error


class InvariantViolation(Exception):
    """One of our own rules is broken: a bug, so the node stops."""


def ensure(condition: bool, error: Enum) -> None:
    """Refuse the call with `error` unless the condition holds."""
    if not condition:
        raise DispatchFailure(error)


def invariant(condition: bool, message: str) -> None:
    """Stop the node unless a rule of our own holds."""
    if not condition:
        raise InvariantViolation(message)
