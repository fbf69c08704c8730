"""Bodies of `/v1/completions` and `/v1/chat/completions`, read strictly.

A parameter that would change the answer and is not computed here is refused by its name.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference.api.errors import ApiReason, ApiRefused
from inference.request import LOGPROBS

B = TypeVar("B", bound=BaseModel)
CHAT_TEMPLATE = "contents-by-line-1"
"""The contents of the messages, each closed by a newline; roles are left out.

An adapter continues records, which were written like this when it was trained.
"""
MAX_BODY = 256 * 1024
MOST_CHOICES = 64
COMPLETION_TOKENS, CHAT_TOKENS = 16, 128
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Values of unsupported parameters that change nothing."""
_IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
"""Parameters that never change an answer."""
_SHAPES = {
    "prompt": f"prompt: a text, token ids, or a list of 1 to {MOST_CHOICES} of either",
    "stop": "stop: a text, or a list of at most 4",
}
"""What to say of parameters that come in several shapes."""
Prompt = str | tuple[int, ...]
"""A text, or token ids that are taken as they are."""
_Ids = list[Annotated[int, Field(ge=0, lt=2**32)]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _TextPart(_Strict):
    type: Literal["text"]
    text: str


class Message(_Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_TextPart]
    name: str | None = None

    @property
    def text(self) -> str:
        """Return the content, its parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class _StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class Body(_Strict):
    """What both kinds of request share."""

    model: str
    n: int = Field(default=1, ge=1, le=MOST_CHOICES)
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
    """Texts, or token ids, to continue."""

    prompt: (
        str
        | _Ids
        | Annotated[list[str], Field(min_length=1, max_length=MOST_CHOICES)]
        | Annotated[list[_Ids], Field(min_length=1, max_length=MOST_CHOICES)]
    )
    logprobs: int | None = Field(default=None, ge=0, le=LOGPROBS)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Return what is to be continued, each on its own."""
        if isinstance(self.prompt, str):
            return (self.prompt,)
        if not self.prompt or isinstance(self.prompt[0], int):
            return (tuple(part for part in self.prompt if isinstance(part, int)),)
        return tuple(
            part if isinstance(part, str) else tuple(part)
            for part in self.prompt
            if not isinstance(part, int)
        )

    @property
    def alternatives(self) -> int | None:
        """Return how many alternatives to tell beside each token; None for no figures at all."""
        return self.logprobs


class ChatBody(Body):
    """A conversation."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=LOGPROBS)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Return the conversation, written by `CHAT_TEMPLATE`."""
        return ("".join(f"{message.text}\n" for message in self.messages),)

    @property
    def most_tokens(self) -> int | None:
        """Return the wanted length under either of its names."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """Return how many alternatives to tell beside each token; None for no figures at all."""
        return (self.top_logprobs or 0) if self.logprobs else None


AnyBody = CompletionBody | ChatBody


def read_completion(raw: bytes) -> CompletionBody:
    """Read a body; raises ApiRefused."""
    body = _read(CompletionBody, raw)
    _check_choices(body.n * len(body.prompts))
    return body


def read_chat(raw: bytes) -> ChatBody:
    """Read a body; raises ApiRefused."""
    body = _read(ChatBody, raw)
    if body.top_logprobs and not body.logprobs:
        raise ApiRefused(
            ApiReason.BAD_PARAMETER, "top_logprobs: set logprobs to true", "top_logprobs"
        )
    return body


def read_either(raw: bytes) -> AnyBody:
    """Read a kept body of either kind; a judge sees no URL."""
    return read_chat(raw) if "messages" in read_object(raw) else read_completion(raw)


def read_object(raw: bytes, most: int = MAX_BODY) -> dict[str, Any]:
    """Parse a JSON object; raises ApiRefused."""
    if len(raw) > most:
        raise ApiRefused(ApiReason.BODY_TOO_LARGE, f"a body has at most {most} bytes")
    try:
        fields = json.loads(raw)
        # Half a surrogate pair is JSON, but no text.
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiRefused(ApiReason.BAD_JSON, f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ApiRefused(ApiReason.BAD_JSON)
    return fields


def validated(kind: type[B], fields: dict[str, Any]) -> B:
    """Check the fields of a body; raises BAD_PARAMETER with the name of the first wrong one."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        param = str(first["loc"][0]) if first["loc"] else None
        text = _SHAPES.get(param or "", f"{where}: {first['msg']}")
        raise ApiRefused(ApiReason.BAD_PARAMETER, text, param) from None


def _read(kind: type[B], raw: bytes) -> B:
    fields = read_object(raw)
    if fields.get("n", 1) is None:
        del fields["n"]
    for name in sorted(fields.keys() - kind.model_fields.keys()):
        value = fields.pop(name)
        if name not in _IGNORED and value is not None and value not in _NEUTRAL.get(name, ()):
            raise ApiRefused(ApiReason.UNSUPPORTED_PARAMETER, f"{name} is not supported", name)
    return validated(kind, fields)


def _check_choices(count: int) -> None:
    if count > MOST_CHOICES:
        raise ApiRefused(
            ApiReason.BAD_PARAMETER, f"n: at most {MOST_CHOICES} answers to one request", "n"
        )
