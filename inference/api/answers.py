"""Answers in the shapes of OpenAI's interface."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference.api.bodies import AnyBody, ChatBody
from inference.api.logprobs import ChatFigures, CompletionFigures, Figures
from inference.api.token_texts import TokenTexts
from inference.request import Answer, Finish, Token

_FINISH = {Finish.STOP: "stop", Finish.LENGTH: "length", Finish.CANCELLED: "stop"}


@dataclass(slots=True)
class _Choice:
    """One of the answers while it grows."""

    figures: Figures | None
    tokens: list[Token] = field(default_factory=list)
    answer: Answer | None = None
    begun: bool = False


class Shape:
    """Writes one request's answers, whole or in pieces; feed it everything in order."""

    def __init__(self, body: AnyBody, name: str, texts: TokenTexts, fingerprint: str) -> None:
        self._chat = isinstance(body, ChatBody)
        self._id = f"{'chatcmpl' if self._chat else 'cmpl'}-{name}"
        self._body = body
        self._created = int(time.time())
        self._fingerprint = fingerprint
        self._ends = texts.ends
        figures = ChatFigures if self._chat else CompletionFigures
        shown = body.alternatives is not None
        self._choices = [
            _Choice(figures(texts) if shown else None) for _ in range(body.n * len(body.prompts))
        ]

    def add(self, index: int, token: Token) -> None:
        """Take a token of an answer that is sent whole."""
        self._choices[index].tokens.append(token)

    def close(self, index: int, answer: Answer) -> None:
        """Take the end of an answer."""
        self._choices[index].answer = answer

    def whole(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Return the finished answers."""
        return self._frame(
            "chat.completion" if self._chat else "text_completion",
            [self._whole(index, choice) for index, choice in enumerate(self._choices)],
            usage=self._usage(),
            **extra,
        )

    def piece(self, index: int, token: Token) -> dict[str, Any] | None:
        """Return a chunk of text; None for a token that shows nothing."""
        choice = self._choices[index]
        figures = self._figures(choice, [token])
        if not token.text and choice.begun and figures is None:
            return None
        content: dict[str, Any] = {"text": token.text}
        if self._chat:
            delta = {"content": token.text}
            content = {"delta": delta if choice.begun else {"role": "assistant"} | delta}
        choice.begun = True
        return self._chunk(index, content, None, figures)

    def end(self, index: int, answer: Answer) -> dict[str, Any]:
        """Return the chunk that tells why an answer ended."""
        self.close(index, answer)
        content: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        return self._chunk(index, content, _FINISH[answer.finish], None)

    def count(self) -> dict[str, Any]:
        """Return the chunk that counts tokens."""
        return self._frame(self._kind, [], usage=self._usage())

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _whole(self, index: int, choice: _Choice) -> dict[str, Any]:
        text = "" if choice.answer is None else choice.answer.text
        finish = Finish.CANCELLED if choice.answer is None else choice.answer.finish
        message = {"role": "assistant", "content": text, "refusal": None}
        content: dict[str, Any] = {"message": message} if self._chat else {"text": text}
        return {
            "index": index,
            **content,
            "logprobs": self._figures(choice, choice.tokens),
            "finish_reason": _FINISH[finish],
        }

    def _figures(self, choice: _Choice, tokens: list[Token]) -> dict[str, Any] | None:
        """Describe tokens but those that end an answer; None where nobody asked."""
        shown = [token for token in tokens if token.text or token.id not in self._ends]
        if choice.figures is None or (tokens and not shown):
            return None
        return choice.figures.of(shown)

    def _usage(self) -> dict[str, Any]:
        answers = [choice.answer for choice in self._choices if choice.answer is not None]
        return usage(answers, self._body.n)

    def _chunk(
        self,
        index: int,
        content: Mapping[str, Any],
        finish: str | None,
        figures: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        choice = {"index": index, **content, "logprobs": figures, "finish_reason": finish}
        counted = {"usage": None} if self._body.include_usage else {}
        return self._frame(self._kind, [choice], **counted)

    def _frame(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._body.model,
            "system_fingerprint": self._fingerprint,
            "choices": choices,
            **more,
        }


def fingerprint_of(engine_hash: bytes) -> str:
    """Name an engine's build and numeric class as OpenAI names backends."""
    return f"fp_{engine_hash.hex()[:12]}"


def usage(answers: Sequence[Answer], each: int = 1) -> dict[str, Any]:
    """Count tokens as OpenAI does: a prompt once, however many (`each`) answers it gets."""
    prompts = answers[::each]
    prompt = sum(answer.prompt_tokens for answer in prompts)
    completion = sum(len(answer.output_ids) for answer in answers)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(a.cached_tokens for a in prompts)},
    }
