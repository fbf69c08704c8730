"""Single tokens as texts and bytes, as figures about tokens show them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from inference.backbone.tokenizer import REPLACEMENT, Tokenizer


def byte_letters() -> dict[str, int]:
    """Return the alphabet of byte-level vocabularies: which letter stands for which byte.

    Printable Latin-1 stands for itself, the other 68 bytes for the letters from U+0100 on (GPT-2).
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {chr(byte): byte for byte in plain}
    return letters | {chr(0x100 + at): byte for at, byte in enumerate(others)}


_LETTERS = byte_letters()
_SPACE = "\u2581"


class TokenTexts:
    """The texts of one tokenizer's ids; `ends` are those that end an answer and show nothing."""

    def __init__(self, tokenizer: Tokenizer | None, ends: Iterable[int] = ()) -> None:
        self.ends = frozenset(ends)
        self._tokenizer = tokenizer
        self.of = lru_cache(maxsize=1 << 16)(self._of)

    def _of(self, token: int) -> tuple[str, tuple[int, ...]]:
        r"""Return the text and the UTF-8 bytes of an id.

        Bytes that are no whole characters have a text like ``bytes:\xe2\x82``, as OpenAI tells
        them. Special tokens go by their name; without a tokenizer the id stands for the text.
        """
        if self._tokenizer is None:
            return _pair(f"token:{token}")
        raw = self._tokenizer.token_of(token)
        if raw is None:
            return _pair(f"token:{token}")
        text = self._tokenizer.decode([token])
        if REPLACEMENT not in text:
            # Decoders of SentencePiece drop the space in front of a first word.
            lost = raw.startswith(_SPACE) and not text.startswith(" ")
            return _pair(f" {text}" if lost else text or raw)
        data = _bytes_of(raw)
        if data is None:
            return _pair(text)
        shown = "".join(f"\\x{byte:02x}" for byte in data)
        return f"bytes:{shown}", tuple(data)


def _pair(text: str) -> tuple[str, tuple[int, ...]]:
    return text, tuple(text.encode())


def _bytes_of(raw: str) -> bytes | None:
    """Read a byte-level token, or a byte as SentencePiece writes it (`<0xE2>`)."""
    if len(raw) == 6 and raw.startswith("<0x") and raw.endswith(">"):
        return bytes([int(raw[3:5], 16)])
    if all(letter in _LETTERS for letter in raw):
        return bytes(_LETTERS[letter] for letter in raw)
    return None
