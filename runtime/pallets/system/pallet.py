"""System: accounts and their nonces, the block's context, its events."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from typing import Any, ClassVar

from runtime.frame.dispatch_info import DispatchEventInfo
from runtime.frame.errors import DispatchErrorValue
from runtime.frame.limits import BlockLength, BlockWeights, RuntimeDbWeight
from runtime.frame.origin import Origin, ensure_signed
from runtime.frame.pallet import Const, Pallet, TypesOfPallet, call, constant, event, late_constant
from runtime.frame.storage import StorageMap, StorageValue, storage_map, value
from runtime.frame.weights import BLOCK_LENGTH, BLOCK_WEIGHTS, DB_WEIGHT
from runtime.pallets.system import weights
from runtime.pallets.system.types import (
    EMPTY_ACCOUNT,
    AccountData,
    AccountInfo,
    Digest,
    EncodedEvents,
)
from runtime.primitives.errors import invariant
from runtime.primitives.hashing import Hasher, blake2_256
from runtime.primitives.header import DigestItem
from runtime.primitives.scale import U16, U32
from runtime.primitives.types import AccountId, BlockNumber, Hash, Nonce
from runtime.primitives.version import (
    RUNTIME_VERSION,
    LastRuntimeUpgrade,
    RuntimeVersion,
    offered_version,
)

BLOCK_HASH_COUNT = 4096
CODE_KEY = b":code"


@event(index=0)
class ExtrinsicSuccess:
    """An extrinsic did what it said."""

    dispatch_info: DispatchEventInfo


@event(index=1)
class ExtrinsicFailed:
    """An extrinsic failed; it changed nothing but the fee and the nonce."""

    dispatch_error: DispatchErrorValue
    dispatch_info: DispatchEventInfo


@event(index=3)
class NewAccount:
    """An account came to life."""

    account: AccountId


@event(index=4)
class KilledAccount:
    """An account fell below the existential deposit and is gone."""

    account: AccountId


@event(index=5)
class Remarked:
    """A remark was made; the hash is blake2b-256 of it."""

    sender: AccountId
    hash: Hash


class Error(IntEnum):
    """Reasons a call of this pallet fails."""

    CALL_FILTERED = 5
    """The chain does not admit this call at present."""


class System(Pallet, index=0):
    """Accounts and their nonces, the context of the block being executed, and its events."""

    Error = Error
    EVENTS = (ExtrinsicSuccess, ExtrinsicFailed, NewAccount, KilledAccount, Remarked)
    TYPES: ClassVar[TypesOfPallet] = {
        "Nonce": (Nonce, "Number of an account's transactions."),
        "Hash": (Hash, "Names blocks and states: blake2b-256."),
        "AccountId": (AccountId, "Names accounts."),
        "AccountData": (AccountData, "What an account owns."),
    }

    block_weights: Const[BlockWeights] = constant(BLOCK_WEIGHTS, doc="Weight limits of a block.")
    block_length: Const[BlockLength] = constant(BLOCK_LENGTH, doc="Length limits of a block.")
    block_hash_count: Const[BlockNumber] = constant(
        BLOCK_HASH_COUNT, doc="How many block hashes are kept, and how long an era may be."
    )
    db_weight: Const[RuntimeDbWeight] = constant(DB_WEIGHT, doc="Cost of one read and one write.")
    version: Const[RuntimeVersion] = late_constant(offered_version, doc="Version of the rules.")
    ss58_prefix: Const[U16] = constant(42, doc="Prefix of this chain's addresses.")

    account: StorageMap[AccountId, AccountInfo] = storage_map(
        Hasher.BLAKE2_128_CONCAT,
        default=EMPTY_ACCOUNT,
        doc="Every account: nonce, references that keep it alive, balances.",
    )
    extrinsic_count: StorageValue[U32 | None] = value(
        doc="Extrinsics applied in this block so far."
    )
    block_hash: StorageMap[BlockNumber, Hash] = storage_map(
        Hasher.TWOX_64_CONCAT, default=bytes(32), doc="Hashes of the latest 4096 blocks."
    )
    number: StorageValue[BlockNumber] = value(default=0, doc="Number of the block.")
    parent_hash: StorageValue[Hash] = value(default=bytes(32), doc="Hash of the parent block.")
    digest: StorageValue[Digest] = value(default=Digest(()), doc="Digest of the block.")
    events: StorageValue[EncodedEvents] = value(
        default=b"\x00", doc="What happened in this block, in order."
    )
    event_count: StorageValue[U32] = value(default=0, doc="Number of events of this block.")
    last_runtime_upgrade: StorageValue[LastRuntimeUpgrade | None] = value(
        doc="Version of the rules that execute the next block."
    )

    @call(index=0, weight=weights.remark)
    def remark(self, origin: Origin, remark: bytes) -> None:
        """Put bytes into a block; they have no effect."""

    @call(index=7, weight=weights.remark_with_event)
    def remark_with_event(self, origin: Origin, remark: bytes) -> None:
        """Put bytes into a block and record their hash in an event."""
        who = ensure_signed(origin)
        self.deposit_event(Remarked(who, blake2_256(remark)))

    def build_genesis(self, genesis: Any) -> None:
        """Select the rules of block 1, and put a stand-in where clients look for the code."""
        self.last_runtime_upgrade.put(
            LastRuntimeUpgrade(RUNTIME_VERSION.spec_version, RUNTIME_VERSION.spec_name)
        )
        self.host.overlay.put(CODE_KEY, code_marker(RUNTIME_VERSION))
        self.block_hash.insert(0, bytes(32))

    def open_block(self, number: int, parent_hash: bytes, digest: tuple[DigestItem, ...]) -> None:
        """Set the context of a new block and clear the last one's events."""
        self.number.put(number)
        self.parent_hash.put(parent_hash)
        self.digest.put(Digest(digest))
        self.block_hash.insert(number - 1, parent_hash)
        if (
            number - 1 > BLOCK_HASH_COUNT
        ):  # the genesis hash stays: immortal eras are signed over it
            self.block_hash.remove(number - 1 - BLOCK_HASH_COUNT)
        self.events.kill()
        self.event_count.kill()

    def inc_nonce(self, who: bytes) -> None:
        """Count one more transaction of an account."""
        info = self.account[who]
        self.account.insert(
            who,
            AccountInfo(
                info.nonce + 1, info.consumers, info.providers, info.sufficients, info.data
            ),
        )

    def inc_providers(self, who: bytes) -> None:
        """Keep an account alive for a reason of a pallet's own."""
        info = self.account[who]
        self._store(who, replace(info, providers=info.providers + 1), alive=info.providers > 0)

    def dec_providers(self, who: bytes) -> None:
        """Drop a reason to keep an account alive; without one, it goes."""
        info = self.account[who]
        invariant(info.providers > 0, "an account without providers lost one")
        self._store(who, replace(info, providers=info.providers - 1), alive=True)

    def store_balances(
        self, who: bytes, before: AccountInfo, free: int, reserved: int, providers: int
    ) -> None:
        """Store what an account owns and how many reasons keep it alive.

        `before` is the account as it is stored.
        """
        data = AccountData(free, reserved, before.data.frozen, before.data.flags)
        info = AccountInfo(before.nonce, before.consumers, providers, before.sufficients, data)
        self._store(who, info, alive=before.providers > 0)

    def _store(self, who: bytes, info: AccountInfo, *, alive: bool) -> None:
        """Store an account; where nothing keeps it alive any more, only its nonce stays.

        With a nonce that began again at 0, anybody could send old transactions of the account
        once more as soon as it is funded again.
        """
        if info.providers:
            self.account.insert(who, info)
            if not alive:
                self.deposit_event(NewAccount(who))
        elif alive:
            invariant(not info.data.free and not info.data.reserved, "a balance would vanish")
            if info.nonce:
                self.account.insert(who, replace(EMPTY_ACCOUNT, nonce=info.nonce))
            else:
                self.account.remove(who)
            self.deposit_event(KilledAccount(who))

    def check_invariants(self) -> None:
        """Every stored account has a reason to live, a balance being one, or only its nonce."""
        for who, info in self.account.items():
            gone = info == replace(EMPTY_ACCOUNT, nonce=info.nonce) and info.nonce > 0
            invariant(info.providers > 0 or gone, f"{who.hex()} lives without a provider")


def code_marker(version: RuntimeVersion) -> bytes:
    """Return the bytes under ``:code``: not Wasm, but other ones for each version."""
    return f"{version.spec_name}-{version.spec_version} is a Python runtime".encode()
