"""Bodies of `/v1/completions` and `/v1/chat/completions`, read strictly.

A parameter that would change the answer and is not computed here is refused by its name. A model is
a base model with an adapter that continues records, so a chat is written as they are: the contents
of its messages, each closed by a newline, roles left out (template ``contents-by-line-1``).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference.worker.api_errors import ApiReason, ApiRefused

B = TypeVar("B", bound="Body")
CHAT_TEMPLATE = "contents-by-line-1"
MAX_BODY = 256 * 1024
COMPLETION_TOKENS, CHAT_TOKENS = 16, 128
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "tools": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Values of unsupported parameters that change nothing."""
_IGNORED = frozenset({"user", "metadata", "store", "safety_identifier", "service_tier"})
"""Parameters that never change an answer."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str
    name: str | None = None


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False


class Body(BaseModel):
    """What both kinds of request share."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: bool = False
    stream_options: _StreamOptions | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """Return the texts that end the answer."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def most_tokens(self) -> int | None:
        """Return the wanted length; None where the request leaves it open."""
        return self.max_tokens


class CompletionBody(Body):
    """A text, or token ids, to continue."""

    prompt: (
        str
        | list[Annotated[int, Field(ge=0, lt=2**32)]]
        | Annotated[list[str], Field(min_length=1, max_length=1)]
    )

    @property
    def text(self) -> str | tuple[int, ...]:
        """Return the prompt as a text or as ids."""
        if isinstance(self.prompt, str):
            return self.prompt
        ids = tuple(part for part in self.prompt if isinstance(part, int))
        return ids if len(ids) == len(self.prompt) else str(self.prompt[0])


class ChatBody(Body):
    """A conversation."""

    messages: Annotated[list[_Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, ge=1)

    @property
    def text(self) -> str:
        """Return the conversation in the template."""
        return "".join(f"{message.content}\n" for message in self.messages)

    @property
    def most_tokens(self) -> int | None:
        """Return the wanted length under either of its names."""
        return self.max_completion_tokens or self.max_tokens


def read_completion(raw: bytes) -> CompletionBody:
    """Read a body; raises ApiRefused."""
    return _read(CompletionBody, raw)


def read_chat(raw: bytes) -> ChatBody:
    """Read a body; raises ApiRefused."""
    return _read(ChatBody, raw)


def _read(kind: type[B], raw: bytes) -> B:
    fields = _fields(raw)
    for name in sorted(fields.keys() - kind.model_fields.keys()):
        value = fields.pop(name)
        if name not in _IGNORED and value is not None and value not in _NEUTRAL.get(name, ()):
            raise ApiRefused(ApiReason.UNSUPPORTED_PARAMETER, f"{name} is not supported")
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ApiRefused(ApiReason.BAD_PARAMETER, f"{where}: {first['msg']}") from None


def _fields(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BODY:
        raise ApiRefused(ApiReason.BODY_TOO_LARGE, f"a body has at most {MAX_BODY} bytes")
    try:
        fields = json.loads(raw)
        # Half a surrogate pair is JSON, but no text.
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiRefused(ApiReason.BAD_JSON, f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ApiRefused(ApiReason.BAD_JSON)
    return fields


def read_either(raw: bytes) -> CompletionBody | ChatBody:
    """Read a kept body of either kind; a judge sees no URL."""
    return read_chat(raw) if "messages" in _fields(raw) else read_completion(raw)
