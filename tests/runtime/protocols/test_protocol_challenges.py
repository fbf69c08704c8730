"""An honest report withstands every challenge, and each lie falls to one."""

from __future__ import annotations

from dataclasses import replace

import protocol_samples as samples
import pytest

from runtime.primitives.scale import encode
from runtime.protocols import merkle
from runtime.protocols.challenges import (
    ChallengeReason,
    ChallengeRefusal,
    Commitment,
    CorpusOpening,
    IndexOpening,
    record_is_omitted,
    score_is_wrong,
    span_is_beaten,
    span_is_false,
    weights_are_wrong,
)
from runtime.protocols.commitments import CorpusLeaf, IndexLeaf
from runtime.protocols.ids import RecordId
from runtime.protocols.report import QueryCode, Report, Scored, Span, check_report
from runtime.protocols.scoring import pack_codes, score
from runtime.protocols.weights import cluster_scores, span_bits, top, weights

LAYOUT = (3, 2)
COUNT = 3
QUERY = QueryCode(bytes((5, 250, 100, 9, 255)), (1, 0))
OUTPUT = (1, 2, 3, 4, 5, 6, 7, 8)
CODES = ([3, -3, 3, 1, 1], [3, 1, 3, 3, -3], [1, 1, 1, -1, 3], [-3, 3, -3, 1, 1], [1, 3, 1, 1, 3])
TEXTS = ((9, 2, 3, 4, 5, 9), (8, 8), (2, 3, 4, 5), (1, 2, 3, 4, 5, 6), (7, 8, 9))

INDEX = [
    IndexLeaf(RecordId(1, n), bytes([n]) * 32, pack_codes(codes), bytes((n, 2)))
    for n, codes in enumerate(CODES)
]
CORPUS = [CorpusLeaf(RecordId(1, n), tokens) for n, tokens in enumerate(TEXTS)]
INDEX_DATA = [encode(IndexLeaf, leaf) for leaf in INDEX]
CORPUS_DATA = [encode(CorpusLeaf, leaf) for leaf in CORPUS]
INDEX_ROOT = Commitment(merkle.root(INDEX_DATA), len(INDEX))
CORPUS_ROOT = Commitment(merkle.root(CORPUS_DATA), len(CORPUS))
DUPLICATES = {RecordId(1, 4): RecordId(1, 3)}


def opened(number: int) -> IndexOpening:
    return IndexOpening(INDEX[number], number, merkle.path(INDEX_DATA, number))


def opened_text(number: int) -> CorpusOpening:
    return CorpusOpening(CORPUS[number], number, merkle.path(CORPUS_DATA, number))


def honest() -> Report:
    scored = [
        Scored(leaf.record, score(leaf.codes, leaf.exponents, QUERY.codes, QUERY.exponents, LAYOUT))
        for leaf in INDEX
    ]
    best = top(scored, COUNT)
    spans = (Span(0, 6, RecordId(1, 3), 0, 30), Span(6, 8, RecordId(1, 4), 0, 5))
    known = {s.record: s.score for s in scored}
    paid = weights(cluster_scores(best, DUPLICATES, known), span_bits(spans, DUPLICATES))
    report = samples.report(query=QUERY, top=best, spans=spans, clusters=paid)
    check_report(report)
    return report


REPORT = honest()
OUTSIDE = [n for n in range(5) if RecordId(1, n) not in {s.record for s in REPORT.top}]


def number_of(rank: int) -> int:
    return REPORT.top[rank].record.record


def wrong_weights(report: Report) -> bool:
    openings = [opened(3)]
    return weights_are_wrong(report, DUPLICATES, (), openings, INDEX_ROOT, LAYOUT)


def test_an_honest_report_withstands_every_challenge() -> None:
    for rank in range(COUNT):
        assert not score_is_wrong(REPORT, rank, opened(number_of(rank)), INDEX_ROOT, LAYOUT)
    for number in range(5):
        assert not record_is_omitted(REPORT, COUNT, opened(number), INDEX_ROOT, LAYOUT)
    assert not span_is_false(REPORT, 0, OUTPUT, opened_text(3), CORPUS_ROOT)
    assert not span_is_false(REPORT, 1, OUTPUT, opened_text(4), CORPUS_ROOT)
    for number, leaf in enumerate(CORPUS):
        for start in range(8):
            for end in range(start + 1, 9):
                for offset in range(len(leaf.tokens)):
                    better = Span(start, end, leaf.record, offset, 0)
                    for span in (0, 1):
                        assert not span_is_beaten(
                            REPORT, span, OUTPUT, better, opened_text(number), CORPUS_ROOT
                        )
    assert not wrong_weights(REPORT)


