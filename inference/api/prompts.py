"""From a body to what the engine computes."""

from __future__ import annotations

from inference.api.bodies import (
    CHAT_TOKENS,
    COMPLETION_TOKENS,
    AnyBody,
    Body,
    ChatBody,
    Message,
    Prompt,
)
from inference.backbone.model import Backbone
from inference.sampling import SamplingParams
from inference.training.text import encode_prompt

SEEDS = 2**64


def prompts_of(backbone: Backbone, body: AnyBody) -> list[tuple[int, ...]]:
    """Return the prompts in token ids, a chat written by the model's own template if it has one.

    Raises TrainingRefused NO_TOKENIZER, ChatRefused.
    """
    if isinstance(body, ChatBody) and backbone.template is not None and backbone.tokenizer:
        text = backbone.template.render([_turn(message) for message in body.messages])
        return [tuple(backbone.tokenizer.encode(text))]
    return [ids_of(backbone, prompt) for prompt in body.prompts]


def ids_of(backbone: Backbone, prompt: Prompt) -> tuple[int, ...]:
    """Return a prompt in token ids, special tokens included; given ids stay as they are."""
    return encode_prompt(backbone, prompt) if isinstance(prompt, str) else prompt


def sampling_with(body: Body, seed: int) -> SamplingParams:
    """Return how an answer is drawn; raises SamplingRefused."""
    return SamplingParams(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_k=0 if body.top_k in (None, -1) else body.top_k or 0,
        top_p=1.0 if body.top_p is None else body.top_p,
        min_p=body.min_p or 0.0,
        seed=seed,
    )


def usual_tokens(body: AnyBody) -> int:
    """Return the length of an answer whose request leaves it open."""
    return CHAT_TOKENS if isinstance(body, ChatBody) else COMPLETION_TOKENS


def _turn(message: Message) -> dict[str, str]:
    """Write a message as templates know it; `developer` is OpenAI's newer word for `system`."""
    role = "system" if message.role == "developer" else message.role
    turn = {"role": role, "content": message.text}
    return turn if message.name is None else turn | {"name": message.name}
