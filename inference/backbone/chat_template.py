"""Write a conversation as the model was trained to read it: the folder's own Jinja template.

The rules are those of transformers: where the template lies, which names and filters it sees, how
blocks are trimmed. It comes from a stranger, so it runs in Jinja's immutable sandbox
(`template_sandbox.py`) with bounds on its size, its work and its output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import jinja2

from inference.backbone.errors import ModelReason, UnsupportedModel
from inference.backbone.json_object import read_object
from inference.backbone.template_sandbox import Budget, Exhausted, Rejected, sandbox
from runtime.primitives.errors import Refusal

FILE = "chat_template.jinja"
SETTINGS = "tokenizer_config.json"
LEGACY = "special_tokens_map.json"
MOST_SOURCE = 256 << 10
MOST_OUTPUT = 8 << 20
SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""Tokens that a template may name as `bos_token` and so on."""

REASONING = ("reasoning_content", "thinking", "reasoning")

Message = Mapping[str, Any]


class ChatReason(Enum):
    """Why a conversation cannot be written."""

    EMPTY = "empty"
    REJECTED = "rejected"
    FAILED = "failed"
    TOO_LONG = "too_long"


class ChatRefused(Refusal):
    """A conversation that the model's template does not take."""

    def __init__(self, reason: ChatReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: ChatReason = reason


class ChatTemplate:
    """A compiled template with the special tokens that it may name; any thread may render."""

    def __init__(self, source: str, tokens: Mapping[str, str] | None = None) -> None:
        """Compile; raises BAD_TEMPLATE."""
        if len(source) > MOST_SOURCE:
            raise UnsupportedModel(
                ModelReason.BAD_TEMPLATE, f"the chat template exceeds {MOST_SOURCE} characters"
            )
        self.source = source
        self._tokens = dict(tokens or {})
        try:
            self._template = sandbox().from_string(source)
        except Exception as error:  # a stranger's template; the compiler has many ways to fail
            raise UnsupportedModel(
                ModelReason.BAD_TEMPLATE, f"the chat template does not compile: {_told(error)}"
            ) from error

    @classmethod
    def load(cls, folder: Path) -> ChatTemplate | None:
        """Read a model folder's template; None if it has none. Raises UnsupportedModel."""
        settings = read_object(folder / SETTINGS) if (folder / SETTINGS).exists() else {}
        source = _source(folder, settings)
        if source is None:
            return None
        legacy = {}
        if "added_tokens_decoder" not in settings and (folder / LEGACY).exists():
            legacy = read_object(folder / LEGACY)
        return cls(source, _tokens({**settings, **legacy}))

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **names: Any,
    ) -> str:
        """Write messages, each with `role` and `content`, as one text.

        Special tokens are part of the text: encode it without adding any.

        Args:
            messages: plain JSON values; keys whose value is None are left out.
            add_generation_prompt: end with the opening of the assistant's next turn.
            tools: JSON schemas of tools.
            documents: for templates that cite documents.
            names: further names that the template reads, such as `enable_thinking`.

        Raises:
            ChatRefused: REJECTED with the template's own words, if it raised them.
        """
        if not messages:
            raise ChatRefused(ChatReason.EMPTY, "give at least one message")
        with Budget() as budget:
            try:
                values = {
                    **self._tokens,
                    **_plain(names),
                    "messages": [_turn(_plain(message)) for message in messages],
                    "tools": _plain(tools),
                    "documents": _plain(documents),
                    "add_generation_prompt": add_generation_prompt,
                }
                return "".join(budget.limited(self._template.generate(values), MOST_OUTPUT))
            except Exhausted as error:
                raise ChatRefused(ChatReason.TOO_LONG, str(error)) from error
            except Rejected as error:
                raise ChatRefused(ChatReason.REJECTED, _told(error)) from error
            except Exception as error:  # a stranger's template fed with a stranger's messages
                raise ChatRefused(
                    ChatReason.FAILED, f"the model's chat template failed: {_told(error)}"
                ) from error


def _plain(value: Any) -> Any:
    """Copy a JSON value; a template must not meet objects with methods of their own."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _turn(message: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is None, and give reasoning under each name that templates look for."""
    given = {key: value for key, value in message.items() if value is not None}
    thoughts = next((given[name] for name in REASONING if name in given), None)
    if thoughts is None:
        return given
    return {"thinking": thoughts, **given, "reasoning_content": thoughts}


def _source(folder: Path, settings: Mapping[str, Any]) -> str | None:
    if (folder / FILE).exists():
        try:
            with (folder / FILE).open("rb") as file:
                return file.read(4 * MOST_SOURCE + 1).decode("utf-8").replace("\r\n", "\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UnsupportedModel(ModelReason.BAD_TEMPLATE, f"{FILE}: {error}") from error
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = [each for each in found if isinstance(each, dict) and each.get("name") == "default"]
        found = named[-1].get("template") if named else found
    if found is None or isinstance(found, str):
        return found
    raise UnsupportedModel(
        ModelReason.BAD_TEMPLATE, f"{SETTINGS}: chat_template is no text and names no default"
    )


def _tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    tokens = {}
    for kind in SPECIAL:
        token = settings.get(f"{kind}_token")
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str):
            tokens[f"{kind}_token"] = text
    return tokens


def _told(error: BaseException) -> str:
    line = f" (line {error.lineno})" if isinstance(error, jinja2.TemplateSyntaxError) else ""
    return f"{str(error)[:500] or type(error).__name__}{line}"
