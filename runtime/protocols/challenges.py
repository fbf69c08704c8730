"""What a chain decides by itself about an opened report: each function finds one kind of lie.

A challenger opens leaves of the roots that the adapter registered. Every function returns whether
the report is wrong; an opening that does not lead to its root is refused, as is a challenge that
lacks a part, so a careless challenger is told from a lying executor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from runtime.primitives.errors import Refusal
from runtime.primitives.scale import H256, U64, encode
from runtime.protocols import merkle
from runtime.protocols.commitments import CorpusLeaf, IndexLeaf
from runtime.protocols.ids import RecordId
from runtime.protocols.report import Report, Span
from runtime.protocols.scoring import score
from runtime.protocols.weights import canonical_of, cluster_scores, span_bits, weights


class ChallengeReason(Enum):
    """Why a challenge cannot be judged."""

    BAD_OPENING = "the opened leaf does not lead to the root on chain"
    WRONG_RECORD = "open the leaf of the record that the challenge is about"
    NO_SUCH_ENTRY = "the report has no entry of this number"
    INCOMPLETE = "open the leaf of every canonical record that is not among the top ones"


class ChallengeRefusal(Refusal):
    """A challenge that proves nothing either way."""

    def __init__(self, reason: ChallengeReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: ChallengeReason = reason


@dataclass(frozen=True, slots=True)
class Commitment:
    """A root on chain and the number of its leaves."""

    root: H256
    size: U64


@dataclass(frozen=True, slots=True)
class IndexOpening:
    """A leaf of the influence index with its path."""

    leaf: IndexLeaf
    position: U64
    path: tuple[H256, ...]


@dataclass(frozen=True, slots=True)
class CorpusOpening:
    """A leaf of the tokenised corpus with its path."""

    leaf: CorpusLeaf
    position: U64
    path: tuple[H256, ...]


def score_is_wrong(
    report: Report, rank: int, opening: IndexOpening, index: Commitment, layout: Sequence[int]
) -> bool:
    """Tell whether the record of this rank has another score than the report states.

    Raises:
        ChallengeRefusal: NO_SUCH_ENTRY, BAD_OPENING, WRONG_RECORD.
    """
    if not 0 <= rank < len(report.top):
        raise ChallengeRefusal(ChallengeReason.NO_SUCH_ENTRY)
    stated = report.top[rank]
    if opening.leaf.record != stated.record:
        raise ChallengeRefusal(ChallengeReason.WRONG_RECORD)
    return exact_score(report, opening, index, layout) != stated.score


def record_is_omitted(
    report: Report,
    count: int,
    opening: IndexOpening,
    index: Commitment,
    layout: Sequence[int],
) -> bool:
    """Tell whether a record outside the top belongs among the method's `count` best.

    Raises:
        ChallengeRefusal: BAD_OPENING.
    """
    value = exact_score(report, opening, index, layout)
    record = opening.leaf.record
    if any(scored.record == record for scored in report.top):
        return False
    if len(report.top) < min(count, index.size):
        return True
    if not report.top or count == 0:
        return False
    last = report.top[-1]
    return (-value, record) < (-last.score, last.record)


def span_is_false(
    report: Report,
    number: int,
    output: Sequence[int],
    opening: CorpusOpening,
    corpus: Commitment,
) -> bool:
    """Tell whether a span is not in its record where the report says, or goes on there.

    `output` are the output's token ids; whoever asks has checked them against the receipt's
    `response_hash`.

    Raises:
        ChallengeRefusal: NO_SUCH_ENTRY, BAD_OPENING, WRONG_RECORD.
    """
    span = _span(report, number)
    if opening.leaf.record != span.record:
        raise ChallengeRefusal(ChallengeReason.WRONG_RECORD)
    tokens = _open_corpus(opening, corpus)
    if not _matches(output, span.start, span.end, tokens, span.offset):
        return True
    before = span.offset > 0 and _matches(output, span.start - 1, span.end, tokens, span.offset - 1)
    return before or _matches(output, span.start, span.end + 1, tokens, span.offset)


def span_is_beaten(
    report: Report,
    number: int,
    output: Sequence[int],
    better: Span,
    opening: CorpusOpening,
    corpus: Commitment,
) -> bool:
    """Tell whether `better` stands in its record and contains the span, longer or earlier.

    Earlier means the same output tokens in a record of the same Datanet with a lower number.

    Raises:
        ChallengeRefusal: NO_SUCH_ENTRY, BAD_OPENING, WRONG_RECORD.
    """
    span = _span(report, number)
    if opening.leaf.record != better.record:
        raise ChallengeRefusal(ChallengeReason.WRONG_RECORD)
    tokens = _open_corpus(opening, corpus)
    if not _matches(output, better.start, better.end, tokens, better.offset):
        return False
    if (better.start, better.end) == (span.start, span.end):
        same_datanet = better.record.datanet == span.record.datanet
        return same_datanet and better.record.record < span.record.record
    return better.start <= span.start and span.end <= better.end


def weights_are_wrong(
    report: Report,
    duplicates: Mapping[RecordId, RecordId],
    absent: Sequence[RecordId],
    openings: Sequence[IndexOpening],
    index: Commitment,
    layout: Sequence[int],
) -> bool:
    """Tell whether the clusters' weights do not follow from the top records and the spans.

    Every canonical record that is not among the top ones is opened, or stands in `absent` where
    whoever asks knows that the index lacks it (its Datanet's version does).

    Raises:
        ChallengeRefusal: BAD_OPENING, INCOMPLETE.
    """
    scores = {scored.record: scored.score for scored in report.top}
    for opening in openings:
        scores[opening.leaf.record] = exact_score(report, opening, index, layout)
    for scored in report.top:
        cluster = canonical_of(scored.record, duplicates)
        if cluster not in scores and cluster not in absent:
            raise ChallengeRefusal(ChallengeReason.INCOMPLETE, str(cluster))
    influence = cluster_scores(report.top, duplicates, scores)
    return weights(influence, span_bits(report.spans, duplicates)) != report.clusters


def exact_score(
    report: Report, opening: IndexOpening, index: Commitment, layout: Sequence[int]
) -> int:
    """Return an opened record's score for the report's query; raises BAD_OPENING."""
    leaf = opening.leaf
    data = encode(IndexLeaf, leaf)
    if not merkle.verify_path(index.root, data, opening.position, index.size, opening.path):
        raise ChallengeRefusal(ChallengeReason.BAD_OPENING)
    query = report.query
    return score(leaf.codes, leaf.exponents, query.codes, query.exponents, layout)


def _span(report: Report, number: int) -> Span:
    if not 0 <= number < len(report.spans):
        raise ChallengeRefusal(ChallengeReason.NO_SUCH_ENTRY)
    return report.spans[number]


def _open_corpus(opening: CorpusOpening, corpus: Commitment) -> tuple[int, ...]:
    data = encode(CorpusLeaf, opening.leaf)
    if not merkle.verify_path(corpus.root, data, opening.position, corpus.size, opening.path):
        raise ChallengeRefusal(ChallengeReason.BAD_OPENING)
    return opening.leaf.tokens


def _matches(
    output: Sequence[int], start: int, end: int, tokens: Sequence[int], offset: int
) -> bool:
    """Tell whether ``output[start:end]`` stands whole in the tokens at `offset`."""
    if not 0 <= start < end <= len(output) or not 0 <= offset <= len(tokens) - (end - start):
        return False
    return tuple(output[start:end]) == tuple(tokens[offset : offset + end - start])
