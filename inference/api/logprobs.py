"""Log probabilities in the shapes of both interfaces."""

from __future__ import annotations

from typing import Any

from inference.api.token_texts import TokenTexts
from inference.request import Token


class ChatFigures:
    """`logprobs` of a chat: `content` holds an entry per token."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts

    def of(self, tokens: list[Token]) -> dict[str, Any]:
        """Describe tokens, likeliest alternatives first."""
        return {"content": [self._entry(token) for token in tokens], "refusal": None}

    def _entry(self, token: Token) -> dict[str, Any]:
        return self._one(token.id, token.logprob) | {
            "top_logprobs": [self._one(other, logprob) for other, logprob in token.top]
        }

    def _one(self, token: int, logprob: float) -> dict[str, Any]:
        text, data = self._texts.of(token)
        return {"token": text, "logprob": logprob, "bytes": list(data)}


class CompletionFigures:
    """`logprobs` of a completion: four lists; offsets count characters of the answer's text."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts
        self._offset = 0

    def of(self, tokens: list[Token]) -> dict[str, Any]:
        """Describe the tokens that follow those of the last call."""
        offsets = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(token.text)
        return {
            "tokens": [self._texts.of(token.id)[0] for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [self._top(token) for token in tokens],
            "text_offset": offsets,
        }

    def _top(self, token: Token) -> dict[str, float]:
        """Map texts to figures, the drawn token among them; of equal texts the likelier counts."""
        found: dict[str, float] = {}
        for other, logprob in (*token.top, (token.id, token.logprob)):
            found.setdefault(self._texts.of(other)[0], logprob)
        return found


Figures = ChatFigures | CompletionFigures
