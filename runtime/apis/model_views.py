"""Models as their pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.pallets.models.types import Artifact, Backer, BaseId, Stage
from runtime.primitives.scale import H256, U16, U32, U64, U128
from runtime.primitives.types import AccountId, Balance, BlockNumber
from runtime.protocols.ids import DatanetId, ModelId
from runtime.protocols.price import Price
from runtime.protocols.settlement import Royalty


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model in a list."""

    model: ModelId
    name: str
    owner: AccountId
    stage: Stage
    base: BaseId
    parent: ModelId | None
    """The model whose adapter it continues."""
    price: Price | None
    """Per token, in units of 10⁻¹⁸ OPEN; none before its launch."""
    stake: Balance
    """The owner's, held."""
    backed: Balance
    """All backers' stakes together, held."""
    proposed: BlockNumber


@dataclass(frozen=True, slots=True)
class ModelPage:
    """Models, the newest first."""

    models: tuple[ModelRow, ...]
    """Those of the looked at ones that were asked for."""
    next: ModelId | None
    """Where the next page starts; none at the end."""


@dataclass(frozen=True, slots=True)
class BaseModelView:
    """A backbone that adapters are trained on."""

    base: BaseId
    name: str
    manifest: H256
    """blake2b-256 over the manifest of its files."""
    compute_cap: U128
    """Most that a model on it may ask for the computation of a token."""


@dataclass(frozen=True, slots=True)
class BaseModelPage:
    """Base models, the newest first."""

    bases: tuple[BaseModelView, ...]
    next: BaseId | None
    """Where the next page starts; none at the end."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A Datanet in the version that a model is trained on."""

    datanet: DatanetId
    name: str
    version: U32
    records: U64
    """Of the version: later records of the Datanet did not shape the model."""
    listed: bool
    """Whether its records are paid; false once governance delisted the Datanet."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A model in the line that a model continues."""

    model: ModelId
    name: str
    owner: AccountId
    royalty: U16
    """Basis points of a descendant's owner's part that its owner takes."""


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model's page.

    What it earned is not kept in the state: it stands in the `Inference.Paid` events.
    """

    model: ModelId
    name: str
    owner: AccountId
    stage: Stage
    base: BaseModelView | None
    lineage: tuple[Ancestor, ...]
    """The model that it continues, the one which that continues, and so on."""
    royalty: U16
    """Basis points that models which continue this one will owe its owner."""
    royalties: tuple[Royalty, ...]
    """What the ancestors' owners take of its owner's part, by account."""
    datanets: tuple[TrainingData, ...]
    """What it is trained on."""
    stake: Balance
    """The owner's, held until the model is deprecated."""
    backers: tuple[Backer, ...]
    """Who staked on it; they share the backers' part of what it earns, by stake."""
    backed: Balance
    """All backers' stakes together."""
    proposed: BlockNumber
    artifact: Artifact | None
    """The trained adapter with its hashes; none before the training."""
    price: Price | None
    """Per token, in units of 10⁻¹⁸ OPEN; none before its launch."""
