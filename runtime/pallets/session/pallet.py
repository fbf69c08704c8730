"""Session: who validates in which epoch, with which keys and stake, and the chain's randomness.

The block that ends epoch e announces the set of e + 1, which was frozen when e - 1 ended, and
freezes the set of e + 2: nobody can choose keys or stake after seeing the seed that orders them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from runtime.frame.host import Host
from runtime.frame.origin import Origin, ensure_root, ensure_signed
from runtime.frame.pallet import Const, Pallet, call, constant
from runtime.frame.storage import StorageMap, StorageValue, storage_map, value
from runtime.pallets.session import weights
from runtime.pallets.session.errors import Error
from runtime.pallets.session.events import (
    EVENTS,
    KeysPurged,
    KeysSet,
    NewEpoch,
    Offline,
    ValidatorsElected,
)
from runtime.pallets.session.liveness import count, idle, offline
from runtime.pallets.session.types import (
    Activity,
    Elected,
    KeyRecord,
    Validator,
    authorities_of,
)
from runtime.primitives.digest import Authority, NextEpoch, PreDigest
from runtime.primitives.errors import DispatchFailure, ensure, invariant
from runtime.primitives.hashing import Hasher, blake2_256
from runtime.primitives.keys import ss58_decode
from runtime.primitives.scale import U32, U64, Bytes32, Bytes64
from runtime.primitives.types import AccountId, BlockNumber, Hash
from runtime.protocols.session_keys import is_usable, proves_ownership

MAX_VALIDATORS = 100


class Chain(Protocol):
    """What the pallet must know of the chain."""

    block_hash: StorageMap[BlockNumber, Hash]


class Session(Pallet, index=4):
    """Who validates in which epoch, with which keys and stake, and the chain's randomness.

    Validators have epochs; a customer's paid session is another pallet's (`Inference`).
    """

    Error = Error
    EVENTS = EVENTS

    mix_history: Const[U32] = constant(600, doc="Blocks whose randomness can be looked up.")
    max_validators: Const[U32] = constant(MAX_VALIDATORS, doc="Most validators of an epoch.")
    set_history: Const[U32] = constant(
        168, doc="Epochs before the current one whose sets are kept, so that evidence counts."
    )
    activity_history: Const[U32] = constant(
        8, doc="Epochs before the current one whose activity is kept."
    )

    validators: StorageValue[tuple[AccountId, ...]] = value(
        default=(), doc="The accounts of this epoch's validators, in the order of leaders' indices."
    )
    members: StorageValue[tuple[Validator, ...]] = value(
        default=(), doc="The same validators with their keys and stakes."
    )
    author: StorageValue[AccountId | None] = value(doc="The validator that made this block.")
    mix: StorageValue[Bytes32] = value(
        default=bytes(32), doc="Randomness: blake2b-256 over the one before and the leader's VRF."
    )
    mixes: StorageMap[BlockNumber, Bytes32] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="Randomness after each recent block."
    )
    current_index: StorageValue[U64] = value(
        default=0, doc="Number of the epoch of the next block."
    )
    epoch_start: StorageValue[BlockNumber] = value(
        default=1, doc="Number of the first block of that epoch."
    )
    epoch_length: StorageValue[BlockNumber] = value(
        default=600, doc="Blocks of an epoch; the last of them ends it."
    )
    seed: StorageValue[Bytes32] = value(
        default=bytes(32), doc="Randomness that orders the leaders of this epoch."
    )
    authorities: StorageValue[tuple[Authority, ...]] = value(
        default=(), doc="Keys and weights of the votes of this epoch's validators."
    )
    queued: StorageValue[tuple[Validator, ...]] = value(
        default=(), doc="The validator set of the next epoch, which nothing changes any more."
    )
    elected: StorageValue[tuple[Elected, ...]] = value(
        default=(), doc="Accounts and stakes of the set that is frozen when this epoch ends."
    )
    next_keys: StorageMap[AccountId, Bytes32] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="The key with which an account stands in sets yet to be frozen."
    )
    key_owner: StorageMap[Bytes32, KeyRecord] = storage_map(
        Hasher.BLAKE2_128_CONCAT, doc="Whose a key is; kept while it stands in a kept set."
    )
    historical_sets: StorageMap[U64, tuple[Validator, ...]] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="The sets of this epoch and of recent ones."
    )
    activity: StorageMap[U64, Activity] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="What the validators of this epoch and of recent ones did."
    )

    def __init__(self, host: Host, system: Chain) -> None:
        super().__init__(host)
        self.system = system

    # Calls.

    @call(index=0, weight=weights.SET_KEYS)
    def set_keys(self, origin: Origin, key: Bytes32, proof: Bytes64) -> None:
        """Register the ed25519 key with which the account validates, or replace it.

        It acts two epochs later. `proof` is its signature over ``open-simplex-key-v1``, the
        genesis hash and the account.
        """
        who = ensure_signed(origin)
        ensure(is_usable(key), Error.INVALID_KEY)
        ensure(proves_ownership(key, self.system.block_hash[0], who, proof), Error.BAD_PROOF)
        record = self.key_owner.get(key)
        ensure(record is None or record.account == who, Error.KEY_TAKEN)
        before = self.next_keys.get(who)
        self.next_keys.insert(who, key)
        if record is None:
            self.key_owner.insert(key, KeyRecord(who, None))
        if before is not None and before != key:
            self._forget_unused(before)
        self.deposit_event(KeysSet(who, key))

    @call(index=1, weight=weights.PURGE_KEYS)
    def purge_keys(self, origin: Origin) -> None:
        """Give up the account's key; refused while the account is elected."""
        who = ensure_signed(origin)
        key = self.next_keys.get(who)
        if key is None:
            raise DispatchFailure(Error.NO_KEYS)
        ensure(all(e.account != who for e in self.elected.get()), Error.STILL_ELECTED)
        self.next_keys.remove(who)
        self._forget_unused(key)
        self.deposit_event(KeysPurged(who, key))

    @call(index=2, weight=weights.SET_VALIDATORS)
    def set_validators(self, origin: Origin, validators: tuple[Elected, ...]) -> None:
        """Name who validates from the set on that is frozen next, until staking elects them.

        A set is frozen when an epoch ends, and validates after the epoch that then begins.
        """
        ensure_root(origin)
        ensure(1 <= len(validators) <= self.max_validators, Error.BAD_NUMBER)
        accounts = tuple(v.account for v in validators)
        ensure(len({*accounts}) == len(accounts), Error.REPEATED_VALIDATOR)
        ensure(all(v.stake > 0 for v in validators), Error.NO_STAKE)
        ensure(all(a in self.next_keys for a in accounts), Error.VALIDATOR_WITHOUT_KEYS)
        self.elected.put(validators)
        self.deposit_event(ValidatorsElected(accounts, self.current_index.get() + 2))

    # Blocks and epochs.

    def current(self) -> NextEpoch:
        """Return the epoch that the next block belongs to."""
        return NextEpoch(self.current_index.get(), self.authorities.get(), self.seed.get())

    def begins_epoch(self, number: int) -> bool:
        """Tell whether a block is the first of this epoch."""
        return number == self.epoch_start.get()

    def ends_epoch(self, number: int) -> bool:
        """Tell whether a block is the last of this epoch."""
        return number >= self.epoch_start.get() + self.epoch_length.get() - 1

    def open_block(self, number: int, claim: PreDigest) -> NextEpoch | None:
        """Note the author, mix the leader's randomness in, count; `claim` was checked.

        Returns what the header has to announce where the block ends its epoch.
        """
        self.author.put(self.members.get()[claim.leader].account)
        mix = blake2_256(self.mix.get() + claim.vrf_output)
        self.mix.put(mix)
        self.mixes.insert(number, mix)
        if number > self.mix_history:
            self.mixes.remove(number - self.mix_history)
        epoch = self.current()
        voting = [a.weight for a in epoch.authorities]
        counted = count(self.activity[epoch.epoch], claim, epoch.seed, voting)
        self.activity.insert(epoch.epoch, counted)
        if not self.ends_epoch(number):
            return None
        return NextEpoch(epoch.epoch + 1, authorities_of(self.queued.get()), mix)

    def close_block(self, number: int) -> None:
        """Begin the next epoch where the block ends its own; the last work of a block."""
        if not self.ends_epoch(number):
            return
        epoch = self.current_index.get()
        self._report_offline(epoch)
        self._begin(epoch + 1, number + 1, self.queued.get())
        self.seed.put(self.mix.get())
        self._freeze(epoch + 2)
        self.deposit_event(NewEpoch(epoch + 1, len(self.members.get())))

    def _report_offline(self, epoch: int) -> None:
        validators = self.members.get()
        absent = tuple(validators[i].account for i in offline(self.activity[epoch]))
        if absent:
            self.deposit_event(Offline(epoch, absent))

    def _begin(self, epoch: int, start: int, validators: tuple[Validator, ...]) -> None:
        """Seat a set, and forget what has been kept long enough."""
        self.current_index.put(epoch)
        self.epoch_start.put(start)
        self.validators.put(tuple(v.account for v in validators))
        self.members.put(validators)
        self.authorities.put(authorities_of(validators))
        self.historical_sets.insert(epoch, validators)
        self.activity.insert(epoch, idle(len(validators)))
        if epoch > self.activity_history:
            self.activity.remove(epoch - self.activity_history - 1)
        if epoch > self.set_history:
            self._forget_set(epoch - self.set_history - 1)

    def _freeze(self, epoch: int) -> None:
        """Fix the set of an epoch: whom was elected, with the keys registered by now."""
        frozen = tuple(
            Validator(e.account, self.next_keys[e.account], e.stake) for e in self.elected.get()
        )
        self.queued.put(frozen)
        for validator in frozen:
            self.key_owner.insert(validator.consensus_key, KeyRecord(validator.account, epoch))

    # Keys.

    def _forget_set(self, epoch: int) -> None:
        gone = self.historical_sets[epoch]
        self.historical_sets.remove(epoch)
        for validator in gone:
            self._forget_unused(validator.consensus_key)

    def _forget_unused(self, key: bytes) -> None:
        """Free a key that nobody has registered and that stands in no kept set."""
        record = self.key_owner[key]
        if self.next_keys.get(record.account) == key:
            return
        oldest = self.current_index.get() - self.set_history
        if record.last_epoch is None or record.last_epoch < oldest:
            self.key_owner.remove(key)

    # Genesis and checks.

    def build_genesis(self, genesis: Any) -> None:
        """Seat the validators of the first two epochs.

        ``{"validators": [[address, consensus key hex, stake], ...], "epoch_length": blocks}``
        """
        length = int(genesis.get("epoch_length", self.epoch_length.get()))
        if length < 1:
            raise ValueError("session.epoch_length is 1 block or more")
        self.epoch_length.put(length)
        validators = tuple(
            Validator(ss58_decode(address)[0], bytes.fromhex(key.removeprefix("0x")), int(stake))
            for address, key, stake in genesis.get("validators", ())
        )
        for v in validators:
            self.next_keys.insert(v.account, v.consensus_key)
        self.elected.put(tuple(Elected(v.account, v.stake) for v in validators))
        self._begin(0, 1, validators)
        self._freeze(1)

    def check_invariants(self) -> None:
        """Sets have distinct members; keys have one owner each as long as they are needed."""
        validators, epoch = self.members.get(), self.current_index.get()
        accounts = tuple(v.account for v in validators)
        invariant(self.validators.get() == accounts, "the accounts are of another set")
        invariant(self.authorities.get() == authorities_of(validators), "wrong weights of votes")
        invariant(self.historical_sets[epoch] == validators, "the history has another set")
        invariant(len(self.activity[epoch].made) == len(validators), "activity of another set")
        for number, members in (*self.historical_sets.items(), (epoch + 1, self.queued.get())):
            self._check_set(number, members)
        for elected in self.elected.get():
            invariant(elected.account in self.next_keys, "an elected account lacks a key")
        for account, key in self.next_keys.items():
            invariant(self.key_owner[key].account == account, "a registered key has no such owner")

    def _check_set(self, epoch: int, members: tuple[Validator, ...]) -> None:
        invariant(len(members) <= self.max_validators, "a set is too large")
        _check_distinct(v.account for v in members)
        _check_distinct(v.consensus_key for v in members)
        for member in members:
            record = self.key_owner[member.consensus_key]
            invariant(record.account == member.account, "a key in a kept set changed hands")
            invariant((record.last_epoch or 0) >= epoch, "a key is needed longer than noted")


def _check_distinct(values: Iterable[bytes]) -> None:
    found = list(values)
    invariant(len(found) == len({*found}), "a validator stands twice in a set")
