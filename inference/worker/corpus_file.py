"""The records of an artifact in token ids, with the field of each token, as a container file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference.attribution.container import (
    ContainerReason,
    ContainerRefused,
    pack_container,
    unpack_container,
)
from inference.attribution.gradients import Passage
from inference.attribution.index import IndexedRecord
from runtime.protocols.ids import RecordId

FORMAT = "token-corpus-1"
_DTYPES = {"datanets": "<u4", "records": "<u8", "offsets": "<i8", "tokens": "<u4", "fields": "|u1"}


def encode_corpus(records: Sequence[IndexedRecord]) -> bytes:
    """Encode records by rising id; equal records have equal bytes."""
    lengths = [len(record.passage.tokens) for record in records]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return pack_container(
        {"format": FORMAT},
        {
            "datanets": np.array([r.record.datanet for r in records], dtype=np.uint32),
            "records": np.array([r.record.record for r in records], dtype=np.uint64),
            "offsets": offsets,
            "tokens": np.array([t for r in records for t in r.passage.tokens], dtype=np.uint32),
            "fields": np.array([f for r in records for f in r.field_of], dtype=np.uint8),
        },
    )


def decode_corpus(data: bytes, content_hashes: Sequence[bytes]) -> tuple[IndexedRecord, ...]:
    """Decode records, `content_hashes` in their order; raises ContainerRefused."""
    fields, arrays = unpack_container(data)
    shapes_fit = (
        fields.get("format") == FORMAT
        and {name: array.dtype.str for name, array in arrays.items()} == _DTYPES
        and all(array.ndim == 1 for array in arrays.values())
        and len(arrays["datanets"]) == len(arrays["records"]) == len(content_hashes)
        and len(arrays["offsets"]) == len(content_hashes) + 1
        and len(arrays["tokens"]) == len(arrays["fields"]) == int(arrays["offsets"][-1])
        and int(arrays["offsets"][0]) == 0
        and bool((np.diff(arrays["offsets"]) > 0).all())
    )
    if not shapes_fit:
        raise ContainerRefused(ContainerReason.UNEXPECTED, "no token corpus of this index")
    tokens, places = arrays["tokens"].tolist(), arrays["fields"].tolist()
    bounds = arrays["offsets"].tolist()
    found = []
    for at, content_hash in enumerate(content_hashes):
        part = slice(bounds[at], bounds[at + 1])
        ids = tuple(tokens[part])
        scored = (False, *[True] * (len(ids) - 1))
        record = RecordId(int(arrays["datanets"][at]), int(arrays["records"][at]))
        found.append(IndexedRecord(record, content_hash, Passage(ids, scored), tuple(places[part])))
    return tuple(found)
