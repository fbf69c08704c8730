"""From a body and its voucher to what is computed, and whether the fee pays for it."""

from __future__ import annotations

from inference.backbone.model import Backbone
from inference.sampling import SamplingParams
from inference.training.text import encode_prompt
from inference.worker.api_bodies import (
    CHAT_TOKENS,
    COMPLETION_TOKENS,
    Body,
    ChatBody,
    CompletionBody,
)
from inference.worker.api_errors import ApiReason, ApiRefused
from runtime.protocols.price import Price, cost
from runtime.protocols.voucher import Voucher, voucher_hash


def prompt_ids(backbone: Backbone, body: CompletionBody | ChatBody) -> tuple[int, ...]:
    """Return the prompt in token ids, special tokens included; given ids stay as they are."""
    text = body.text
    return encode_prompt(backbone, text) if isinstance(text, str) else text


def sampling_of(body: Body, voucher: Voucher) -> SamplingParams:
    """Return how the answer is drawn; raises SamplingRefused.

    A request without a seed gets the first eight bytes (little endian) of its voucher's hash, so
    that the executor cannot choose among answers.
    """
    seed = body.seed
    if seed is None:
        seed = int.from_bytes(voucher_hash(voucher)[:8], "little")
    return SamplingParams(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_k=body.top_k or 0,
        top_p=1.0 if body.top_p is None else body.top_p,
        min_p=body.min_p or 0.0,
        seed=seed,
    )


def length_of(
    body: CompletionBody | ChatBody, prompt: int, price: Price, limit: int, context: int
) -> int:
    """Return the most output tokens of an answer that may cost `limit` planck.

    A length that the request names must be paid for whole; one that it leaves open is the usual one
    cut to the fee and the context. Raises FEE_TOO_LOW.
    """
    wanted = body.most_tokens
    usual = CHAT_TOKENS if isinstance(body, ChatBody) else COMPLETION_TOKENS
    least = cost(price, prompt, wanted or 1).total()
    if least > limit:
        raise ApiRefused(
            ApiReason.FEE_TOO_LOW,
            f"{prompt} prompt and {wanted or 1} output tokens cost up to {least} planck, and "
            f"{limit} are allowed: raise max_fee or lower max_tokens",
        )
    if wanted is not None:
        return wanted
    each = price.compute_out + price.premium
    affordable = (limit - cost(price, prompt, 0).total()) // each if each else usual
    return max(1, min(usual, affordable, context - prompt))
