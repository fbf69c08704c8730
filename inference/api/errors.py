"""Every way in which a request is refused, in the shape that OpenAI's clients read."""

from __future__ import annotations

import math
from enum import Enum
from functools import singledispatch
from typing import Any

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.backbone.chat_template import ChatRefused
from inference.request import RequestReason, RequestRefused
from inference.sampling import SamplingRefused
from inference.training.errors import TrainingRefused
from runtime.primitives.errors import Refusal

INVALID, AUTHENTICATION, PERMISSION, NOT_FOUND, PAYMENT, OVERLOADED, SERVER = (
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "payment_error",
    "overloaded_error",
    "server_error",
)


class HttpReason(Enum):
    """A reason with its HTTP status, its kind and what to do; each room adds its own."""

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return int(self.value[0])

    @property
    def kind(self) -> str:
        """Return what OpenAI calls the type of an error."""
        return str(self.value[1])

    @property
    def advice(self) -> str:
        """Return what the client should do."""
        return str(self.value[2])


class ApiReason(HttpReason):
    """Reasons of the interface itself."""

    BAD_JSON = (400, INVALID, "send a JSON object")
    BAD_PARAMETER = (400, INVALID, "a parameter has a wrong type or value")
    UNSUPPORTED_PARAMETER = (400, INVALID, "leave the parameter out")
    BAD_ADAPTER = (400, INVALID, "the adapter cannot be served with this base model")
    BODY_TOO_LARGE = (413, INVALID, "shorten the request")
    BODY_TOO_SLOW = (408, INVALID, "send the request faster")
    BAD_KEY = (401, AUTHENTICATION, "send a key that is known here: Authorization: Bearer KEY")
    NOT_ADMIN = (403, PERMISSION, "only a key with the flag admin may do this")
    NOT_LOCAL = (403, PERMISSION, "without keys, only programs of this machine are served")
    UNKNOWN_PATH = (404, NOT_FOUND, "there is nothing at this address")
    BAD_METHOD = (405, INVALID, "this address takes another method")
    UNKNOWN_MODEL = (404, NOT_FOUND, "name a model that /v1/models lists")
    MODEL_EXISTS = (409, INVALID, "unload the model of this name first, or take another name")
    OVERLOADED = (429, OVERLOADED, "the engine is full: retry later")
    NOT_READY = (503, SERVER, "the server starts or stops: retry later")
    FAILED = (500, SERVER, "the answer could not be computed; nothing was charged")


class ApiRefused(Refusal):
    """A request that is not served; `param` names the parameter at fault."""

    def __init__(self, reason: HttpReason, detail: str = "", param: str | None = None) -> None:
        super().__init__(reason, detail or reason.advice)
        self.reason: HttpReason = reason
        self.param = param


_REQUEST_STATUS = {
    RequestReason.QUEUE_FULL: (429, OVERLOADED),
    RequestReason.TENANT_QUEUE_FULL: (429, OVERLOADED),
    RequestReason.ENGINE_CLOSED: (503, SERVER),
    RequestReason.ADAPTER_FAILED: (502, SERVER),
    RequestReason.NO_ADAPTERS: (404, NOT_FOUND),
}
_REQUEST_PARAM = {
    RequestReason.EMPTY_PROMPT: "prompt",
    RequestReason.UNKNOWN_TOKEN: "prompt",
    RequestReason.CONTEXT_EXCEEDED: "max_tokens",
    RequestReason.BAD_MAX_TOKENS: "max_tokens",
    RequestReason.BAD_STOP: "stop",
    RequestReason.NO_TOKENIZER: "stop",
    RequestReason.BAD_LOGPROBS: "logprobs",
    RequestReason.NO_ADAPTERS: "model",
    RequestReason.ADAPTER_FAILED: "model",
    RequestReason.ADAPTER_TOO_LARGE: "model",
}


def problem(error: Refusal) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return the HTTP status, the JSON body and the headers of a refusal."""
    status, kind = status_of(error)
    body = {
        "message": str(error.detail or error.reason.value),
        "type": kind,
        "code": error.reason.name.lower(),
        "param": _param(error),
    }
    return status, {"error": body}, _headers(error, status)


@singledispatch
def status_of(error: Refusal) -> tuple[int, str]:
    """Return the HTTP status and the kind of a refusal; rooms register theirs."""
    return 500, SERVER


@status_of.register
def _(error: ApiRefused) -> tuple[int, str]:
    return error.reason.status, error.reason.kind


@status_of.register
def _(error: RequestRefused) -> tuple[int, str]:
    return _REQUEST_STATUS.get(error.reason, (400, INVALID))


@status_of.register(ChatRefused)
@status_of.register(SamplingRefused)
@status_of.register(TrainingRefused)
def _(error: Refusal) -> tuple[int, str]:
    return 400, INVALID


@status_of.register
def _(error: AdapterRefused) -> tuple[int, str]:
    if error.reason is AdapterReason.NOT_STORED:
        return 404, NOT_FOUND
    return (503 if error.reason is AdapterReason.STORE_FULL else 502), SERVER


def _param(error: Refusal) -> str | None:
    match error:
        case ApiRefused():
            return error.param
        case RequestRefused():
            return _REQUEST_PARAM.get(error.reason)
        case SamplingRefused():
            return error.reason.value.removeprefix("bad_")
        case AdapterRefused():
            return "model"
        case ChatRefused():
            return "messages"
        case _:
            return None


def _headers(error: Refusal, status: int) -> dict[str, str]:
    """Tell when to come again (RFC 9110, 10.2.3: whole seconds), and how to prove who asks."""
    if status == 401:
        return {"www-authenticate": "Bearer"}
    if status not in (429, 503):
        return {}
    seconds = getattr(error, "retry_after", None)
    return {"retry-after": str(max(1, math.ceil(seconds or 1.0)))}
