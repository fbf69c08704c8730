"""`EpochsApi`: who validates now, next and then, and how well."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.apis.base import StateApi
from runtime.frame.runtime_api import api_method
from runtime.pallets.session.types import Activity, Elected, Validator, authorities_of
from runtime.primitives.scale import U32, U64, Bytes32
from runtime.primitives.types import AccountId, Balance, BlockNumber


@dataclass(frozen=True, slots=True)
class Seat:
    """A validator of an epoch and what it did so far."""

    account: AccountId
    key: Bytes32
    """ed25519 key of its votes."""
    stake: Balance
    weight: U64
    """What its votes weigh; two thirds of all weights and a bit more decide."""
    attested: U32
    """Blocks of the epoch that it voted for, of those whose votes are counted."""
    missed: U32
    """Views that it led and that brought no block."""
    made: U32
    """Blocks that it made."""


@dataclass(frozen=True, slots=True)
class EpochView:
    """An epoch and its validators."""

    epoch: U64
    blocks: U32
    """Its blocks so far whose votes are counted."""
    counted: bool
    """Whether the figures of the validators are kept; they are for the last few epochs."""
    validators: tuple[Seat, ...]
    """In the order of their positions."""


@dataclass(frozen=True, slots=True)
class CurrentEpoch:
    """The epoch of the next block, and who validates afterwards."""

    current: EpochView
    first_block: BlockNumber
    last_block: BlockNumber
    length: BlockNumber
    seed: Bytes32
    """Randomness that orders its leaders."""
    queued: tuple[Validator, ...]
    """The validators of the next epoch; nothing changes them any more."""
    elected: tuple[Elected, ...]
    """Who is to stand in the set that is frozen when this epoch ends."""


class EpochsApi(StateApi, version=1):
    """Epochs and validators as an explorer shows them."""

    @api_method
    def current_epoch(self) -> CurrentEpoch:
        """Return the epoch of the next block: its validators, what they did, and who comes next."""
        session = self.runtime.session
        epoch, start, length = (
            session.current_index.get(),
            session.epoch_start.get(),
            session.epoch_length.get(),
        )
        return CurrentEpoch(
            current=_view(epoch, session.members.get(), session.activity.get(epoch)),
            first_block=start,
            last_block=start + length - 1,
            length=length,
            seed=session.seed.get(),
            queued=session.queued.get(),
            elected=session.elected.get(),
        )

    @api_method
    def epoch(self, epoch: U64) -> EpochView | None:
        """Return an epoch's validators and what they did; none where its set is not kept."""
        session = self.runtime.session
        found = session.historical_sets.get(epoch)
        return None if found is None else _view(epoch, found, session.activity.get(epoch))


def _view(epoch: int, validators: tuple[Validator, ...], activity: Activity | None) -> EpochView:
    none = (0,) * len(validators)
    done = activity or Activity(0, none, none, none)
    seats = tuple(
        Seat(v.account, v.consensus_key, v.stake, authority.weight, attested, missed, made)
        for v, authority, attested, missed, made in zip(
            validators,
            authorities_of(validators),
            done.attested,
            done.missed,
            done.made,
            strict=True,
        )
    )
    return EpochView(epoch, done.blocks, activity is not None, seats)
