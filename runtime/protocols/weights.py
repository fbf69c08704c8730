"""From scores to the weights that contributors are paid by.

A cluster's score is ``max(0, score of its canonical record)``: its duplicates add nothing, so a
copy earns nothing, and clipping comes after the sum over a record's fields, so splitting a record
gains nothing. Shares are proportional to the score, power 1. Spans distribute a bounded bonus: a
verbatim match is evidence, but not a cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest

from runtime.primitives.fixed_point import largest_remainder
from runtime.protocols.batch import normalise
from runtime.protocols.ids import PPM, ClusterId, RecordId
from runtime.protocols.report import MAX_CLUSTERS, ClusterWeight, Scored, Span

MAX_SPAN_BONUS = 150_000
"""Most parts per million of the contributors' share that spans distribute."""
SPAN_PPM_PER_BIT = 1_000
"""What one bit of surprise adds to the bonus until it is full, at 150 bits."""


def top(scores: Iterable[Scored], count: int) -> tuple[Scored, ...]:
    """Return the `count` best records, best first, ties by the lower record id."""
    return tuple(nsmallest(count, scores, key=lambda scored: (-scored.score, scored.record)))


def canonical_of(record: RecordId, duplicates: Mapping[RecordId, RecordId]) -> ClusterId:
    """Return a record's cluster; only duplicates stand in the mapping."""
    return duplicates.get(record, record)


def cluster_scores(
    ranked: Iterable[Scored],
    duplicates: Mapping[RecordId, RecordId],
    scores: Mapping[RecordId, int],
) -> tuple[tuple[ClusterId, int], ...]:
    """Return the positive scores of the clusters that the ranked records belong to.

    Best first, ties by the lower cluster id, at most 64. `scores` holds the scores of canonical
    records of the index. Where the index lacks a cluster's canonical record, its first registered
    record among the ranked ones stands in.
    """
    members: dict[ClusterId, Scored] = {}
    for scored in ranked:
        cluster = canonical_of(scored.record, duplicates)
        first = members.get(cluster)
        if first is None or scored.record < first.record:
            members[cluster] = scored
    clipped = ((c, max(0, scores.get(c, scored.score))) for c, scored in members.items())
    positive = [(cluster, value) for cluster, value in clipped if value > 0]
    return tuple(nsmallest(MAX_CLUSTERS, positive, key=lambda item: (-item[1], item[0])))


def span_bits(
    spans: Iterable[Span], duplicates: Mapping[RecordId, RecordId]
) -> tuple[tuple[ClusterId, int], ...]:
    """Return the bits of surprise that each cluster's spans add up to, by rising cluster id."""
    sums: dict[ClusterId, int] = {}
    for span in spans:
        cluster = canonical_of(span.record, duplicates)
        sums[cluster] = sums.get(cluster, 0) + span.bits
    return tuple(sorted((cluster, bits) for cluster, bits in sums.items() if bits > 0))


def span_bonus(bits: int) -> int:
    """Return the part of the contributors' share, in ppm, that spans of `bits` in all earn."""
    return min(MAX_SPAN_BONUS, SPAN_PPM_PER_BIT * bits)


def weights(
    influence: Sequence[tuple[ClusterId, int]], spans: Sequence[tuple[ClusterId, int]] = ()
) -> tuple[ClusterWeight, ...]:
    """Return the clusters' weights, 1,000,000 in all, heaviest first, ties by the lower id.

    `spans` distribute `span_bonus` of their bits by those bits, positive influence the rest; each
    by largest remainder, ties by rank. Without positive influence nothing matched and there are no
    weights, whatever the spans. At most 64 clusters; the heaviest are kept and renormalised.
    """
    scored = [(cluster, value) for cluster, value in influence if value > 0]
    scored.sort(key=lambda item: (-item[1], item[0]))
    if not scored:
        return ()
    spanned = sorted((c, bits) for c, bits in spans if bits > 0)
    spanned.sort(key=lambda item: -item[1])
    bonus = span_bonus(sum(bits for _, bits in spanned))
    sums: dict[ClusterId, int] = {}
    for pool, entries in ((PPM - bonus, scored), (bonus, spanned)):
        if not entries:
            continue
        parts = largest_remainder(pool, [value for _, value in entries])
        for (cluster, _), part in zip(entries, parts, strict=True):
            sums[cluster] = sums.get(cluster, 0) + part
    positive = [(cluster, part) for cluster, part in sums.items() if part > 0]
    return normalise(nsmallest(MAX_CLUSTERS, positive, key=lambda item: (-item[1], item[0])))
