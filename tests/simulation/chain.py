"""A tiny chain: a block's state is its number, its time and its randomness; all is deterministic.

Epoch e has `length` blocks; its last block announces the members of e + 1, which a schedule names,
and the seed, which the block's own randomness closes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b

from consensus.core.actions import Build
from consensus.core.validators import Epoch, ValidatorSet
from runtime.primitives.digest import (
    Authority,
    NextEpoch,
    PreDigest,
    find_claim,
    next_epoch_item,
    pre_digest_item,
)
from runtime.primitives.header import Block, DigestItem, Header

Schedule = Callable[[int], tuple[Authority, ...]]
MINIMUM_PERIOD = 1
_LENGTH_OF_EIGHT = b"\x20"


def _digest(*parts: bytes) -> bytes:
    return blake2b(b"".join(parts), digest_size=32).digest()


def time_extrinsic(timestamp: int) -> bytes:
    """Return the first extrinsic of a block: its time, behind the length of eight bytes."""
    return _LENGTH_OF_EIGHT + timestamp.to_bytes(8, "little")


def time_of(block: Block) -> int | None:
    """Read the time (unix ms) that a block sets; None where it sets none."""
    first = block.extrinsics[0] if block.extrinsics else b""
    if len(first) != 9 or first[:1] != _LENGTH_OF_EIGHT:
        return None
    return int.from_bytes(first[1:], "little")


def is_whole(block: Block) -> bool:
    """Tell whether a body is the one that the header commits to."""
    return _digest(*block.extrinsics) == block.header.extrinsics_root


@dataclass(frozen=True, slots=True)
class State:
    """The state after a block."""

    number: int
    time: int
    mix: bytes
    root: bytes
    epoch: int
    """The epoch of the next block."""
    start: int
    """The number of the block that `epoch` starts from."""


class Chain:
    """The rules of the tiny chain, and what is known of every block that anybody made."""

    def __init__(self, schedule: Schedule, length: int, seed: bytes = bytes(32)) -> None:
        self.schedule = schedule
        self.length = length
        self.genesis = Block(Header(bytes(32), 0, _digest(b"genesis", seed), bytes(32), ()), ())
        self.genesis_hash = self.genesis.header.hash()
        root = self.genesis.header.state_root
        self.states: dict[bytes, State | None] = {self.genesis_hash: State(0, 0, seed, root, 0, 0)}
        self.claims: dict[bytes, PreDigest] = {}
        self.headers: dict[bytes, Header] = {self.genesis_hash: self.genesis.header}
        self.epochs: dict[bytes, Epoch] = {
            self.genesis_hash: Epoch(0, ValidatorSet(schedule(0)), seed, self.genesis_hash, 0)
        }
        """The epochs by the hash of the block that they start from."""

    def build(
        self,
        want: Build,
        output: bytes,
        proof: bytes,
        timestamp: int,
        change: Callable[[PreDigest], PreDigest] | None = None,
    ) -> Block:
        """Build the block that a leader asks for; `change` is for leaders that lie."""
        claim = PreDigest(
            want.epoch,
            want.view,
            want.parent_view,
            want.leader,
            output,
            proof,
            want.justification_hash,
            want.parent_signers,
        )
        if change is not None:
            claim = change(claim)
        return self.seal(want.parent_hash, claim, max(timestamp, want.least_timestamp))

    def seal(self, parent_hash: bytes, claim: PreDigest, timestamp: int) -> Block:
        """Make the valid block of a claim and a time on an executed parent."""
        parent = self.states[parent_hash]
        if parent is None:
            raise ValueError("nothing can be built on an invalid block")
        extrinsics = (time_extrinsic(timestamp),)
        state = self._after(parent, claim, timestamp)
        digest: list[DigestItem] = [pre_digest_item(claim)]
        if state.epoch != parent.epoch:
            digest.append(next_epoch_item(self._announcement(state)))
        header = Header(parent_hash, state.number, state.root, _digest(*extrinsics), tuple(digest))
        block = Block(header, extrinsics)
        self.execute(block)
        return block

    def execute(self, block: Block) -> bool:
        """Check a block whose parent is executed, and keep its state; False where it is invalid."""
        if not is_whole(block):
            return False
        hash_ = block.header.hash()
        if hash_ not in self.states:
            self.states[hash_] = self._check(block, hash_)
        return self.states[hash_] is not None

    def _check(self, block: Block, hash_: bytes) -> State | None:
        header = block.header
        parent = self.states.get(header.parent_hash)
        claim, timestamp = find_claim(header.digest), time_of(block)
        if parent is None or claim is None or timestamp is None:
            return None
        if claim.epoch != parent.epoch or claim.leader >= len(self.schedule(parent.epoch)):
            return None
        if timestamp < parent.time + MINIMUM_PERIOD or timestamp >= 1 << 63:
            return None
        state = self._after(parent, claim, timestamp)
        digest: tuple[DigestItem, ...] = (pre_digest_item(claim),)
        if state.epoch != parent.epoch:
            digest += (next_epoch_item(self._announcement(state)),)
        right = Header(header.parent_hash, state.number, state.root, header.extrinsics_root, digest)
        if right != header:
            return None
        self.claims[hash_] = claim
        self.headers[hash_] = header
        if state.epoch != parent.epoch:
            members = ValidatorSet(self.schedule(state.epoch))
            self.epochs[hash_] = Epoch(state.epoch, members, state.mix, hash_, state.number)
        return state

    def _after(self, parent: State, claim: PreDigest, timestamp: int) -> State:
        number = parent.number + 1
        mix = _digest(parent.mix, claim.vrf_output)
        root = _digest(parent.root, number.to_bytes(4, "little"), timestamp.to_bytes(8, "little"))
        state = State(number, timestamp, mix, root, parent.epoch, parent.start)
        if number - parent.start == self.length:
            return replace(state, epoch=parent.epoch + 1, start=number)
        return state

    def _announcement(self, state: State) -> NextEpoch:
        return NextEpoch(state.epoch, self.schedule(state.epoch), state.mix)

    def is_boundary(self, hash_: bytes) -> bool:
        """Tell whether a block ends an epoch."""
        return hash_ in self.epochs and hash_ != self.genesis_hash
