"""Every way in which a request is refused, in the shape that OpenAI's clients read."""

from __future__ import annotations

from enum import Enum
from typing import Any

from inference.adapters.errors import AdapterRefused
from inference.request import RequestReason, RequestRefused
from inference.sampling import SamplingRefused
from inference.training.errors import TrainingRefused
from inference.worker.archive import ArtifactRefused
from inference.worker.chain_view import ChainError, ChainReason
from runtime.primitives.errors import Refusal
from runtime.protocols.voucher import VoucherReason, VoucherRefusal

INVALID, PAYMENT, OVERLOADED, SERVER = (
    "invalid_request_error",
    "payment_error",
    "overloaded_error",
    "server_error",
)


class ApiReason(Enum):
    """Reasons of the HTTP interface: status, kind, what to do."""

    BAD_JSON = (400, INVALID, "send a JSON object")
    BAD_PARAMETER = (400, INVALID, "a parameter has a wrong type or value")
    UNSUPPORTED_PARAMETER = (400, INVALID, "leave the parameter out")
    BODY_TOO_LARGE = (413, INVALID, "shorten the request")
    UNKNOWN_MODEL = (404, INVALID, "name a launched model of the chain, or model:<id>")
    UNKNOWN_SESSION = (404, PAYMENT, "open a session with this worker first")
    UNKNOWN_RECEIPT = (404, INVALID, "this worker gave no such receipt")
    MISSING_VOUCHER = (402, PAYMENT, "sign a voucher and send it in OpenLedger-Voucher")
    WRONG_EXECUTOR = (403, PAYMENT, "the session is with another worker")
    WRONG_MODEL = (403, PAYMENT, "the session is for another model")
    SESSION_NOT_OPEN = (403, PAYMENT, "the session is closing or closed: open another")
    FEE_TOO_LOW = (402, PAYMENT, "raise max_fee, or lower max_tokens")
    OVERLOADED = (429, OVERLOADED, "the worker is full: retry later")
    NOT_READY = (503, SERVER, "the worker starts or stops: retry later")
    FAILED = (500, SERVER, "the answer could not be computed; nothing was charged")


class ApiRefused(Refusal):
    """A request that is not served."""

    def __init__(self, reason: ApiReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value[2])
        self.reason: ApiReason = reason


_VOUCHER_STATUS = {
    VoucherReason.MALFORMED: 400,
    VoucherReason.WRONG_TAG: 400,
    VoucherReason.BAD_SIGNATURE: 401,
}
_REQUEST_STATUS = {RequestReason.QUEUE_FULL: 429, RequestReason.ENGINE_CLOSED: 503}


def problem(error: Refusal) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the JSON body of a refusal."""
    status, kind = _status(error)
    body = {
        "message": str(error.detail or error.reason.value),
        "type": kind,
        "code": error.reason.name.lower(),
        "param": getattr(error, "param", None),
    }
    return status, {"error": body}


def _status(error: Refusal) -> tuple[int, str]:
    match error:
        case ApiRefused():
            return error.reason.value[0], error.reason.value[1]
        case VoucherRefusal():
            return _VOUCHER_STATUS.get(error.reason, 402), PAYMENT
        case RequestRefused():
            status = _REQUEST_STATUS.get(error.reason, 400)
            return status, {429: OVERLOADED, 503: SERVER}.get(status, INVALID)
        case SamplingRefused() | TrainingRefused():
            return 400, INVALID
        case ChainError():
            return (503 if error.reason is ChainReason.UNREACHABLE else 502), SERVER
        case ArtifactRefused() | AdapterRefused():
            return 502, SERVER
        case _:
            return 500, SERVER
