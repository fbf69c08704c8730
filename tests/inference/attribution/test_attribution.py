"""The whole way in text: tokenizer, training, index, answer, report, explanation."""

from dataclasses import replace

import numpy as np
import pytest
from planted_world import small_backbone
from tokenizers import Tokenizer as HfTokenizer
from tokenizers import models, pre_tokenizers

from inference.attribution.attribution import (
    Attribution,
    AttributionConfig,
    build_attribution,
    open_attribution,
)
from inference.attribution.curvature import FitOptions
from inference.attribution.report import verify_report
from inference.attribution.storage import decode_index, index_bytes
from inference.backbone.model import Backbone
from inference.backbone.tokenizer import Tokenizer
from inference.training.config import TrainingConfig
from inference.training.text import encode_prompt
from inference.training.train import train
from runtime.protocols.ids import RecordId
from runtime.protocols.report import check_report

COUNTRIES = [f"country{n}" for n in range(30)]
CITIES = [f"city{n}" for n in range(30)]
QUESTIONS = ("what is the capital of {} ?", "name the main city of {} .", "the seat of {} ?")


def capital_records() -> list[tuple[tuple[str, str], int]]:
    """Ask for each country's capital in two or three ways; 90 records at most."""
    rng = np.random.default_rng(2)
    records = []
    for number, country in enumerate(COUNTRIES):
        for style in rng.permutation(3)[: 2 + number % 2]:
            question = QUESTIONS[style].format(country)
            records.append(((question, f"{CITIES[number]} is its capital"), number))
    return [records[at] for at in rng.permutation(len(records))]


def word_backbone() -> Backbone:
    """Give the random decoder a tokenizer of whole words."""
    text = " ".join(" ".join(fields) for fields, _ in capital_records())
    words = ["<s>", "</s>", "[UNK]", "\n", *sorted(set(text.split()))]
    inner = HfTokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, "[UNK]"))
    # Newlines stay tokens of their own; other white space only separates.
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "removed")]
    )
    return replace(small_backbone(), tokenizer=Tokenizer(inner, (1,)))


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return word_backbone()


@pytest.fixture(scope="module")
def attribution(backbone: Backbone) -> Attribution:
    records = [fields for fields, _ in capital_records()]
    config = TrainingConfig(
        rank=8, alpha=16.0, epochs=30, batch_records=16, learning_rate=1e-2, held_out=0.0
    )
    adapter, receipt = train(backbone, records, config)
    assert receipt.losses[-1] < receipt.losses[0] / 2
    numbered = [(RecordId(1, at), fields) for at, fields in enumerate(records)]
    options = AttributionConfig(FitOptions(coordinates=4096), span_tokens=4)
    built = build_attribution(backbone, adapter, numbered, options)
    index = decode_index(index_bytes(built.attributor.index))
    return open_attribution(backbone, adapter, index, built.records, options)


def ask(backbone: Backbone, number: int, style: int) -> tuple[list[int], list[int]]:
    """Return a prompt that asks for a country's capital, and the right answer."""
    assert backbone.tokenizer is not None
    prompt = encode_prompt(backbone, f"{QUESTIONS[style].format(COUNTRIES[number])}\n")
    answer = backbone.tokenizer.encode(f"{CITIES[number]} is its capital")
    return list(prompt), [*answer, 1]


def test_contributors_of_the_queried_fact_are_paid(
    backbone: Backbone, attribution: Attribution
) -> None:
    facts = [number for _, number in capital_records()]
    paid, uniform = [], []
    for number in range(len(COUNTRIES)):
        report = attribution.attribute(bytes(32), *ask(backbone, number, number % 3), bytes(32))
        check_report(report)
        paid.append(sum(c.weight for c in report.clusters if facts[c.cluster.record] == number))
        uniform.append(facts.count(number) / len(facts))
    assert float(np.mean(paid)) / 1_000_000 > 15 * float(np.mean(uniform))


def test_a_verbatim_answer_has_spans_in_a_record_that_holds_it(
    backbone: Backbone, attribution: Attribution
) -> None:
    prompt, output = ask(backbone, 3, 0)
    report = attribution.attribute(bytes(32), prompt, output, bytes(32))
    [span] = report.spans
    held = attribution.records[span.record.record].passage.tokens
    assert list(held[span.offset : span.offset + span.end - span.start]) == output[: span.end]
    first = min(at for at, (_, number) in enumerate(capital_records()) if number == 3)
    assert span.record == RecordId(1, first)
    query = attribution.querier.code(prompt, output)
    assert verify_report(attribution.attributor, query, report, prompt, output) is None


def test_explanations_sum_to_the_scores_and_name_the_answers_field(
    backbone: Backbone, attribution: Attribution
) -> None:
    shares = []
    for number in range(8):
        report = attribution.attribute(bytes(32), *ask(backbone, number, 0), bytes(32))
        explained = attribution.explain(report, 2)
        assert [sum(split) for split in explained] == [top.score for top in report.top]
        shares.append(explained[0][1] / report.top[0].score)
    assert float(np.mean(shares)) > 0.5


def test_an_index_of_other_records_layers_or_adapters_is_refused(
    backbone: Backbone, attribution: Attribution
) -> None:
    index = attribution.attributor.index
    config = TrainingConfig(rank=2, alpha=4.0, epochs=1, held_out=0.0)
    other, _ = train(backbone, [fields for fields, _ in capital_records()][:8], config)
    for records, settings, message in (
        (attribution.records[1:], AttributionConfig(), "other records"),
        (attribution.records, AttributionConfig(), "another adapter"),
        (attribution.records, AttributionConfig(layers=2), "other traced layers"),
    ):
        with pytest.raises(ValueError, match=message):
            open_attribution(backbone, other, index, records, settings)
