"""The influence index of one adapter: committed curvature, codes of every record, exact scores."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from inference.attribution import codes as coding
from inference.attribution.arrays import Int16s, Int64s, UInt8s
from inference.attribution.basis import Basis, Projectors
from inference.attribution.curvature import FitOptions, Progress, batches, fit_basis, silent
from inference.attribution.gradients import Passage, TracedModel
from inference.attribution.parts import HERE, Parts
from inference.attribution.scan import scan
from runtime.primitives.scale import encode
from runtime.protocols import commitments, merkle
from runtime.protocols.commitments import IndexLeaf
from runtime.protocols.ids import RecordId
from runtime.protocols.report import QueryCode, Scored


@dataclass(frozen=True, slots=True)
class IndexedRecord:
    """A record as the model was trained on it."""

    record: RecordId
    content_hash: bytes
    passage: Passage
    field_of: tuple[int, ...]
    """The field of each token of the passage; -1 for a template's own."""


@dataclass(frozen=True, slots=True)
class InfluenceIndex:
    """Records by rising id. Codes lie by byte column, which is the order of a scan."""

    basis: Basis
    bases: Int16s
    """int16 [modules]: what a record's exponent offsets count from."""
    records: tuple[RecordId, ...]
    content_hashes: tuple[bytes, ...]
    codes: UInt8s
    """uint8 [coordinates / 4, records]"""
    offsets: UInt8s
    """uint8 [modules, records], 0…15"""

    @property
    def layout(self) -> tuple[int, ...]:
        """Return the number of coordinates of each module."""
        return self.basis.layout

    def position(self, record: RecordId) -> int | None:
        """Find a record's place; None where the index lacks it."""
        at = bisect_left(self.records, record)
        return at if at < len(self.records) and self.records[at] == record else None

    def scores(self, query: QueryCode) -> Int64s:
        """Score every record, int64 [records]; raises ScoreRefusal."""
        return scan(self.codes, self.offsets, query, self.layout)

    def leaf(self, position: int) -> IndexLeaf:
        """Return the leaf of the record at a position."""
        return IndexLeaf(
            self.records[position],
            self.content_hashes[position],
            self.codes[:, position].tobytes(),
            self.offsets[:, position].tobytes(),
        )

    def prove(self, position: int) -> tuple[bytes, ...]:
        """Return the path of a leaf to the index's root."""
        leaves = [encode(IndexLeaf, self.leaf(at)) for at in range(len(self.records))]
        return merkle.path(leaves, position)

    def index_root(self) -> bytes:
        """Commit to the codes of every record."""
        return commitments.index_root(self.leaf(at) for at in range(len(self.records)))

    def curvature_root(self) -> bytes:
        """Commit to the eigenvectors and weights."""
        return self.basis.curvature_root()

    def coordinates_root(self) -> bytes:
        """Commit to the chosen coordinates and the bases."""
        return self.basis.coordinates_root(self.bases)


def rank(index: InfluenceIndex, scores: Int64s, count: int) -> tuple[Scored, ...]:
    """List the records of highest score, ties by the lower record id."""
    # Records stand by rising id, so a stable sort keeps the ties right.
    best = np.argsort(-scores, kind="stable")[:count]
    return tuple(Scored(index.records[at], int(scores[at])) for at in best)


def build_index(
    model: TracedModel,
    records: Sequence[IndexedRecord],
    options: FitOptions | None = None,
    progress: Progress = silent,
    parts: Parts = HERE,
) -> InfluenceIndex:
    """Fit the curvature on the records and code each of them.

    Raises ValueError where record ids do not rise or no gradient reaches the adapter.
    """
    options = options or FitOptions()
    if any(a.record >= b.record for a, b in pairwise(records)):
        raise ValueError("record ids must rise strictly: sort the records by id")
    passages = [record.passage for record in records]
    basis = fit_basis(model, passages, options, progress, parts)
    packed, exponents = code_passages(model, basis, passages, options.batch_tokens, progress, parts)
    bases = coding.base_exponents(exponents)
    settled, offsets = coding.offset_records(packed, exponents, bases, basis.layout)
    return InfluenceIndex(
        basis,
        bases,
        tuple(record.record for record in records),
        tuple(record.content_hash for record in records),
        np.ascontiguousarray(settled.T),
        np.ascontiguousarray(offsets.T),
    )


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes of one batch, each under its own best exponents (`codes.code_records`)."""

    projectors: Projectors
    layout: tuple[int, ...]

    def __call__(
        self, model: TracedModel, passages: Sequence[Passage], group: Sequence[int]
    ) -> tuple[UInt8s, Int16s]:
        """Code a batch."""
        return coding.code_records(self.projectors.whiten(model.trace(passages)), self.layout)


def code_passages(
    model: TracedModel,
    basis: Basis,
    passages: Sequence[Passage],
    batch_tokens: int,
    progress: Progress = silent,
    parts: Parts = HERE,
) -> tuple[UInt8s, Int16s]:
    """Code passages in their order; see `codes.code_records` for what is returned."""
    packed = np.empty((len(passages), sum(basis.layout) // 4), dtype=np.uint8)
    exponents = np.empty((len(passages), len(basis.layout)), dtype=np.int16)
    done = 0
    groups = list(batches(model, passages, batch_tokens))
    found = parts.each(model, passages, groups, Codes(basis.projectors(), basis.layout))
    for group, coded in zip(groups, found, strict=True):
        packed[group], exponents[group] = coded
        done += len(group)
        progress("codes", done, len(passages))
    return packed, exponents
