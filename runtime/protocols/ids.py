"""Names of things across Datanets: record, cluster, session, batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from runtime.primitives.scale import U32, U64, Named, Uint

DatanetId = Annotated[int, Uint(32), Named("DatanetId")]
ModelId = Annotated[int, Uint(32), Named("ModelId")]
SessionId = Annotated[int, Uint(64), Named("SessionId")]
BatchId = Annotated[int, Uint(64), Named("BatchId")]

PPM = 1_000_000
"""Parts in the whole of a weight or a rate."""


@dataclass(frozen=True, slots=True, order=True)
class RecordId:
    """A record by its Datanet and its dense number there; ordered by both, in that order."""

    datanet: U32
    record: U64


ClusterId = RecordId
"""A cluster of near-duplicates goes by the id of its canonical record, the first registered."""
