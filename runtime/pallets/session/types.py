"""What the session pallet stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from runtime.primitives.digest import Authority
from runtime.primitives.scale import U32, U64, Bytes32
from runtime.primitives.types import AccountId, Balance
from runtime.protocols.vote_weights import vote_weights


@dataclass(frozen=True, slots=True)
class Validator:
    """A member of the validator set."""

    SCALE_PATH: ClassVar[str] = "pallet_session::types::Validator"
    account: AccountId
    consensus_key: Bytes32
    """ed25519."""
    stake: Balance


@dataclass(frozen=True, slots=True)
class Elected:
    """An account that is to validate, and its stake."""

    SCALE_PATH: ClassVar[str] = "pallet_session::types::Elected"
    account: AccountId
    stake: Balance


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """Whose a key is, and the last epoch in whose set it stands; none before it stood in one."""

    SCALE_PATH: ClassVar[str] = "pallet_session::types::KeyRecord"
    account: AccountId
    last_epoch: U64 | None


@dataclass(frozen=True, slots=True)
class Activity:
    """What the validators of an epoch did so far, by position.

    A block counts where its child in the same epoch says who voted for it: the last block of an
    epoch has no such child.
    """

    SCALE_PATH: ClassVar[str] = "pallet_session::types::Activity"
    blocks: U32
    attested: tuple[U32, ...]
    """Blocks that a validator notarized."""
    missed: tuple[U32, ...]
    """Views that it led and that brought no block."""
    made: tuple[U32, ...]
    """Blocks that it made."""


def authorities_of(validators: tuple[Validator, ...]) -> tuple[Authority, ...]:
    """Return the keys of a set, in its order, and what their votes weigh."""
    weights = vote_weights([v.stake for v in validators])
    return tuple(Authority(v.consensus_key, w) for v, w in zip(validators, weights, strict=True))
