"""A chain in memory for tests: real blocks, or calls made directly on the state.

Every block is built, applied again from its bytes, and followed by a check of all invariants.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple

import pytest

from node.client.signing import KeyPair, Scheme, from_uri
from runtime import construct, executive
from runtime.frame.currency import HoldReason
from runtime.frame.event_records import EventRecord
from runtime.frame.origin import Origin, Root, Signed
from runtime.primitives.digest import (
    PreDigest,
    find_claim,
    find_next_epoch,
    pre_digest_item,
)
from runtime.primitives.errors import DispatchFailure, InvalidTransaction
from runtime.primitives.extrinsic import (
    Extensions,
    Immortal,
    Mortal,
    SignedPart,
    UncheckedExtrinsic,
    signing_payload,
)
from runtime.primitives.header import Block, Header, PreRuntime
from runtime.primitives.keys import ss58_encode
from runtime.primitives.leaders import leader_of
from runtime.primitives.types import Id
from runtime.primitives.version import RUNTIME_VERSION
from runtime.state.overlay import Overlay
from runtime.state.store import MemoryState
from runtime.state.trie import update

OPEN = 10**18
ENDOWMENT = 1_000_000 * OPEN
PEOPLE = ("Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie")


def next_claim(
    runtime: construct.Runtime,
    parent: Header,
    *,
    leader: int = 0,
    skip: int | None = None,
    signers: Iterable[int] | None = None,
) -> PreDigest:
    """Return a claim to make the block after `parent`, on whose state `runtime` is.

    To the first view that `leader` leads, or, whoever leads it, to the one after `skip` others.
    All validators signed the parent unless `signers` names them; the randomness is the number.
    """
    epoch = runtime.session.current()
    weights = [authority.weight for authority in epoch.authorities]
    before = None if find_next_epoch(parent.digest) else find_claim(parent.digest)
    parent_view = before.view if before else 0
    view = parent_view + 1 + (skip or 0)
    while skip is None and leader_of(epoch.seed, view, weights) != leader:
        view += 1
    bits = sum(1 << i for i in (range(len(weights)) if signers is None else signers))
    return PreDigest(
        epoch=epoch.epoch,
        view=view,
        parent_view=parent_view,
        leader=leader_of(epoch.seed, view, weights),
        vrf_output=(parent.number + 1).to_bytes(4, "little") * 16,
        vrf_proof=bytes(80),
        justification_hash=bytes(32),
        parent_signers=bits.to_bytes(-(-len(weights) // 8), "little") if parent_view else b"",
    )


def seated(*names: str, epoch_length: int = 600, stake: int = 1000 * 10**18) -> dict[str, Any]:
    """Return the genesis of `Session` with these validators, each with its ed25519 key."""
    seats = [
        [ss58_encode(account(name)), keys(name, "ed25519").public.hex(), str(stake)]
        for name in names
    ]
    return {"validators": seats, "epoch_length": epoch_length}


@cache
def keys(name: str, scheme: Scheme = "sr25519") -> KeyPair:
    """Return a well-known key pair."""
    return from_uri(f"//{name}", scheme)


def account(name: str) -> bytes:
    return keys(name).account_id


class Made(NamedTuple):
    """A block, the events that its signed extrinsics left, and the candidates it refused."""

    block: Block
    outcome: executive.BlockOutcome
    events: tuple[EventRecord, ...]
    refused: tuple[tuple[bytes, InvalidTransaction], ...]

    def named(self, name: str) -> list[Any]:
        return [record.event for record in self.events if record.name == name]


class DevChain:
    """A chain of one author; `runtime` is open on the state after the last block."""

    author = account("Alice")

    def __init__(self, **genesis: Any) -> None:
        config: dict[str, Any] = {
            "balances": {"balances": [[ss58_encode(account(p)), str(ENDOWMENT)] for p in PEOPLE]},
            "session": {"validators": [[ss58_encode(self.author), "0x" + "11" * 32, "1000"]]},
            "sudo": {"key": ss58_encode(account("Alice"))},
            "models": {"bases": [["open-nano", "0x" + "22" * 32, str(10**16)]]},
            "inference": {"windows": [5, 5, 10, 10]},
            "attribution": {"allow_self_attestation": True},
        }
        config.update(genesis)
        self.config = config
        self.state = MemoryState(construct.genesis_state(config))
        self.head = executive.genesis_header(self.state.root)
        self.genesis_hash = self.head.hash()
        self.hashes = {0: self.genesis_hash}
        self._open()

    def _open(self) -> None:
        self.overlay = Overlay(self.state)
        self.runtime = construct.Runtime(self.overlay)
        self.runtime.system.open_block(self.head.number + 1, self.head.hash(), ())
        self._opened_with = self.overlay.changes()

    # Calls made directly.

    def call(self, who: str | Origin, pallet: str, call: str, /, **arguments: Any) -> list[Any]:
        """Make a call on the open state; return the events it deposited."""
        decoded = construct.decode_call(construct.encode_call(pallet, call, **arguments))
        origin = Signed(account(who)) if isinstance(who, str) else who
        mark = len(self.runtime.host.events)
        with self.runtime.host.transaction():
            self.runtime.dispatcher.dispatch(decoded, origin)
        return [event for _, _, event in self.runtime.host.events[mark:]]

    def assert_refused(
        self, error: IntEnum, who: str | Origin, pallet: str, call: str, /, **arguments: Any
    ) -> None:
        """Prove that a call fails with `error` and writes nothing."""
        before = self.overlay.changes(), self.root(), copy.copy(self.runtime.host.events)
        with pytest.raises(DispatchFailure) as failure:
            self.call(who, pallet, call, **arguments)
        assert failure.value.error is error
        assert (self.overlay.changes(), self.root(), self.runtime.host.events) == before

    def root(self) -> bytes:
        """Return the state root as if the open state were written now."""
        return update(self.state.node, self.state.root, self.overlay.changes()).root

    def check(self) -> None:
        """Check all invariants, and that what is held equals what pallets say they hold."""
        self.runtime.check_invariants()
        ledger = dict.fromkeys(HoldReason, 0)
        for pallet in self.runtime.pallets:
            for reason, amount in getattr(pallet, "ledger", dict)().items():
                ledger[reason] += amount
        assert ledger == self.runtime.balances.held_by_reason()

    # Blocks.

    def make_block(
        self, *extrinsics: bytes, timestamp: int | None = None, claim: PreDigest | None = None
    ) -> Made:
        """Commit what direct calls wrote, then make a block of these extrinsics."""
        if self.overlay.changes() != self._opened_with:
            self.state.apply(self.overlay.changes())
        built = self.build(extrinsics, timestamp, claim)
        block = Block.decode(built.block.encode())
        outcome = executive.apply_block(self.head, self.state, block)
        assert outcome == built.outcome
        self.state.apply(outcome.changes)
        assert self.state.root == outcome.header.state_root
        self.head = outcome.header
        self.hashes[self.head.number] = self.head.hash()
        self._open()
        self.check()
        raw = self.state.get(construct.storage_key("System", "Events"))
        assert raw is not None
        return Made(block, outcome, construct.EVENTS.decode(raw), built.refused)

    def build(
        self,
        extrinsics: Iterable[bytes],
        timestamp: int | None = None,
        claim: PreDigest | None = None,
    ) -> executive.BuiltBlock:
        number = self.head.number + 1
        return executive.build_block(
            self.head,
            self.state,
            timestamp=1000 * number if timestamp is None else timestamp,
            digest=(pre_digest_item(claim),) if claim else self.digest(),
            candidates=extrinsics,
            full=lambda: False,
        )

    def digest(self, **changes: Any) -> tuple[PreRuntime, ...]:
        """Return the next block's digest: led by the first validator, signed by all."""
        return (pre_digest_item(replace(self.claim(), **changes)),)

    def claim(self, **wishes: Any) -> PreDigest:
        """Return a claim to make the next block, as `next_claim` does."""
        return next_claim(self.runtime, self.head, **wishes)

    def run_to_block(self, number: int) -> None:
        while self.head.number < number:
            self.make_block()

    def sign(
        self,
        pair: KeyPair,
        pallet: str,
        call_name: str,
        /,
        *,
        nonce: int | None = None,
        tip: int = 0,
        era: Immortal | Mortal | None = None,
        genesis_hash: bytes | None = None,
        spec_version: int = RUNTIME_VERSION.spec_version,
        **arguments: Any,
    ) -> bytes:
        """Return a signed extrinsic."""
        call = construct.encode_call(pallet, call_name, **arguments)
        if nonce is None:
            nonce = self.runtime.system.account[pair.account_id].nonce
        era = era or Immortal()
        extensions = Extensions(era, nonce, tip)
        birth = era.birth(self.head.number + 1)
        payload = signing_payload(
            call,
            extensions,
            spec_version=spec_version,
            transaction_version=RUNTIME_VERSION.transaction_version,
            genesis_hash=genesis_hash or self.genesis_hash,
            birth_hash=self.hashes.get(birth, bytes(32)),
        )
        signed = SignedPart(Id(pair.account_id), pair.sign(payload), extensions)
        return UncheckedExtrinsic(signed, call).encode()

    def submit(self, who: str, pallet: str, call: str, /, **arguments: Any) -> Made:
        """Make a block with one signed call."""
        made = self.make_block(self.sign(keys(who), pallet, call, **arguments))
        assert made.refused == ()
        return made

    def free(self, who: str | bytes) -> int:
        return self.runtime.balances.free(account(who) if isinstance(who, str) else who)


ROOT = Root()
