"""What a caller asks of the engine, what it gets, and why it may be refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from inference.sampling import SamplingParams
from runtime.primitives.errors import Refusal


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
    ENGINE_CLOSED = "engine_closed"


class RequestRefused(Refusal):
    """A request that the engine does not take."""

    def __init__(self, reason: RequestReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: RequestReason = reason


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
        logprobs: how many of the likeliest ids to report beside each output id.
    """

    prompt_ids: tuple[int, ...]
    max_tokens: int
    sampling: SamplingParams = SamplingParams()
    adapter: bytes | None = None
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] | None = None
    logprobs: int = 0


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
    """A finished request; `output_ids` holds every drawn id, the last stop id included."""

    output_ids: tuple[int, ...]
    text: str
    finish: Finish
    logits_digest: bytes
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine admits at once.

    Attributes:
        running: sequences computed together.
        waiting: requests queued before new ones are refused.
        rows: tokens per step; long prompts are computed in chunks of it.
        blocks: cache blocks for all running sequences.
    """

    running: int = 16
    waiting: int = 256
    rows: int = 256
    blocks: int = 128


def check_request(request: Request, *, context: int, vocabulary: int, blocks: int) -> None:
    """Refuse a request that could never be computed; raises RequestRefused."""
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
    if total > blocks:
        raise RequestRefused(
            RequestReason.CONTEXT_EXCEEDED, f"the cache of this engine holds {blocks} positions"
        )
    if any(not text for text in request.stop):
        raise RequestRefused(RequestReason.BAD_STOP, "a stop text is empty")
