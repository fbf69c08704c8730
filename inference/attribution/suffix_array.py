"""A suffix array over the token corpus, entered through a table of its k-grams.

Documents end in a sentinel that no query token equals, so a match never crosses two records.
Manber & Myers (1993) for the array, Kasai et al. (2001) for common prefixes; the sort is
libdivsufsort's.
"""

from dataclasses import dataclass

import numpy as np
import pydivsufsort

from inference.attribution.arrays import Bools, Int32s, Int64s, UInt32s, UInt64s
from inference.attribution.corpus import TokenCorpus

SENTINEL = 0
"""Tokens are stored plus one, which frees zero for the end of a record."""
_PADDING = 64


@dataclass(frozen=True, slots=True)
class SuffixArray:
    """The sorted suffixes and, for every k-gram of the corpus, the interval that begins with it."""

    text: UInt32s
    """uint32 [tokens + records + padding], shifted by one, sentinels between records."""
    order: Int64s
    common: Int32s
    """int32 [suffixes]: tokens that a suffix shares with the next one, sentinels included."""
    starts: Int64s
    """int64 [records]: where each record begins in the text."""
    width: int
    """k: the shortest match that can be found."""
    multiplier: int
    gram_hashes: UInt64s
    gram_low: Int64s
    gram_high: Int64s


def build_suffix_array(corpus: TokenCorpus, width: int) -> SuffixArray:
    """Sort the suffixes of the corpus and index its k-grams; width is k, in tokens."""
    if width < 1 or width > _PADDING:
        raise ValueError(f"the shortest span must be 1 to {_PADDING} tokens, not {width}")
    records = len(corpus.record_ids)
    starts = corpus.offsets[:-1] + np.arange(records, dtype=np.int64)
    text = np.zeros(len(corpus.tokens) + records + _PADDING, dtype=np.uint32)
    owner = np.repeat(np.arange(records, dtype=np.int64), np.diff(corpus.offsets))
    text[np.arange(len(corpus.tokens), dtype=np.int64) + owner] = corpus.tokens + np.uint32(1)
    order, common = _sort(text[: len(corpus.tokens) + records])
    # How many tokens a suffix has before its record ends.
    ends = starts + np.diff(corpus.offsets)
    room = np.repeat(ends, np.diff(corpus.offsets) + 1) - np.arange(len(order))
    low, high = _gram_intervals(common, room[order] >= width, width)
    multiplier, hashes = _distinct_hashes(text, order[low], width)
    by_hash = np.argsort(hashes)
    return SuffixArray(
        text,
        order,
        common,
        starts,
        width,
        multiplier,
        hashes[by_hash],
        low[by_hash],
        high[by_hash],
    )


def _sort(text: UInt32s) -> tuple[Int64s, Int32s]:
    """Sort the suffixes; returns their positions and their common prefixes with the next one."""
    if not len(text):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    order = np.asarray(pydivsufsort.divsufsort(text))
    common = np.asarray(pydivsufsort.kasai(text, order)).astype(np.int32)
    common[-1] = 0
    return order.astype(np.int64), common


def _gram_intervals(common: Int32s, whole: Bools, width: int) -> tuple[Int64s, Int64s]:
    """Find the runs of suffixes that share their first k tokens, all within one record."""
    last = common < width
    first = whole.copy()
    first[1:] &= last[:-1]
    low = np.flatnonzero(first)
    ends = np.flatnonzero(last) + 1
    return low, ends[np.searchsorted(ends, low, side="right")] if len(low) else low


def _distinct_hashes(text: UInt32s, firsts: Int64s, width: int) -> tuple[int, UInt64s]:
    """Choose the first odd multiplier under which no two k-grams of the corpus collide."""
    multiplier = 0x9E3779B97F4A7C15
    while True:
        hashes = _hash_grams(text[firsts[:, None] + np.arange(width)], multiplier)
        if len(np.unique(hashes)) == len(hashes):
            return multiplier, hashes
        multiplier = multiplier * 0xD1342543DE82EF95 % 2**64


def _hash_grams(grams: UInt32s, multiplier: int) -> UInt64s:
    """Hash the rows of uint32 [n, k] to uint64 [n] by Horner's rule modulo 2**64."""
    hashes = np.zeros(len(grams), dtype=np.uint64)
    factor = np.uint64(multiplier)
    for depth in range(grams.shape[1]):
        hashes = (hashes ^ (hashes >> np.uint64(29))) * factor + grams[:, depth]
    return hashes


def gram_hits(array: SuffixArray, query: UInt32s) -> tuple[Int64s, Int64s, Int64s]:
    """Find the query positions whose k-gram is in the corpus, with its suffix interval.

    ``query`` is shifted by one like the text. Returns (positions, low, high), int64 [hits] each.
    """
    none = np.zeros(0, dtype=np.int64)
    if len(query) < array.width or not len(array.gram_hashes):
        return none, none, none
    grams = np.lib.stride_tricks.sliding_window_view(query, array.width)
    hashes = _hash_grams(grams, array.multiplier)
    slots = np.searchsorted(array.gram_hashes, hashes)
    slots[slots == len(array.gram_hashes)] = 0
    hits = np.flatnonzero(array.gram_hashes[slots] == hashes)
    if not len(hits):
        return none, none, none
    slots = slots[hits]
    firsts = array.order[array.gram_low[slots]]
    # Equal hashes prove nothing about a foreign k-gram: the tokens themselves are compared.
    equal = (array.text[firsts[:, None] + np.arange(array.width)] == grams[hits]).all(axis=1)
    slots = slots[equal]
    return hits[equal], array.gram_low[slots], array.gram_high[slots]
