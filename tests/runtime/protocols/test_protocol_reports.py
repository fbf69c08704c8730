"""Reports, batches and the weights that are paid by."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import protocol_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.primitives.hashing import blake2_256
from runtime.protocols import merkle
from runtime.protocols.batch import (
    NO_REPORT,
    BatchReason,
    BatchRefusal,
    Entry,
    aggregate,
    leaf,
    leaves,
    summarise,
)
from runtime.protocols.ids import PPM, RecordId
from runtime.protocols.receipt import receipt_hash, signing_bytes
from runtime.protocols.report import (
    MAX_CLUSTERS,
    ClusterWeight,
    QueryCode,
    ReportReason,
    ReportRefusal,
    Scored,
    Span,
    check_clusters,
    check_report,
    decode_report,
    report_bytes,
    report_hash,
)
from runtime.protocols.weights import (
    MAX_SPAN_BONUS,
    cluster_scores,
    span_bits,
    span_bonus,
    top,
    weights,
)

ids = st.builds(RecordId, st.integers(0, 3), st.integers(0, 40))
scores = st.integers(-(10**12), 10**12)


def test_a_report_survives_its_bytes() -> None:
    report = samples.report()
    assert decode_report(report_bytes(report)) == report
    assert report_hash(report) == blake2_256(report_bytes(report))


@given(st.data())
def test_every_bit_of_a_report_counts(data: st.DataObject) -> None:
    raw = bytearray(report_bytes(samples.report()))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = decode_report(bytes(raw))
    except ReportRefusal:
        return
    assert report_hash(changed) != report_hash(samples.report())


A, B, C = RecordId(1, 1), RecordId(1, 2), RecordId(2, 0)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (ReportReason.BAD_TOP, {"top": (Scored(A, 1), Scored(B, 2))}),
        (ReportReason.BAD_TOP, {"top": (Scored(B, 1), Scored(A, 1))}),
        (ReportReason.BAD_TOP, {"top": (Scored(A, 2), Scored(A, 1))}),
        (ReportReason.BAD_SPANS, {"spans": (Span(3, 3, A, 0, 1),)}),
        (ReportReason.BAD_SPANS, {"spans": (Span(0, 5, A, 0, 1), Span(1, 5, A, 0, 1))}),
        (ReportReason.BAD_SPANS, {"spans": (Span(1, 5, A, 0, 1), Span(1, 6, A, 0, 1))}),
        (ReportReason.BAD_CLUSTERS, {"clusters": (ClusterWeight(A, PPM - 1),)}),
        (ReportReason.BAD_CLUSTERS, {"clusters": (ClusterWeight(A, PPM), ClusterWeight(B, 0))}),
        (
            ReportReason.BAD_CLUSTERS,
            {"clusters": (ClusterWeight(B, PPM // 2), ClusterWeight(A, PPM // 2))},
        ),
        (ReportReason.TOO_LONG, {"top": tuple(Scored(RecordId(0, i), -i) for i in range(65))}),
        (ReportReason.TOO_LONG, {"query": QueryCode(b"", (0,) * 4097)}),
    ],
)
def test_a_report_is_refused_by_name(reason: ReportReason, changes: dict[str, object]) -> None:
    with pytest.raises(ReportRefusal) as caught:
        check_report(samples.report(**changes))
    assert caught.value.reason is reason


def entry(nonce: int, premium: int, clusters: tuple[ClusterWeight, ...] | None) -> Entry:
    receipt = samples.receipt(nonce=nonce, compute=7 * nonce, premium=premium)
    if clusters is None:
        return Entry(receipt, None)
    return Entry(receipt, samples.report(receipt_hash=receipt_hash(receipt), clusters=clusters))


def test_a_batch_commits_to_receipts_and_reports_in_nonce_order() -> None:
    entries = [
        entry(2, 100, (ClusterWeight(A, PPM),)),
        entry(5, 300, (ClusterWeight(A, 600_000), ClusterWeight(C, 400_000))),
        entry(6, 50, ()),
        entry(9, 25, None),
    ]
    batch = summarise(entries)
    assert (batch.count, batch.first_nonce, batch.last_nonce) == (4, 2, 9)
    assert (batch.compute, batch.premium, batch.unmatched) == (7 * 22, 475, 75)
    assert batch.clusters == (ClusterWeight(A, 700_000), ClusterWeight(C, 300_000))
    assert batch.root == merkle.root(leaves(entries))
    last = blake2_256(signing_bytes(entries[3].receipt) + NO_REPORT)
    assert leaves(entries)[3] == leaf(entries[3].receipt, NO_REPORT) == last
    report = entries[0].report
    assert report is not None
    assert leaves(entries)[0] == blake2_256(signing_bytes(entries[0].receipt) + report_hash(report))


def test_a_batch_without_a_match_has_no_clusters() -> None:
    batch = summarise([entry(1, 10, ()), entry(2, 0, (ClusterWeight(A, PPM),))])
    assert batch.clusters == ()
    assert batch.unmatched == batch.premium == 10


@pytest.mark.parametrize(
    ("reason", "entries"),
    [
        (BatchReason.EMPTY, []),
        (BatchReason.WRONG_ORDER, [entry(2, 1, ()), entry(2, 1, ())]),
        (
            BatchReason.MIXED_SESSIONS,
            [entry(2, 1, ()), Entry(samples.receipt(nonce=3, session=12), None)],
        ),
        (BatchReason.WRONG_REPORT, [Entry(samples.receipt(nonce=4), samples.report())]),
    ],
)
def test_receipts_that_do_not_belong_together_are_refused(
    reason: BatchReason, entries: list[Entry]
) -> None:
    with pytest.raises(BatchRefusal) as caught:
        summarise(entries)
    assert caught.value.reason is reason


masses = st.dictionaries(ids, st.integers(0, 10**15), min_size=1, max_size=100)


@given(st.lists(st.tuples(st.integers(0, 10**24), masses), max_size=6))
def test_aggregated_weights_are_whole_and_canonical(
    reports: list[tuple[int, dict[RecordId, int]]],
) -> None:
    weighted = [(premium, weights(list(found.items()))) for premium, found in reports]
    total = aggregate(weighted)
    check_clusters(total)
    exact: dict[RecordId, int] = {}
    for premium, clusters in weighted:
        for item in clusters:
            exact[item.cluster] = exact.get(item.cluster, 0) + premium * item.weight
    heaviest = sorted((-mass, c) for c, mass in exact.items() if mass)[:MAX_CLUSTERS]
    assert bool(total) == bool(heaviest)
    whole = -sum(mass for mass, _ in heaviest)
    given_weight = {item.cluster: item.weight for item in total}
    for mass, cluster in heaviest:
        assert abs(Fraction(-mass * PPM, whole) - given_weight.get(cluster, 0)) < 1
    assert aggregate(reversed(weighted)) == total


@given(st.lists(st.builds(Scored, ids, scores), max_size=60), st.integers(0, 70))
def test_the_best_records_come_first_and_ties_go_to_the_lower_id(
    found: list[Scored], count: int
) -> None:
    best = top(found, count)
    assert list(best) == sorted(found, key=lambda s: (-s.score, s.record))[:count]


@given(masses, st.dictionaries(ids, st.integers(0, 200), max_size=70))
def test_weights_sum_to_a_million_and_spans_move_at_most_15_percent(
    influence: dict[RecordId, int], spans: dict[RecordId, int]
) -> None:
    paid = weights(list(influence.items()), list(spans.items()))
    check_clusters(paid)
    positive = {cluster for cluster, score in influence.items() if score > 0}
    assert bool(paid) == bool(positive)
    by_span_alone = sum(item.weight for item in paid if item.cluster not in positive)
    bonus = span_bonus(sum(spans.values()))
    assert bonus <= MAX_SPAN_BONUS
    if len(positive) + len(spans) <= MAX_CLUSTERS:
        assert by_span_alone <= bonus
    assert weights(list(influence.items())[::-1], list(spans.items())[::-1]) == paid


def test_a_span_earns_a_bounded_bonus_and_nothing_without_influence() -> None:
    assert weights([(A, 5)], [(B, 40)]) == (ClusterWeight(A, 960_000), ClusterWeight(B, 40_000))
    assert weights([(A, 5)], [(B, 10**6)]) == (
        ClusterWeight(A, 850_000),
        ClusterWeight(B, 150_000),
    )
    assert weights([(A, 0), (B, -3)], [(B, 40)]) == ()
    assert weights([(A, 3), (B, 1)]) == (ClusterWeight(A, 750_000), ClusterWeight(B, 250_000))


def test_copies_add_nothing_to_a_cluster() -> None:
    duplicates = {B: A}
    alone = cluster_scores([Scored(A, 8), Scored(C, 4)], duplicates, {A: 8, C: 4})
    copied = cluster_scores(
        [Scored(B, 9), Scored(A, 8), Scored(C, 4)], duplicates, {A: 8, B: 9, C: 4}
    )
    assert alone == copied == ((A, 8), (C, 4))


def test_a_cluster_whose_canonical_record_scores_below_zero_earns_nothing() -> None:
    assert cluster_scores([Scored(B, 9)], {B: A}, {A: -1, B: 9}) == ()


def test_the_first_registered_member_stands_in_for_a_record_outside_the_index() -> None:
    later = RecordId(1, 9)
    ranked = [Scored(later, 9), Scored(B, 4)]
    assert cluster_scores(ranked, {B: A, later: A}, {}) == ((A, 4),)


def test_span_bits_add_up_by_cluster() -> None:
    spans = (Span(0, 9, A, 0, 3), Span(4, 12, B, 0, 4), Span(8, 20, C, 0, 0))
    assert span_bits(spans, {B: A}) == ((A, 7),)


@given(st.lists(scores.filter(bool), min_size=2, max_size=6))
def test_splitting_a_records_score_gains_nothing_in_proportion(parts: list[int]) -> None:
    whole = max(0, sum(parts))
    other = 10**12
    if whole:
        paid = {w.cluster: w.weight for w in weights([(A, whole), (C, other)])}
        assert abs(Fraction(whole * PPM, whole + other) - paid.get(A, 0)) < 1


def test_a_report_of_nothing_is_in_order() -> None:
    check_report(replace(samples.report(), top=(), spans=(), clusters=()))
