"""Text to ids and back, with a decoder that never shows half a character."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as HfTokenizer

from inference.backbone.errors import ModelReason, UnsupportedModel

REPLACEMENT = "\ufffd"


class Tokenizer:
    """A `tokenizer.json` with the ids that end an answer."""

    def __init__(self, inner: HfTokenizer, stop_ids: Sequence[int] = ()) -> None:
        self._inner = inner
        self.stop_ids = tuple(sorted(set(stop_ids)))

    @classmethod
    def load(cls, path: Path, stop_ids: Sequence[int] = ()) -> Tokenizer:
        """Read a `tokenizer.json`; raises UnsupportedModel."""
        if not path.exists():
            raise UnsupportedModel(ModelReason.MISSING_FILE, f"{path} does not exist")
        try:
            inner = HfTokenizer.from_file(str(path))
        except BaseException as error:
            # The library raises bare Exception for any bad file; Rust's panics are not even that.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise UnsupportedModel(ModelReason.BAD_TOKENIZER, f"{path}: {error}") from error
        return cls(inner, stop_ids)

    @property
    def size(self) -> int:
        """Number of ids, added tokens included."""
        return int(self._inner.get_vocab_size(with_added_tokens=True))

    @property
    def content_hash(self) -> bytes:
        """Return the blake2b-256 of the tokenizer as the library writes it."""
        return hashlib.blake2b(self._inner.to_str().encode(), digest_size=32).digest()

    def check_fits(self, vocabulary: int) -> None:
        """Raise BAD_TOKENIZER if it makes ids that a model of this vocabulary has no row for."""
        names = self._inner.get_vocab(with_added_tokens=True)
        outside = [name for name, token in names.items() if token >= vocabulary]
        if outside:
            raise UnsupportedModel(
                ModelReason.BAD_TOKENIZER,
                f"tokenizer.json gives {outside[0]!r} id {names[outside[0]]}, but config.json says "
                f"vocab_size = {vocabulary}",
            )

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Encode text; `special` adds what the tokenizer's template adds around it."""
        return list(self._inner.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Decode ids to text without special tokens."""
        return str(self._inner.decode(list(ids), skip_special_tokens=True))

    def id_of(self, token: str) -> int | None:
        """Look a token up by its exact text."""
        return self._inner.token_to_id(token)

    def token_of(self, token: int) -> str | None:
        """Look up how the vocabulary writes an id; None for an id that it lacks."""
        return self._inner.id_to_token(token)


class IncrementalDecoder:
    """Turns a stream of ids into text pieces whose concatenation is the text of all ids.

    Only a window of recent ids is decoded again, so the cost per token is constant. A piece that
    would end inside a UTF-8 character is held back until whole; `finish` gives out what is left.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._context = 0
        self._shown = 0

    def push(self, token: int) -> str:
        """Add an id; return the text that became certain."""
        self._ids.append(token)
        text = self._pending()
        if text.endswith(REPLACEMENT):
            return ""
        return self._advance(text)

    def finish(self) -> str:
        """Return what is held back, broken characters shown as U+FFFD."""
        return self._advance(self._pending())

    def _pending(self) -> str:
        before = self._tokenizer.decode(self._ids[self._context : self._shown])
        after = self._tokenizer.decode(self._ids[self._context :])
        return after[len(before) :]

    def _advance(self, text: str) -> str:
        if text:
            self._context = self._shown
            self._shown = len(self._ids)
        return text
