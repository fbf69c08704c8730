"""Why a paid request is refused, and what the chain's refusals are in HTTP."""

from __future__ import annotations

from inference.api.errors import NOT_FOUND, PAYMENT, SERVER, HttpReason, status_of
from inference.worker.archive import ArtifactRefused
from inference.worker.chain_view import ChainError, ChainReason
from runtime.protocols.voucher import VoucherReason, VoucherRefusal


class PaymentReason(HttpReason):
    """Reasons of sessions, vouchers and receipts."""

    UNKNOWN_SESSION = (404, PAYMENT, "open a session with this worker first")
    UNKNOWN_RECEIPT = (404, NOT_FOUND, "this worker gave no such receipt")
    MISSING_VOUCHER = (402, PAYMENT, "sign a voucher and send it in OpenLedger-Voucher")
    WRONG_EXECUTOR = (403, PAYMENT, "the session is with another worker")
    WRONG_MODEL = (403, PAYMENT, "the session is for another model")
    SESSION_NOT_OPEN = (403, PAYMENT, "the session is closing or closed: open another")
    FEE_TOO_LOW = (402, PAYMENT, "raise max_fee, or lower max_tokens")


_VOUCHER_STATUS = {
    VoucherReason.MALFORMED: 400,
    VoucherReason.WRONG_TAG: 400,
    VoucherReason.BAD_SIGNATURE: 401,
}


@status_of.register
def _(error: VoucherRefusal) -> tuple[int, str]:
    return _VOUCHER_STATUS.get(error.reason, 402), PAYMENT


@status_of.register
def _(error: ChainError) -> tuple[int, str]:
    return (503 if error.reason is ChainReason.UNREACHABLE else 502), SERVER


@status_of.register
def _(error: ArtifactRefused) -> tuple[int, str]:
    return 502, SERVER
