"""From a body and its voucher to what is computed, and whether the fee pays for it."""

from __future__ import annotations

from inference.api.bodies import AnyBody, Body
from inference.api.errors import ApiReason, ApiRefused
from inference.api.prompts import ids_of, sampling_with, usual_tokens
from inference.backbone.model import Backbone
from inference.sampling import SamplingParams
from inference.worker.payment_errors import PaymentReason
from runtime.protocols.price import Price, cost
from runtime.protocols.voucher import Voucher, voucher_hash


def prompt_ids(backbone: Backbone, body: AnyBody) -> tuple[int, ...]:
    """Return the one prompt that a voucher pays for, in token ids; raises ApiRefused.

    A chat is written by `CHAT_TEMPLATE`, whatever template the model brings: the executor and its
    judges have to derive the same ids.
    """
    if body.n != 1 or len(body.prompts) != 1:
        name = "n" if body.n != 1 else "prompt"
        text = f"{name}: a voucher pays for one answer to one prompt"
        raise ApiRefused(ApiReason.UNSUPPORTED_PARAMETER, text, name)
    return ids_of(backbone, body.prompts[0])


def sampling_of(body: Body, voucher: Voucher) -> SamplingParams:
    """Return how the answer is drawn; raises SamplingRefused.

    A request without a seed gets the first eight bytes (little endian) of its voucher's hash, so
    that the executor cannot choose among answers.
    """
    seed = body.seed
    if seed is None:
        seed = int.from_bytes(voucher_hash(voucher)[:8], "little")
    return sampling_with(body, seed)


def length_of(body: AnyBody, prompt: int, price: Price, limit: int, context: int) -> int:
    """Return the most output tokens of an answer that may cost `limit` planck.

    A length that the request names must be paid for whole; one that it leaves open is the usual one
    cut to the fee and the context. Raises FEE_TOO_LOW.
    """
    wanted = body.most_tokens
    usual = usual_tokens(body)
    least = cost(price, prompt, wanted or 1).total()
    if least > limit:
        raise ApiRefused(
            PaymentReason.FEE_TOO_LOW,
            f"{prompt} prompt and {wanted or 1} output tokens cost up to {least} planck, and "
            f"{limit} are allowed: raise max_fee or lower max_tokens",
        )
    if wanted is not None:
        return wanted
    each = price.compute_out + price.premium
    affordable = (limit - cost(price, prompt, 0).total()) // each if each else usual
    return max(1, min(usual, affordable, context - prompt))
