"""What the chain keeps of base models, proposals and launched models."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runtime.primitives.scale import H256, U16, U32, U64, U128
from runtime.primitives.types import AccountId, Balance, BlockNumber
from runtime.protocols.ids import DatanetId, ModelId
from runtime.protocols.price import Price

BaseId = U32


@dataclass(frozen=True, slots=True)
class Base:
    """A backbone that adapters are trained on."""

    name: bytes
    manifest: H256
    """blake2b-256 over the manifest of its files."""
    compute_cap: U128
    """Most that a model on it may ask for the computation of a token."""


@dataclass(frozen=True, slots=True)
class DatanetVersion:
    """A frozen Datanet that a model is trained on."""

    datanet: DatanetId
    version: U32


@dataclass(frozen=True, slots=True)
class Roots:
    """Commitments that a dispute opens, fixed with the artifact."""

    model: H256
    """Content hash of the adapter's image."""
    index: H256
    """Influence index: one leaf per record."""
    corpus: H256
    """Token ids of the frozen records."""
    curvature: H256
    coordinates: H256


@dataclass(frozen=True, slots=True)
class Artifact:
    """A trained adapter: its manifest, the commitments, the shape of its influence codes."""

    manifest: H256
    manifest_bytes: U64
    training_receipt: H256
    roots: Roots
    layout: tuple[U32, ...]
    """Coordinates of each module in an influence code."""
    evaluation: U32
    """Held-out loss after training, millionths of a nat per token."""


class Stage(IntEnum):
    """How far a model is."""

    PROPOSED = 0
    TRAINED = 1
    LAUNCHED = 2
    DEPRECATED = 3


@dataclass(frozen=True, slots=True)
class Backer:
    """Somebody who stakes on a model."""

    account: AccountId
    amount: Balance


@dataclass(frozen=True, slots=True)
class Model:
    """A model from its proposal to its end; the artifact never changes once it is there."""

    owner: AccountId
    name: bytes
    base: BaseId
    parent: ModelId | None
    """The launched model whose adapter this one continues."""
    royalty: U16
    """Basis points of its descendants' owner's part that this model's owner takes."""
    datanets: tuple[DatanetVersion, ...]
    stake: Balance
    """The owner's, held until the model is deprecated."""
    backers: tuple[Backer, ...]
    proposed: BlockNumber
    stage: Stage
    artifact: Artifact | None
    price: Price | None
