"""The integer predicates by which a record is redundant; nothing else about data ever slashes.

All compare canonical tokens (`records.canonical_tokens`) with records that other owners registered
earlier. Whoever asks has to have checked both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

MATCH_TOKENS = 32
"""Least length of an exact match that counts."""
COVERED_PERCENT = 80
SHINGLE_TOKENS = 5
JACCARD_PERCENT = 80

Tokens = Sequence[str]
Shingle = tuple[str, ...]


class Redundancy(IntEnum):
    """Why a record is redundant."""

    SAME_TEXT = 0
    """Its canonical text is an earlier record's."""
    CONTAINED = 1
    """At least 80 % of its tokens stand inside exact matches of 32 tokens or more."""
    SIMILAR = 2
    """At least 80 % of the 5-token shingles of it and an earlier record are common to both."""


def shingles(tokens: Tokens, length: int) -> frozenset[Shingle]:
    """Return the distinct runs of `length` tokens; of a shorter record, the whole of it."""
    if not tokens:
        return frozenset()
    count = max(1, len(tokens) - length + 1)
    return frozenset(tuple(tokens[start : start + length]) for start in range(count))


def covered(tokens: Tokens, earlier: Iterable[Tokens], length: int = MATCH_TOKENS) -> int:
    """Count the tokens inside exact matches of at least `length` tokens with earlier records."""
    known: frozenset[Shingle] = frozenset()
    known = known.union(*(shingles(other, length) for other in earlier if len(other) >= length))
    count = end = 0
    for start in range(len(tokens) - length + 1):
        if tuple(tokens[start : start + length]) in known:
            count += start + length - max(start, end)
            end = start + length
    return count


def is_contained(tokens: Tokens, earlier: Iterable[Tokens]) -> bool:
    """Tell whether earlier records together cover at least 80 % of the tokens."""
    return bool(tokens) and 100 * covered(tokens, earlier) >= COVERED_PERCENT * len(tokens)


def is_similar(tokens: Tokens, other: Tokens) -> bool:
    """Tell whether the exact Jaccard index of the 5-token shingles is at least 0.8."""
    ours, theirs = shingles(tokens, SHINGLE_TOKENS), shingles(other, SHINGLE_TOKENS)
    both = len(ours & theirs)
    either = len(ours) + len(theirs) - both
    return both > 0 and 100 * both >= JACCARD_PERCENT * either


def redundancy(
    tokens: Tokens, canonical_hash: bytes, earlier: Sequence[tuple[Tokens, bytes]]
) -> Redundancy | None:
    """Return why a record is redundant beside earlier ones (tokens, canonical hash), if it is."""
    if any(canonical_hash == other for _, other in earlier):
        return Redundancy.SAME_TEXT
    if is_contained(tokens, (other for other, _ in earlier)):
        return Redundancy.CONTAINED
    if any(is_similar(tokens, other) for other, _ in earlier):
        return Redundancy.SIMILAR
    return None
