"""What a caller asks of the engine, what it gets, and why it may be refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from inference.sampling import SamplingParams
from inference.trace import Trace
from runtime.primitives.errors import Refusal

LOGPROBS = 20
"""Most likeliest ids that are reported beside an output id."""


class RequestReason(Enum):
    """Stable names of the reasons."""

    EMPTY_PROMPT = "empty_prompt"
    UNKNOWN_TOKEN = "unknown_token"
    CONTEXT_EXCEEDED = "context_exceeded"
    BAD_MAX_TOKENS = "bad_max_tokens"
    BAD_STOP = "bad_stop"
    NO_TOKENIZER = "no_tokenizer"
    NO_ADAPTERS = "no_adapters"
    QUEUE_FULL = "queue_full"
    TENANT_QUEUE_FULL = "tenant_queue_full"
    ADAPTER_FAILED = "adapter_failed"
    ADAPTER_TOO_LARGE = "adapter_too_large"
    BAD_LOGPROBS = "bad_logprobs"
    ENGINE_CLOSED = "engine_closed"


class RequestRefused(Refusal):
    """A request that the engine does not take; `retry_after` says in how many seconds it may."""

    def __init__(
        self, reason: RequestReason, detail: str, retry_after: float | None = None
    ) -> None:
        super().__init__(reason, detail)
        self.reason: RequestReason = reason
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Request:
    """One answer to compute.

    Attributes:
        prompt_ids: the whole prompt, special tokens included.
        max_tokens: most output ids, the one that ends the answer included.
        sampling: how ids are drawn.
        adapter: content hash of the adapter, or None for the base model.
        stop: texts that end the answer; they are not part of its text.
        stop_ids: ids that end the answer; None for the model's own.
        logprobs: how many of the likeliest ids to report beside each output id, at most LOGPROBS.
        tenant: who asks; tenants share the engine fairly, however many requests each has.
    """

    prompt_ids: tuple[int, ...]
    max_tokens: int
    sampling: SamplingParams = SamplingParams()
    adapter: bytes | None = None
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] | None = None
    logprobs: int = 0
    tenant: str = "local"


class Finish(Enum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Token:
    """One output id with the text that became certain by it (may be empty)."""

    id: int
    text: str
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished request.

    Attributes:
        output_ids: every drawn id, the last stop id included.
        trace: what a repetition is compared with.
        cached_tokens: prompt positions that were taken from the prefix cache.
    """

    output_ids: tuple[int, ...]
    text: str
    finish: Finish
    trace: Trace
    prompt_tokens: int
    cached_tokens: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine admits at once.

    Attributes:
        running: sequences computed together.
        guests: further places for tenants of whom nothing runs, so that nobody has to wait for an
            answer of somebody who fills all others.
        waiting: requests queued before new ones are refused.
        waiting_per_tenant: requests of one tenant queued before its new ones are refused.
        rows: prompt tokens per step; long prompts are computed in chunks of it.
        pages: pages of memory, shared by the cache and the adapters.
    """

    running: int = 24
    guests: int = 2
    waiting: int = 256
    waiting_per_tenant: int = 64
    rows: int = 64
    pages: int = 768

    @property
    def places(self) -> int:
        """Most sequences that ever run at once."""
        return self.running + self.guests


def check_request(request: Request, *, context: int, vocabulary: int, cache: int) -> None:
    """Refuse a request that could never be computed; raises RequestRefused.

    Args:
        request: what is asked.
        context: most positions of a sequence.
        vocabulary: number of ids.
        cache: positions that all pages together hold.
    """
    prompt = request.prompt_ids
    if not prompt:
        raise RequestRefused(RequestReason.EMPTY_PROMPT, "give at least one prompt token")
    if request.max_tokens < 1:
        raise RequestRefused(RequestReason.BAD_MAX_TOKENS, "max_tokens must be at least 1")
    if any(not 0 <= token < vocabulary for token in prompt):
        raise RequestRefused(
            RequestReason.UNKNOWN_TOKEN, f"prompt ids must be below the vocabulary's {vocabulary}"
        )
    total = len(prompt) + request.max_tokens
    if total > context:
        raise RequestRefused(
            RequestReason.CONTEXT_EXCEEDED,
            f"{len(prompt)} prompt tokens and {request.max_tokens} new ones exceed the context of "
            f"{context}; shorten the prompt or lower max_tokens",
        )
    if total > cache:
        raise RequestRefused(
            RequestReason.CONTEXT_EXCEEDED, f"the cache of this engine holds {cache} positions"
        )
    if not 0 <= request.logprobs <= LOGPROBS:
        raise RequestRefused(RequestReason.BAD_LOGPROBS, f"logprobs must be in 0…{LOGPROBS}")
    if any(not text for text in request.stop):
        raise RequestRefused(RequestReason.BAD_STOP, "a stop text is empty")
