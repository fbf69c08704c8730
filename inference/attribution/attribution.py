"""One adapter's attribution, whole: built once, then asked for every answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from inference.adapters.adapter import LoraAdapter
from inference.attribution.basis import FactorBasis
from inference.attribution.curvature import FitOptions, Progress, silent
from inference.attribution.datanet import index_record, token_corpus
from inference.attribution.fields import field_split
from inference.attribution.gradients import TracedModel, traced_model
from inference.attribution.index import IndexedRecord, InfluenceIndex, build_index
from inference.attribution.parts import HERE, Parts
from inference.attribution.query import Querier, querier
from inference.attribution.report import Attributor
from inference.attribution.spans import build_span_index
from inference.backbone.model import Backbone
from runtime.protocols.ids import RecordId
from runtime.protocols.records import Record
from runtime.protocols.report import Report


@dataclass(frozen=True, slots=True)
class AttributionConfig:
    """What a launch commits to besides the data."""

    fit: FitOptions = field(default_factory=FitOptions)
    layers: int | None = None
    """How many of the last layers are traced; None traces a quarter of them, rounded up."""
    span_tokens: int = 8
    """The shortest span."""
    precision: torch.dtype = torch.float64


@dataclass(frozen=True, slots=True)
class Attribution:
    """The model, the index and the records of one adapter."""

    querier: Querier
    attributor: Attributor
    records: tuple[IndexedRecord, ...]

    def attribute(
        self, receipt_hash: bytes, prompt: Sequence[int], output: Sequence[int], salt: bytes
    ) -> Report:
        """Report which records shaped an answer."""
        query = self.querier.code(prompt, output)
        return self.attributor.report(receipt_hash, query, prompt, output, salt)

    def explain(self, report: Report, fields: int) -> tuple[tuple[int, ...], ...]:
        """Split the score of each of a report's top records over the fields of the schema."""
        places = {record.record: record for record in self.records}
        return tuple(
            field_split(self.querier, report.query, places[top.record], fields, top.score)
            for top in report.top
        )


def build_attribution(
    backbone: Backbone,
    adapter: LoraAdapter,
    records: Sequence[tuple[RecordId, Record]],
    config: AttributionConfig | None = None,
    duplicates: Mapping[RecordId, RecordId] | None = None,
    progress: Progress = silent,
    parts: Parts = HERE,
) -> Attribution:
    """Index a Datanet version for an adapter that was trained on it; `parts` does the work.

    Raises ValueError where record ids do not rise or no gradient reaches the adapter, and
    TrainingRefused where the base model has no tokenizer.
    """
    config = config or AttributionConfig()
    indexed = [index_record(backbone, record_id, record) for record_id, record in records]
    model = _model(backbone, adapter, config)
    index = build_index(model, indexed, config.fit, progress, parts)
    return open_attribution(backbone, adapter, index, indexed, config, duplicates)


def open_attribution(
    backbone: Backbone,
    adapter: LoraAdapter,
    index: InfluenceIndex,
    records: Sequence[IndexedRecord],
    config: AttributionConfig,
    duplicates: Mapping[RecordId, RecordId] | None = None,
) -> Attribution:
    """Put a loaded index and its records to work; the suffix array is rebuilt, which is quick.

    Raises ValueError where the index belongs to other records, another adapter or other layers.
    """
    if tuple(record.record for record in records) != index.records:
        raise ValueError("the index was built over other records: fetch the version it names")
    model = _model(backbone, adapter, config)
    if not all(_fits(model, factor) for factor in index.basis.factors):
        raise ValueError("the index was built for another adapter, or with other traced layers")
    spans = build_span_index(token_corpus(records), backbone.config.vocab_size, config.span_tokens)
    attributor = Attributor(index, spans, dict(duplicates or {}))
    return Attribution(querier(model, index), attributor, tuple(records))


def _model(backbone: Backbone, adapter: LoraAdapter, config: AttributionConfig) -> TracedModel:
    layers = config.layers or -(-backbone.config.num_hidden_layers // 4)
    return traced_model(backbone, adapter.pairs, layers=layers, precision=config.precision)


def _fits(model: TracedModel, basis: FactorBasis) -> bool:
    """Tell whether a factor is traced and has the shape that its eigenvectors have."""
    if basis.factor not in model.factors:
        return False
    pair = model.pairs[basis.factor.site]
    matrix = pair.a if basis.factor.side == "A" else pair.b
    shape = basis.outputs.values.shape[1], basis.inputs.values.shape[1]
    return tuple(matrix.shape) == shape and model.factors.index(basis.factor) == basis.number
