"""Reports: built the same everywhere, and every change of an exact part is named."""

from dataclasses import replace

import numpy as np
import pytest
from planted_world import EOS, VOCABULARY, PlantedWorld

from inference.attribution.datanet import token_corpus
from inference.attribution.query import querier
from inference.attribution.report import Attributor, listed, verify_report
from inference.attribution.spans import build_span_index
from runtime.protocols.ids import RecordId
from runtime.protocols.report import Report, Scored, check_report, decode_report, report_bytes
from runtime.protocols.scoring import ScoreRefusal

RECEIPT, SALT = b"\x01" * 32, b"\x02" * 32


@pytest.fixture(scope="module")
def attributor(world: PlantedWorld) -> Attributor:
    return Attributor(world.index, build_span_index(token_corpus(world.indexed), VOCABULARY, 4))


@pytest.fixture(scope="module")
def answer(world: PlantedWorld) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A question, and an answer that repeats a record's second field and end."""
    record = next(r for r in world.records if r.fact is not None and len(r.fields[1]) > 3)
    return (0, *record.fields[0]), (*record.fields[1], EOS)


@pytest.fixture(scope="module")
def report(
    world: PlantedWorld,
    attributor: Attributor,
    answer: tuple[tuple[int, ...], tuple[int, ...]],
) -> Report:
    query = querier(world.model, world.index).code(*answer)
    return attributor.report(RECEIPT, query, *answer, SALT)


def test_a_report_is_canonical_and_survives_its_encoding(report: Report) -> None:
    check_report(report)
    assert decode_report(report_bytes(report)) == report
    assert sum(entry.weight for entry in report.clusters) == 1_000_000
    assert report.spans


def test_the_same_codes_give_the_same_report(
    attributor: Attributor, report: Report, answer: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    again = attributor.report(RECEIPT, report.query, *answer, SALT)
    assert report_bytes(again) == report_bytes(report)
    assert verify_report(attributor, report.query, report, *answer) is None


def test_the_first_difference_is_named(
    attributor: Attributor, report: Report, answer: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    best, *rest = report.top
    span = report.spans[0]
    heaviest = report.clusters[0]
    forged = {
        f"top[0]: the report says record 4/{best.record.record} with": replace(
            report, top=(Scored(best.record, best.score + 1), *rest)
        ),
        f"top: the report has {len(rest)} entries": replace(report, top=report.top[:-1]),
        "spans[0]: the report says tokens": replace(
            report, spans=(replace(span, bits=span.bits + 1), *report.spans[1:])
        ),
        "clusters[0]: the report says cluster": replace(
            report, clusters=(replace(heaviest, weight=heaviest.weight - 1), *report.clusters[1:])
        ),
        "method: the report says 2, exact is 0": replace(report, method=2),
    }
    for message, changed in forged.items():
        found = verify_report(attributor, report.query, changed, *answer)
        assert found is not None
        assert found.startswith(message)
    other = replace(report.query, exponents=tuple(e + 1 for e in report.query.exponents))
    assert "canonical" in str(verify_report(attributor, other, report, *answer))


def test_a_duplicate_earns_nothing_beside_its_original(
    world: PlantedWorld, report: Report, answer: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    best, second = report.top[0].record, report.top[1].record
    spans = build_span_index(token_corpus(world.indexed), VOCABULARY, 4)
    clustered = Attributor(world.index, spans, {best: second})
    clusters = clustered.report(RECEIPT, report.query, *answer, SALT).clusters
    assert best not in {entry.cluster for entry in clusters}
    assert second in {entry.cluster for entry in clusters}


def test_noise_is_not_listed_but_a_small_datanet_is_not_gated(world: PlantedWorld) -> None:
    scores = np.random.default_rng(0).integers(-1000, 1000, len(world.records))
    assert listed(world.index, scores) == ()
    scores[17] = 5000
    assert listed(world.index, scores) == (Scored(RecordId(4, 17), 5000),)
    few = replace(world.index, records=world.index.records[:20])
    assert len(listed(few, scores[:20])) == 16


def test_codes_of_another_layout_are_refused(
    attributor: Attributor, report: Report, answer: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    short = replace(report.query, codes=report.query.codes[:-4])
    with pytest.raises(ScoreRefusal):
        attributor.report(RECEIPT, short, *answer, SALT)
