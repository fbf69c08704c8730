"""Why the pallet refuses, as wallets show it."""

from __future__ import annotations

from enum import IntEnum


class Error(IntEnum):
    """Reasons a call of this pallet fails."""

    NOT_VALIDATOR = 0
    """Only a validator may register workers."""
    WORKER_KNOWN = 1
    """This key is registered already. Generate another."""
    BAD_PROOF = 2
    """The worker's key did not sign its registration by this validator."""
    BAD_ENDPOINT = 3
    """An endpoint is a URL of 1 to 256 bytes."""
    TOO_MANY_MODELS = 4
    """A worker names at most 64 models; name none to offer all."""
    UNKNOWN_WORKER = 5
    """There is no worker with this key: it was never registered, or has retired."""
    NOT_WORKERS_VALIDATOR = 6
    """Only the validator that registered the worker may do this."""
    WORKER_BUSY = 7
    """The worker has batches that are not settled. Wait for the last one."""
    WORKER_RETIRING = 8
    """The worker is about to retire and takes no new sessions. Choose another."""
    UNKNOWN_MODEL = 9
    """There is no model of this id, or it takes no sessions: not launched yet, or deprecated."""
    MODEL_NOT_SERVED = 10
    """This worker does not offer the model. Choose another worker."""
    BAD_ESCROW = 11
    """Put at least the least escrow aside, and no less than one request may cost."""
    BAD_TTL = 12
    """A session lasts from 10 blocks to the longest time the chain admits."""
    UNKNOWN_SESSION = 13
    """There is no session of this id."""
    NOT_CUSTOMER = 14
    """Only the session's customer may do this. Sign with the account that opened it."""
    SESSION_NOT_OPEN = 15
    """The session is closing or closed. Open another."""
    NOT_EXECUTOR = 16
    """Only the session's worker may submit its receipts."""
    TOO_LATE = 17
    """The session takes no receipts any more."""
    NONCE_SETTLED = 18
    """A receipt of this nonce was submitted before."""
    BAD_TOTALS = 19
    """Count, nonces and sums of the batch contradict each other or the session's price."""
    ABOVE_ESCROW = 20
    """The batch claims more than is left in the escrow."""
    ABOVE_MAX_FEE = 21
    """The batch claims more than its requests may cost."""
    VOUCHER_REFUSED = 22
    """The voucher does not cover the batch: wrong key, chain, session, nonce or ceiling."""
    BAD_CLUSTERS = 23
    """The clusters are not whole, not canonical, not of the model's Datanets or not payable."""
    UNKNOWN_BATCH = 24
    """There is no batch of this id."""
    NOT_FINAL = 25
    """The batch is not final, or was settled before."""
    NOTHING_TO_CLAIM = 26
    """Nothing is credited to this account."""
    QUOTA_EXHAUSTED = 27
    """The worker submitted as many feeless batches as it may in this epoch. Submit larger ones."""
    NOT_DUE = 28
    """The session's time is not over."""
    TOO_MANY_WORKERS = 29
    """A validator has as many workers as it may. Retire one."""
