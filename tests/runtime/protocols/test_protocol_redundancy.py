"""What makes a record redundant, against plain definitions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.protocols.records import canonical_hash, canonical_tokens
from runtime.protocols.redundancy import (
    Redundancy,
    covered,
    is_contained,
    is_similar,
    redundancy,
    shingles,
)

words = st.lists(st.sampled_from("abc"), max_size=30)


def numbers(low: int, high: int) -> list[str]:
    return [f"w{n}" for n in range(low, high)]


@given(words, st.lists(words, max_size=3), st.integers(1, 6))
def test_covered_counts_the_tokens_inside_long_matches(
    tokens: list[str], earlier: list[list[str]], length: int
) -> None:
    inside = [False] * len(tokens)
    for other in earlier:
        for i in range(len(tokens) - length + 1):
            for j in range(len(other) - length + 1):
                if tokens[i : i + length] == other[j : j + length]:
                    inside[i : i + length] = [True] * length
    assert covered(tokens, earlier, length) == sum(inside)


def test_containment_begins_at_80_percent_of_matches_of_32_tokens() -> None:
    record = numbers(0, 40)
    assert is_contained(record, [numbers(0, 32)])
    assert not is_contained(record, [numbers(0, 31)])
    assert not is_contained([*record, "more"], [numbers(0, 32)])
    assert is_contained(numbers(0, 80), [numbers(0, 32), numbers(40, 72)])
    assert not is_contained([], [numbers(0, 99)])


@given(words, words)
def test_similarity_is_the_exact_jaccard_index(a: list[str], b: list[str]) -> None:
    ours, theirs = shingles(a, 5), shingles(b, 5)
    union = len(ours | theirs)
    assert is_similar(a, b) == (union > 0 and 5 * len(ours & theirs) >= 4 * union)
    assert is_similar(a, b) == is_similar(b, a)


def test_one_changed_word_in_fifty_is_similar_and_in_ten_is_not() -> None:
    record = numbers(0, 60)
    assert is_similar(record, [*record[:-1], "x"])
    assert not is_similar(numbers(0, 10), [*numbers(0, 5), "x", *numbers(6, 10)])


def test_the_strongest_reason_is_named() -> None:
    earlier = ("The same   TEXT, twice.",)
    known = [(canonical_tokens(earlier), canonical_hash(earlier))]
    same = ("the same text, twice.",)
    assert redundancy(canonical_tokens(same), canonical_hash(same), known) is Redundancy.SAME_TEXT
    long = " ".join(numbers(0, 50))
    known = [(canonical_tokens((long,)), canonical_hash((long,)))]
    for text, reason in (
        (" ".join(numbers(5, 45)), Redundancy.CONTAINED),
        (" ".join([*numbers(0, 20), "x", *numbers(21, 30), "x", *numbers(31, 50)]), None),
        (" ".join(numbers(100, 150)), None),
    ):
        tokens = canonical_tokens((text,))
        assert redundancy(tokens, canonical_hash((text,)), known) is reason
    short = numbers(0, 28)
    known = [(short, b"a")]
    assert redundancy([*short, "x"], b"b", known) is Redundancy.SIMILAR
