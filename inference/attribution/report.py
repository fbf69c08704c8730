"""From a query code to a report, and from a report to the first thing that is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from inference.attribution.arrays import Int64s
from inference.attribution.index import InfluenceIndex, rank
from inference.attribution.spans import SpanIndex
from runtime.protocols.ids import RecordId
from runtime.protocols.report import ClusterWeight, QueryCode, Report, Scored, Span
from runtime.protocols.weights import cluster_scores, span_bits, weights

TOP_RECORDS = 16
METHOD = 0
NOISE_FACTOR = 4
"""A listed record scores above this many times the median absolute score of all records."""
NOISE_RECORDS = 64
"""Below so many records the median tells nothing about noise, and none is gated."""


def listed(index: InfluenceIndex, scores: Int64s) -> tuple[Scored, ...]:
    """List the records that a report names: the best 16, as far as they stand out of the noise.

    Records that an answer does not depend on score around zero, and their tail would otherwise
    take a part of the pay that grows with their number. The median is the lower one, an integer.
    """
    best = rank(index, scores, TOP_RECORDS)
    if len(scores) < NOISE_RECORDS:
        return best
    middle = (len(scores) - 1) // 2
    floor = NOISE_FACTOR * int(np.partition(np.abs(scores), middle)[middle])
    return tuple(scored for scored in best if scored.score > floor)


@dataclass(frozen=True, slots=True)
class Attributor:
    """Everything that is exact: from the query's codes on, all machines agree bit for bit."""

    index: InfluenceIndex
    spans: SpanIndex
    duplicates: Mapping[RecordId, RecordId] = field(default_factory=dict)
    """Duplicate record to its cluster's canonical record, as the chain has it."""

    def report(
        self,
        receipt_hash: bytes,
        query: QueryCode,
        prompt: Sequence[int],
        output: Sequence[int],
        salt: bytes,
    ) -> Report:
        """Build the report of one answer; raises ScoreRefusal on a query of another layout."""
        scores = self.index.scores(query)
        top = listed(self.index, scores)
        spans = tuple(
            self.spans.spans(np.array(prompt, dtype=np.uint32), np.array(output, dtype=np.uint32))
        )
        clustered = [self.duplicates.get(scored.record, scored.record) for scored in top]
        places = {cluster: self.index.position(cluster) for cluster in clustered}
        known = {c: int(scores[at]) for c, at in places.items() if at is not None}
        influence = cluster_scores(top, self.duplicates, known)
        clusters = weights(influence, span_bits(spans, self.duplicates))
        return Report(receipt_hash, METHOD, query, top, spans, clusters, salt)

    def first_difference(
        self, report: Report, prompt: Sequence[int], output: Sequence[int]
    ) -> str | None:
        """Recompute all that is exact in a report from its own codes; None if nothing differs.

        The query code itself is only comparable within a tolerance (`agreement.agree`).
        """
        ours = self.report(report.receipt_hash, report.query, prompt, output, report.salt)
        for part in fields(Report):
            stated, exact = getattr(report, part.name), getattr(ours, part.name)
            if stated != exact:
                return _describe(part.name, stated, exact)
        return None


def verify_report(
    attributor: Attributor,
    codes: QueryCode,
    report: Report,
    prompt: Sequence[int],
    output: Sequence[int],
) -> str | None:
    """Name the first difference between a report and the canonical codes' exact results."""
    if report.query != codes:
        return "query: the report's codes are not the canonical ones"
    return attributor.first_difference(report, prompt, output)


def _describe(name: str, stated: object, exact: object) -> str:
    if not isinstance(stated, tuple) or not isinstance(exact, tuple):
        return f"{name}: the report says {stated!r}, exact is {exact!r}"
    for number, (theirs, ours) in enumerate(zip(stated, exact, strict=False)):
        if theirs != ours:
            return f"{name}[{number}]: the report says {_show(theirs)}, exact is {_show(ours)}"
    return f"{name}: the report has {len(stated)} entries, exact are {len(exact)}"


def _show(entry: object) -> str:
    match entry:
        case Scored(record, score):
            return f"record {record.datanet}/{record.record} with score {score}"
        case Span(start, end, record, offset, bits):
            place = f"record {record.datanet}/{record.record} at {offset}"
            return f"tokens {start}:{end} in {place}, {bits} bits"
        case ClusterWeight(cluster, weight):
            return f"cluster {cluster.datanet}/{cluster.record} with {weight} ppm"
        case _:
            return repr(entry)
