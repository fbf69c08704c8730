"""Canonical text and canonical tokens, the same on every Python.

All tables are Unicode 3.2.0's (`unicodedata.ucd_3_2_0`). Characters that 3.2.0 does not assign pass
unchanged and part the text into runs that are normalised on their own: next to them the result of
a normalisation would depend on the newer tables that this Python happens to have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from unicodedata import ucd_3_2_0 as ucd

_INVISIBLE = "\u00ad\u200b"
"""Soft hyphen and zero-width space: format characters only since later versions."""
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0x20000, 0x3FFFF),  # Han, planes 2 and 3
)
"""Scripts that are written without spaces; each of their letters is a word."""

_SPACE, _IGNORED, _WORD, _LETTER, _MARK = range(5)

_ASCII_FOLD = bytes(
    32 if byte < 32 or byte == 127 else byte + 32 if 65 <= byte <= 90 else byte
    for byte in range(256)
)
_ASCII_WORD = re.compile(b"[^ ]+")
_ASCII_TOKEN = re.compile("[0-9A-Za-z]+|[!-/:-@[-`{-~]")


def is_blank(text: str) -> bool:
    """Tell whether a field has no token."""
    return all(_kind(char) in (_SPACE, _IGNORED) for char in text)


def canonical_text(text: str) -> str:
    """Return one field's canonical text.

    Format characters (Cf, soft hyphen, zero-width space) are dropped; then NFKC, case folding and
    NFKC again; then each run of white space (Z, Cc) becomes one space, none at the ends.
    """
    if text.isascii():
        folded_bytes = text.encode("ascii").translate(_ASCII_FOLD)
        return b" ".join(_ASCII_WORD.findall(folded_bytes)).decode("ascii")
    visible = "".join([c for c in text if _kind(c) != _IGNORED])
    folded = _normalise("".join([_fold(c) for c in _normalise(visible)]))
    parts: list[str] = []
    gap = False
    for char in folded:
        kind = _kind(char)
        if kind == _SPACE:
            gap = True
        elif kind != _IGNORED:
            if gap and parts:
                parts.append(" ")
            gap = False
            parts.append(char)
    return "".join(parts)


def tokens_of(text: str) -> tuple[str, ...]:
    """Split canonical text into words and punctuation marks.

    A word is a maximal run of letters, digits, marks and unassigned characters (L, N, M, Cn, Co),
    except that a letter of a script without spaces begins a word of its own, which only marks
    continue. Every other visible character (P, S) is a token by itself. White space parts tokens.
    """
    if text.isascii():
        return tuple(_ASCII_TOKEN.findall(text))
    tokens: list[str] = []
    word: list[str] = []
    closed = False  # the word is one letter of an unspaced script: only marks may follow
    for char in text:
        kind = _kind(char)
        if kind == _WORD and not closed:
            word.append(char)
            continue
        if kind == _WORD and ucd.category(char)[0] == "M":
            word.append(char)
            continue
        if word:
            tokens.append("".join(word))
            word = []
        closed = kind == _LETTER
        if kind in (_WORD, _LETTER):
            word.append(char)
        elif kind == _MARK:
            tokens.append(char)
    if word:
        tokens.append("".join(word))
    return tuple(tokens)


def _normalise(text: str) -> str:
    return "".join(
        [ucd.normalize("NFKC", run) if assigned else run for assigned, run in _runs(text)]
    )


def _runs(text: str) -> Iterator[tuple[bool, str]]:
    """Part the text into maximal runs of assigned and of unassigned characters."""
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or _assigned(text[end]) != _assigned(text[start]):
            yield _assigned(text[start]), text[start:end]
            start = end


@lru_cache(maxsize=8192)
def _assigned(char: str) -> bool:
    return ucd.category(char) != "Cn"


@lru_cache(maxsize=8192)
def _fold(char: str) -> str:
    # The folding of an assigned character is stable across Unicode versions (stability policy).
    return char.casefold() if _assigned(char) else char


@lru_cache(maxsize=8192)
def _kind(char: str) -> int:
    category = ucd.category(char)
    if category == "Cf" or char in _INVISIBLE:
        return _IGNORED
    if category[0] == "Z" or category == "Cc":
        return _SPACE
    if category[0] in "PS":
        return _MARK
    point = ord(char)
    if category[0] != "M" and any(low <= point <= high for low, high in _UNSPACED):
        return _LETTER
    return _WORD
