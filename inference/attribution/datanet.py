"""A Datanet's records as attribution sees them: exactly as the model was trained on them."""

from collections.abc import Sequence

from inference.attribution.corpus import TokenCorpus, build_corpus
from inference.attribution.gradients import Passage
from inference.attribution.index import IndexedRecord
from inference.backbone.model import Backbone
from inference.training.text import encode_record
from runtime.protocols.ids import RecordId
from runtime.protocols.records import Record, content_hash


def index_record(backbone: Backbone, record_id: RecordId, record: Record) -> IndexedRecord:
    """Encode one record; every token but the first is predicted, as in training.

    Raises TrainingRefused where the base model has no tokenizer.
    """
    encoded = encode_record(backbone, record)
    scored = (False, *[True] * (len(encoded.ids) - 1))[: len(encoded.ids)]
    return IndexedRecord(
        record_id, content_hash(record), Passage(encoded.ids, scored), encoded.fields
    )


def token_corpus(records: Sequence[IndexedRecord]) -> TokenCorpus:
    """Lay the records' tokens end to end; raises ValueError where ids do not rise."""
    return build_corpus(
        [record.record for record in records], [record.passage.tokens for record in records]
    )
