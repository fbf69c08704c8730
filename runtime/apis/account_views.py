"""Accounts as their pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.apis.session_views import SessionPage, WorkerView
from runtime.pallets.balances.types import HeldAmount
from runtime.pallets.models.types import Stage
from runtime.primitives.scale import U32, U64, Bytes32
from runtime.primitives.types import AccountId, Balance, Nonce
from runtime.protocols.ids import DatanetId, ModelId


@dataclass(frozen=True, slots=True)
class AccountDatanet:
    """A Datanet that an account owns or contributed to."""

    datanet: DatanetId
    name: str
    is_owner: bool
    records: U64
    """Its accepted records there, copies included."""
    bonded: Balance
    redundant: U32
    """Of its records there, those that proved to be copies."""


@dataclass(frozen=True, slots=True)
class AccountDatanetPage:
    """Datanets of an account, the newest first."""

    datanets: tuple[AccountDatanet, ...]
    """Of the looked at ones those that it owns or contributed to."""
    next: DatanetId | None
    """Where the next page starts; none at the end."""


@dataclass(frozen=True, slots=True)
class AccountModel:
    """A model that an account owns or backs."""

    model: ModelId
    name: str
    stage: Stage
    is_owner: bool
    stake: Balance
    """What the account has staked on it, as its owner and as a backer."""


@dataclass(frozen=True, slots=True)
class AccountModelPage:
    """Models of an account, the newest first."""

    models: tuple[AccountModel, ...]
    """Of the looked at ones those that it owns or backs."""
    next: ModelId | None
    """Where the next page starts; none at the end."""


@dataclass(frozen=True, slots=True)
class ValidatorRole:
    """What an account has to do with making blocks."""

    is_active: bool
    """It validates in this epoch."""
    is_queued: bool
    """It validates in the next epoch."""
    is_elected: bool
    """It is to stand in the set that is frozen when this epoch ends."""
    consensus_key: Bytes32 | None
    """The key that it registered for sets yet to be frozen."""
    workers: U32
    """Its workers that do not retire."""
    missed_reveals: U32


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account's page; an account that nobody used yet has a page of zeros."""

    account: AccountId
    pot: str | None
    """Which of the chain's own pots it is, that no key controls; none for everybody else."""
    nonce: Nonce
    """The next transaction's."""
    free: Balance
    """Not held; the existential deposit is part of it."""
    held: Balance
    holds: tuple[HeldAmount, ...]
    """What is held, by reason."""
    claimable: Balance
    """Credits that are not paid out yet: `Inference.claim` moves them to the account."""
    validator: ValidatorRole
    worker: WorkerView | None
    """Set where the account is a worker's key."""
    datanets: AccountDatanetPage
    """Of the newest 100 Datanets those that it owns or contributed to."""
    models: AccountModelPage
    """Of the newest 100 models those that it owns or backs."""
    sessions: SessionPage
    """Of the newest 100 sessions those that it opened."""
