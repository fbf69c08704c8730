"""The trees of a launched adapter whose roots stand on chain.

Index, corpus, curvature, coordinates: each is `merkle.root` over SCALE leaves. Index and
corpus have one leaf per record, by rising record id; curvature one per matrix row; coordinates one
per module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TypeVar

from runtime.primitives.errors import Refusal
from runtime.primitives.scale import H256, I16, U32, encode
from runtime.protocols import merkle
from runtime.protocols.ids import RecordId

Leaf = TypeVar("Leaf")


class CommitmentReason(Enum):
    """Why leaves make no tree."""

    WRONG_ORDER = "leaves stand in rising order of their keys, each once"


class CommitmentRefusal(Refusal):
    """Leaves that make no tree."""

    def __init__(self, reason: CommitmentReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: CommitmentReason = reason


class CurvaturePart(IntEnum):
    """Which matrix of a module a row belongs to."""

    INPUT_BASIS = 0
    """Eigenvectors of the inputs' second moment."""
    OUTPUT_BASIS = 1
    """Eigenvectors of the output gradients' second moment."""
    EIGENVALUES = 2
    """Second moments in the common eigenbasis."""


@dataclass(frozen=True, slots=True)
class IndexLeaf:
    """A record's codes; layout and meaning as in `scoring`."""

    record: RecordId
    content_hash: H256
    codes: bytes
    exponents: bytes


@dataclass(frozen=True, slots=True)
class CorpusLeaf:
    """A record as the model's tokenizer reads it; what a span's proof opens."""

    record: RecordId
    tokens: tuple[U32, ...]


@dataclass(frozen=True, slots=True)
class CurvatureLeaf:
    """One row of one matrix: little-endian int16 values times 2^exponent."""

    module: U32
    part: CurvaturePart
    row: U32
    exponent: I16
    values: bytes


@dataclass(frozen=True, slots=True)
class CoordinateLeaf:
    """A module's kept coordinates and the base of its records' exponents.

    `indices` rise; a coordinate's index is ``row * columns + column`` of the module's gradient in
    the eigenbasis.
    """

    module: U32
    base: I16
    columns: U32
    indices: tuple[U32, ...]


def index_root(leaves: Iterable[IndexLeaf]) -> bytes:
    """Return the root of an influence index; raises CommitmentRefusal WRONG_ORDER."""
    ordered = _rising(((leaf.record.datanet, leaf.record.record), leaf) for leaf in leaves)
    return merkle.root(encode(IndexLeaf, leaf) for leaf in ordered)


def corpus_root(leaves: Iterable[CorpusLeaf]) -> bytes:
    """Return the root of a tokenised corpus; raises CommitmentRefusal WRONG_ORDER."""
    ordered = _rising(((leaf.record.datanet, leaf.record.record), leaf) for leaf in leaves)
    return merkle.root(encode(CorpusLeaf, leaf) for leaf in ordered)


def curvature_root(leaves: Iterable[CurvatureLeaf]) -> bytes:
    """Return the root of a curvature, by (module, part, row); raises CommitmentRefusal."""
    ordered = _rising(((leaf.module, int(leaf.part), leaf.row), leaf) for leaf in leaves)
    return merkle.root(encode(CurvatureLeaf, leaf) for leaf in ordered)


def coordinates_root(leaves: Iterable[CoordinateLeaf]) -> bytes:
    """Return the root of the coordinate lists, by module; raises CommitmentRefusal."""
    ordered = _rising(((leaf.module,), leaf) for leaf in leaves)
    return merkle.root(encode(CoordinateLeaf, leaf) for leaf in ordered)


def _rising(keyed: Iterable[tuple[tuple[int, ...], Leaf]]) -> Iterator[Leaf]:
    last: tuple[int, ...] = ()
    for key, leaf in keyed:
        if key <= last:
            raise CommitmentRefusal(CommitmentReason.WRONG_ORDER, f"{key} after {last}")
        last = key
        yield leaf
