"""What the pallet tells the world: its events, in the order of their indices."""

from __future__ import annotations

from runtime.frame.pallet import event
from runtime.pallets.models.types import BaseId
from runtime.primitives.scale import H256
from runtime.primitives.types import AccountId, Balance
from runtime.protocols.ids import ModelId
from runtime.protocols.price import Price


@event(index=0)
class BaseRegistered:
    """A base model was admitted: adapters may be trained on it."""

    base: BaseId
    name: bytes
    manifest: H256


@event(index=1)
class Proposed:
    """Somebody staked on training a model."""

    model: ModelId
    owner: AccountId
    name: bytes
    stake: Balance


@event(index=2)
class Backed:
    """A backer staked on a model."""

    model: ModelId
    backer: AccountId
    amount: Balance


@event(index=3)
class Unbacked:
    """A backer took its stake back."""

    model: ModelId
    backer: AccountId
    amount: Balance


@event(index=4)
class ArtifactSubmitted:
    """A model was trained; its adapter and its commitments are fixed."""

    model: ModelId
    manifest: H256
    """blake2b-256 of the manifest, which blob stores serve."""
    training_receipt: H256
    """Hash of how it was trained: code, seed, order, settings, losses."""


@event(index=5)
class Launched:
    """A model can be served and paid."""

    model: ModelId
    price: Price


@event(index=6)
class PriceSet:
    """A model has a new price, for sessions opened from now on."""

    model: ModelId
    price: Price


@event(index=7)
class Deprecated:
    """A model takes no new sessions; its owner's and backers' stakes are free."""

    model: ModelId


EVENTS = (
    BaseRegistered,
    Proposed,
    Backed,
    Unbacked,
    ArtifactSubmitted,
    Launched,
    PriceSet,
    Deprecated,
)
