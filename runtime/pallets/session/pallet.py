"""Session: who validates, with which keys and stake, and the chain's randomness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from runtime.frame.pallet import Const, Pallet, constant
from runtime.frame.storage import StorageMap, StorageValue, storage_map, value
from runtime.primitives.digest import PreDigest
from runtime.primitives.errors import invariant
from runtime.primitives.hashing import Hasher, blake2_256
from runtime.primitives.keys import ss58_decode
from runtime.primitives.scale import U32, Bytes32
from runtime.primitives.types import AccountId, Balance, BlockNumber


@dataclass(frozen=True, slots=True)
class Validator:
    """A member of the validator set."""

    SCALE_PATH: ClassVar[str] = "pallet_session::types::Validator"
    account: AccountId
    consensus_key: Bytes32
    """ed25519."""
    stake: Balance


class Session(Pallet, index=4):
    """Who validates, with which keys and stake, and the chain's randomness.

    Validators have epochs; a customer's paid session is another pallet's (`Inference`).
    """

    mix_history: Const[U32] = constant(600, doc="Blocks whose randomness can be looked up.")

    validators: StorageValue[tuple[Validator, ...]] = value(
        default=(), doc="The validator set of this epoch, in the order of the leaders' indices."
    )
    author: StorageValue[AccountId | None] = value(doc="The validator that made this block.")
    mix: StorageValue[Bytes32] = value(
        default=bytes(32), doc="Randomness: blake2b-256 over the one before and the leader's VRF."
    )
    mixes: StorageMap[BlockNumber, Bytes32] = storage_map(
        Hasher.TWOX_64_CONCAT, doc="Randomness after each recent block."
    )

    def open_block(self, number: int, pre: PreDigest) -> None:
        """Note the author and mix the leader's randomness in; `pre` was checked by consensus."""
        self.author.put(self.validators.get()[pre.leader].account)
        mix = blake2_256(self.mix.get() + pre.vrf_output)
        self.mix.put(mix)
        self.mixes.insert(number, mix)
        if number > self.mix_history:
            self.mixes.remove(number - self.mix_history)

    def build_genesis(self, genesis: Any) -> None:
        """Seat validators: ``{"validators": [[address, consensus key hex, stake], ...]}``."""
        self.validators.put(
            tuple(
                Validator(
                    ss58_decode(address)[0], bytes.fromhex(key.removeprefix("0x")), int(stake)
                )
                for address, key, stake in genesis.get("validators", ())
            )
        )

    def check_invariants(self) -> None:
        """No validator stands twice in the set."""
        accounts = [v.account for v in self.validators.get()]
        invariant(len(accounts) == len({*accounts}), "a validator stands twice in the set")
