"""Maximal verbatim matches between an answer and the corpus, and what they are worth in bits."""

from dataclasses import dataclass

import numpy as np

from inference.attribution.arrays import Bools, Int64s, UInt16s, UInt32s
from inference.attribution.corpus import TokenCorpus
from inference.attribution.suffix_array import (
    SuffixArray,
    build_suffix_array,
    gram_hits,
)
from inference.attribution.surprise import FRACTION_BITS, log2_fixed, surprise_table
from runtime.protocols.report import Span

_STRIDE = 16
_QUERY_END = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class SpanIndex:
    """All that finding spans needs; derived from the corpus, so only the corpus is committed."""

    corpus: TokenCorpus
    array: SuffixArray
    surprise: UInt16s

    def maximal(self, output: UInt32s) -> list[tuple[int, int, int, int]]:
        """List the maximal matches of at least k tokens as (start, end, text position, count).

        A match is maximal if no longer match of the output contains it. The position is the first
        occurrence, which lies in the earliest record.
        """
        query = np.full(len(output) + 64, _QUERY_END, dtype=np.uint32)
        query[: len(output)] = output + np.uint32(1)
        starts, low, high = gram_hits(self.array, query[: len(output)])
        if not len(starts):
            return []
        lengths, places = _longest(self.array, query, starts, low, high)
        ends = starts + lengths
        furthest = np.concatenate(([-1], np.maximum.accumulate(ends)[:-1]))
        found = []
        for hit in np.flatnonzero(ends > furthest):
            place = int(places[hit])
            interval = int(low[hit]), int(high[hit])
            positions = _occurrences(self.array, place, int(lengths[hit]), *interval)
            span = int(starts[hit]), int(ends[hit])
            found.append((*span, int(positions.min()), len(positions)))
        return found

    def spans(self, prompt: UInt32s, output: UInt32s) -> list[Span]:
        """Find the spans that count: the ceil(L / 20) of most bits, in order of their start.

        Output tokens that stand in a match of k or more tokens with the prompt are worth nothing,
        so a span that the prompt holds is worth nothing; bits are rounded down; ties go to the
        earlier span.
        """
        fresh = ~_covered(prompt, output, self.array.width)
        worth = np.where(fresh, self.surprise[output], 0).astype(np.int64)
        found = []
        for start, end, position, count in self.maximal(output):
            bits = int(worth[start:end].sum()) - log2_fixed(count) >> FRACTION_BITS
            if bits > 0:
                record = int(np.searchsorted(self.array.starts, position, side="right")) - 1
                offset = position - int(self.array.starts[record])
                record_id = self.corpus.record_ids[record]
                found.append(Span(start, end, record_id, offset, bits))
        best = sorted(found, key=lambda span: (-span.bits, span.start))[: -(-len(output) // 20)]
        return sorted(best, key=lambda span: span.start)


def build_span_index(corpus: TokenCorpus, vocabulary: int, width: int) -> SpanIndex:
    """Build the suffix array and the surprise table; width is k, the shortest span in tokens."""
    surprise = surprise_table(corpus.tokens, vocabulary)
    return SpanIndex(corpus, build_suffix_array(corpus, width), surprise)


def _covered(prompt: UInt32s, output: UInt32s, width: int) -> Bools:
    """Mark the output tokens inside a match of ``width`` or more tokens with the prompt."""
    covered = np.zeros(len(output), dtype=np.bool_)
    if len(prompt) < width or len(output) < width:
        return covered
    ours = np.lib.stride_tricks.sliding_window_view(output, width)
    theirs = np.lib.stride_tricks.sliding_window_view(prompt, width)
    known = {gram.tobytes() for gram in theirs}
    for start, gram in enumerate(ours):
        if gram.tobytes() in known:
            covered[start : start + width] = True
    return covered


def _common(
    text: UInt32s, positions: Int64s, query: UInt32s, starts: Int64s, depth: Int64s
) -> Int64s:
    """Extend common prefixes, known to reach ``depth``, to their full length; int64 [n]."""
    length = depth.copy()
    active = np.arange(len(starts))
    reach = np.arange(_STRIDE)
    while len(active):
        at = length[active]
        left = text[(positions[active] + at)[:, None] + reach]
        right = query[(starts[active] + at)[:, None] + reach]
        equal = left == right
        run = np.where(equal.all(axis=1), _STRIDE, equal.argmin(axis=1))
        length[active] += run
        active = active[run == _STRIDE]
    return length


def _longest(
    array: SuffixArray, query: UInt32s, starts: Int64s, low: Int64s, high: Int64s
) -> tuple[Int64s, Int64s]:
    """Find the longest match from each start, and the place of a suffix that begins with it.

    This is a binary search among the suffixes. The interval's two borders carry their common
    prefixes with the query, so a probe compares only what lies beyond the shorter of them.
    """
    lo, hi = low.copy(), high - 1
    lo_common = _common(array.text, array.order[lo], query, starts, np.full_like(lo, array.width))
    hi_common = _common(array.text, array.order[hi], query, starts, np.full_like(lo, array.width))
    active = np.flatnonzero(hi - lo > 1)
    while len(active):
        middle = (lo[active] + hi[active]) // 2
        known = np.minimum(lo_common[active], hi_common[active])
        positions = array.order[middle]
        common = _common(array.text, positions, query, starts[active], known)
        # The sentinel 0 sorts first and the query's end last, so one comparison decides.
        below = array.text[positions + common] < query[starts[active] + common]
        lo[active] = np.where(below, middle, lo[active])
        hi[active] = np.where(below, hi[active], middle)
        lo_common[active] = np.where(below, common, lo_common[active])
        hi_common[active] = np.where(below, hi_common[active], common)
        active = active[hi[active] - lo[active] > 1]
    return np.maximum(lo_common, hi_common), np.where(lo_common >= hi_common, lo, hi)


def _occurrences(array: SuffixArray, place: int, length: int, low: int, high: int) -> Int64s:
    """List the text positions that share ``length`` tokens with the suffix at a place."""
    before = np.flatnonzero(array.common[low:place] < length)
    after = np.flatnonzero(array.common[place : high - 1] < length)
    first = low + int(before[-1]) + 1 if len(before) else low
    last = place + int(after[0]) if len(after) else high - 1
    return array.order[first : last + 1]