@pytest.mark.parametrize("rank", range(COUNT))
@pytest.mark.parametrize("difference", [-1, 1])
def test_a_wrong_score_is_proved(rank: int, difference: int) -> None:
    entries = list(REPORT.top)
    entries[rank] = replace(entries[rank], score=entries[rank].score + difference)
    lie = replace(REPORT, top=tuple(entries))
    assert score_is_wrong(lie, rank, opened(number_of(rank)), INDEX_ROOT, LAYOUT)


@pytest.mark.parametrize("rank", range(COUNT))
def test_an_omitted_record_is_proved(rank: int) -> None:
    missing = number_of(rank)
    rest = [scored for scored in REPORT.top if scored.record.record != missing]
    assert record_is_omitted(
        replace(REPORT, top=tuple(rest)), COUNT, opened(missing), INDEX_ROOT, LAYOUT
    )
    leaf = INDEX[OUTSIDE[0]]
    value = score(leaf.codes, leaf.exponents, QUERY.codes, QUERY.exponents, LAYOUT)
    filled = replace(REPORT, top=(*rest, Scored(leaf.record, value)))
    assert record_is_omitted(filled, COUNT, opened(missing), INDEX_ROOT, LAYOUT)


@pytest.mark.parametrize(
    ("lie", "number"),
    [
        (Span(0, 6, RecordId(1, 0), 0, 30), 0),  # not there
        (Span(1, 5, RecordId(1, 3), 1, 30), 3),  # goes on to the left and the right
        (Span(0, 5, RecordId(1, 3), 0, 30), 3),  # goes on to the right
        (Span(1, 6, RecordId(1, 3), 1, 30), 3),  # goes on to the left
        (Span(0, 6, RecordId(1, 3), 1, 30), 3),  # runs beyond the record
        (Span(6, 9, RecordId(1, 4), 0, 30), 4),  # runs beyond the output
    ],
)
def test_a_false_span_is_proved(lie: Span, number: int) -> None:
    report = replace(REPORT, spans=(lie,))
    assert span_is_false(report, 0, OUTPUT, opened_text(number), CORPUS_ROOT)


def test_a_span_that_is_longer_or_earlier_elsewhere_is_beaten() -> None:
    shorter = replace(REPORT, spans=(Span(1, 5, RecordId(1, 2), 0, 20),))
    assert not span_is_false(shorter, 0, OUTPUT, opened_text(2), CORPUS_ROOT)
    longer = Span(0, 6, RecordId(1, 3), 0, 0)
    assert span_is_beaten(shorter, 0, OUTPUT, longer, opened_text(3), CORPUS_ROOT)
    earlier = Span(1, 5, RecordId(1, 0), 1, 0)
    assert span_is_beaten(shorter, 0, OUTPUT, earlier, opened_text(0), CORPUS_ROOT)
    absent = Span(0, 7, RecordId(1, 3), 0, 0)
    assert not span_is_beaten(shorter, 0, OUTPUT, absent, opened_text(3), CORPUS_ROOT)


def test_wrong_weights_are_proved() -> None:
    first, *rest = REPORT.clusters
    assert rest
    moved = (replace(first, weight=first.weight + 1), replace(rest[0], weight=rest[0].weight - 1))
    assert wrong_weights(replace(REPORT, clusters=(*moved, *rest[1:])))
    assert wrong_weights(replace(REPORT, clusters=()))


def test_a_careless_challenge_is_refused_and_proves_nothing() -> None:
    def refused(reason: ChallengeReason) -> object:
        return pytest.raises(ChallengeRefusal, match=reason.name)

    forged = replace(opened(1), leaf=replace(INDEX[1], codes=INDEX[0].codes))
    with refused(ChallengeReason.BAD_OPENING):
        record_is_omitted(REPORT, COUNT, forged, INDEX_ROOT, LAYOUT)
    with refused(ChallengeReason.WRONG_RECORD):
        score_is_wrong(REPORT, 0, opened(OUTSIDE[0]), INDEX_ROOT, LAYOUT)
    with refused(ChallengeReason.NO_SUCH_ENTRY):
        score_is_wrong(REPORT, COUNT, opened(0), INDEX_ROOT, LAYOUT)
    with refused(ChallengeReason.NO_SUCH_ENTRY):
        span_is_false(REPORT, 2, OUTPUT, opened_text(0), CORPUS_ROOT)
    with refused(ChallengeReason.WRONG_RECORD):
        span_is_false(REPORT, 0, OUTPUT, opened_text(0), CORPUS_ROOT)
    with refused(ChallengeReason.BAD_OPENING):
        span_is_false(REPORT, 0, OUTPUT, replace(opened_text(3), position=2), CORPUS_ROOT)
    copies = {scored.record: RecordId(0, 0) for scored in REPORT.top}
    with refused(ChallengeReason.INCOMPLETE):
        weights_are_wrong(REPORT, copies, (), (), INDEX_ROOT, LAYOUT)
    weights_are_wrong(REPORT, copies, (RecordId(0, 0),), (), INDEX_ROOT, LAYOUT)
