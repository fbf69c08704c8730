"""Span matching against brute force, and the rules that decide which spans count."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.attribution.corpus import build_corpus, corpus_leaf, corpus_root
from inference.attribution.spans import build_span_index
from inference.attribution.surprise import FRACTION_BITS, log2_fixed, surprise_table
from runtime.primitives.scale import encode
from runtime.protocols import merkle
from runtime.protocols.commitments import CorpusLeaf
from runtime.protocols.ids import RecordId


def ids(*numbers: int) -> list[RecordId]:
    return [RecordId(1, number) for number in numbers]


def brute_force(
    records: list[list[int]], output: list[int], width: int
) -> list[tuple[int, int, int, int, int]]:
    """List (start, end, record, offset, count) of maximal matches by trying every pair."""

    def places(part: list[int]) -> list[tuple[int, int]]:
        return [
            (number, at)
            for number, record in enumerate(records)
            for at in range(len(record) - len(part) + 1)
            if record[at : at + len(part)] == part
        ]

    matches = [
        (start, end)
        for start, end in itertools.combinations(range(len(output) + 1), 2)
        if end - start >= width and places(output[start:end])
    ]
    maximal = [
        (s, e)
        for s, e in matches
        if not any((a, b) != (s, e) and a <= s and e <= b for a, b in matches)
    ]
    return [(s, e, *places(output[s:e])[0], len(places(output[s:e]))) for s, e in maximal]


token_lists = st.lists(st.integers(0, 3), max_size=14)


@settings(max_examples=300, deadline=None)
@given(st.lists(token_lists, min_size=1, max_size=6), token_lists, st.integers(1, 4))
def test_maximal_matches_equal_brute_force(
    records: list[list[int]], output: list[int], width: int
) -> None:
    corpus = build_corpus(ids(*range(len(records))), records)
    index = build_span_index(corpus, 4, width)
    starts = index.array.starts
    found = []
    for start, end, position, count in index.maximal(np.array(output, dtype=np.uint32)):
        record = int(np.searchsorted(starts, position, side="right")) - 1
        found.append((start, end, record, position - int(starts[record]), count))
    assert found == brute_force(records, output, width)


def test_long_copies_inside_a_larger_corpus_equal_brute_force() -> None:
    rng = np.random.default_rng(5)
    records = [rng.integers(0, 50, int(rng.integers(5, 90))).tolist() for _ in range(60)]
    records[40] = records[7][10:60] + records[40]
    output = records[7][:45] + records[3][2:] + records[40][20:]
    index = build_span_index(build_corpus(ids(*range(60)), records), 50, 4)
    found = [(s, e, c) for s, e, _, c in index.maximal(np.array(output, dtype=np.uint32))]
    assert found == [(s, e, c) for s, e, _, _, c in brute_force(records, output, 4)]


def test_no_span_crosses_two_records_and_the_earliest_record_owns_it() -> None:
    records = [[9, 9, 9], [1, 2, 3, 4, 5], [6, 7, 8], [0, 1, 2, 3, 4, 5, 6]]
    index = build_span_index(build_corpus(ids(10, 20, 30, 40), records), 10, 3)
    output = np.array([1, 2, 3, 4, 5, 6, 7, 8], dtype=np.uint32)
    spans = index.maximal(output)
    assert [(s, e) for s, e, _, _ in spans] == [(0, 6), (5, 8)]
    [kept] = index.spans(np.zeros(0, dtype=np.uint32), output)
    assert (kept.record, kept.offset, kept.end) == (RecordId(1, 40), 1, 6)
    [kept] = index.spans(np.zeros(0, dtype=np.uint32), output[:5])
    assert (kept.record, kept.offset) == (RecordId(1, 20), 0)


def test_a_span_that_stands_in_the_prompt_is_worth_nothing() -> None:
    record = list(range(40))
    index = build_span_index(build_corpus(ids(0), [record]), 64, 8)
    output = np.array(record[5:30], dtype=np.uint32)
    assert index.spans(np.zeros(0, dtype=np.uint32), output)[0].bits > 0
    assert index.spans(np.array(record, dtype=np.uint32), output) == []
    partly = index.spans(np.array(record[5:20], dtype=np.uint32), output)[0]
    table = index.surprise
    assert partly.bits == int(table[20:30].astype(int).sum()) >> FRACTION_BITS


def test_log2_is_exact_at_powers_of_two_and_below_by_less_than_a_step() -> None:
    assert [log2_fixed(1 << n) for n in range(40)] == [n << FRACTION_BITS for n in range(40)]
    for number in (3, 5, 1000, 123_456_789):
        exact = np.log2(number) * 2**FRACTION_BITS
        assert 0 <= exact - log2_fixed(number) < 1 + 1e-6
    with pytest.raises(ValueError, match="below 1"):
        log2_fixed(0)


def test_a_rarer_token_never_has_fewer_bits() -> None:
    tokens = np.repeat(np.arange(5, dtype=np.uint32), [100, 50, 10, 1, 0])
    table = surprise_table(tokens, 6)
    assert list(table) == sorted(table)
    assert table[4] == table[5] == log2_fixed(161 + 6)
    with pytest.raises(ValueError, match="vocabulary"):
        surprise_table(tokens, 3)


def test_the_corpus_root_opens_every_record() -> None:
    records = [list(range(n)) for n in (0, 5, 32, 33, 100)]
    corpus = build_corpus(ids(3, 4, 9, 11, 12), records)
    leaves = [encode(CorpusLeaf, corpus_leaf(corpus, position)) for position in range(5)]
    for position in range(5):
        path = merkle.path(leaves, position)
        assert merkle.verify_path(corpus_root(corpus), leaves[position], position, 5, path)
    assert corpus_leaf(corpus, 1).tokens == (0, 1, 2, 3, 4)
    with pytest.raises(ValueError, match="rise strictly"):
        build_corpus(ids(2, 1), [[1], [2]])
