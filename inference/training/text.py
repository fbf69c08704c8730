"""How a record becomes training text: its fields joined by newlines, in the order of the schema.

Each field is encoded on its own, with the newline behind it; the model's start and end tokens,
if it has them, stand around the record. So every token belongs to exactly one field, and a prompt
that ends with a newline asks for the next field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.backbone.model import Backbone
from inference.backbone.tokenizer import Tokenizer
from inference.training.errors import TrainingReason, TrainingRefused

TEMPLATE = "fields-by-line-1"
"""Names this rule in receipts and manifests."""


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """Ids of a record and, for each, the index of its field.

    The start token belongs to the first field, the end token to the last.
    """

    ids: tuple[int, ...]
    fields: tuple[int, ...]


def encode_record(backbone: Backbone, record: Sequence[str]) -> EncodedRecord:
    """Encode a record, cut to the model's context; raises NO_TOKENIZER."""
    tokenizer = _tokenizer(backbone)
    config = backbone.config
    ids = [] if config.bos_token_id is None else [config.bos_token_id]
    fields = [0] * len(ids)
    last = len(record) - 1
    for index, text in enumerate(record):
        part = tokenizer.encode(text if index == last else f"{text}\n")
        ids.extend(part)
        fields.extend([index] * len(part))
    if config.eos_token_ids:
        ids.append(config.eos_token_ids[0])
        fields.append(max(0, last))
    context = config.max_position_embeddings
    return EncodedRecord(tuple(ids[:context]), tuple(fields[:context]))


def encode_prompt(backbone: Backbone, text: str) -> tuple[int, ...]:
    """Encode the beginning of a record as the model saw it in training; raises NO_TOKENIZER."""
    start = backbone.config.bos_token_id
    ids = _tokenizer(backbone).encode(text)
    return tuple(ids) if start is None else (start, *ids)


def _tokenizer(backbone: Backbone) -> Tokenizer:
    if backbone.tokenizer is None:
        raise TrainingRefused(
            TrainingReason.NO_TOKENIZER, "the base model's folder holds no tokenizer.json"
        )
    return backbone.tokenizer
