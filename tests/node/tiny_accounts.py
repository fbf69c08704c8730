"""Accounts with nonces for tests of the pool; the extrinsics are real envelopes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from consensus.interface import BlockRef
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.primitives.extrinsic import (
    Extensions,
    Immortal,
    Mortal,
    SignedPart,
    UncheckedExtrinsic,
)
from runtime.primitives.header import Block, Header
from runtime.primitives.types import Id, Sr25519Signature

IMMORTAL = (1 << 64) - 1


def account(number: int) -> bytes:
    return bytes([number]) * 32


def transaction(
    sender: int, nonce: int, tip: int = 0, *, size: int = 4, era: Mortal | None = None
) -> bytes:
    extensions = Extensions(era or Immortal(), nonce, tip)
    signed = SignedPart(Id(account(sender)), Sr25519Signature(bytes(64)), extensions)
    return UncheckedExtrinsic(signed, b"c" * size).encode()


@dataclass(frozen=True)
class TinyValidity:
    priority: int
    requires: tuple[bytes, ...]
    provides: tuple[bytes, ...]
    longevity: int
    propagate: bool = True


class TinyAccounts:
    """Validates by nonce; the priority is the tip. A frozen account's extrinsics are invalid."""

    def __init__(self) -> None:
        self.nonces: defaultdict[bytes, int] = defaultdict(int)
        self.frozen: set[bytes] = set()
        self.number = 0
        self.parent = bytes(32)
        self.checks = 0

    def best(self) -> BlockRef:
        return BlockRef(self.parent, self.number)

    def validate(self, extrinsic: bytes, source: int) -> TinyValidity:
        self.checks += 1
        signed = UncheckedExtrinsic.decode(extrinsic).signed
        if signed is None or not isinstance(signed.address, Id):
            raise InvalidTransaction(TransactionReason.CALL)
        who, nonce = signed.address.account, signed.extensions.nonce
        if who in self.frozen:
            raise InvalidTransaction(TransactionReason.PAYMENT, "frozen")
        if nonce < self.nonces[who]:
            raise InvalidTransaction(TransactionReason.STALE)
        requires = (tag(who, nonce - 1),) if nonce > self.nonces[who] else ()
        era = signed.extensions.era
        longevity = IMMORTAL if isinstance(era, Immortal) else era.death(self.number) - self.number
        return TinyValidity(signed.extensions.tip, requires, (tag(who, nonce),), longevity)

    def include(self, *extrinsics: bytes) -> Block:
        """Make a block of extrinsics, in order, the best one."""
        for extrinsic in extrinsics:
            signed = UncheckedExtrinsic.decode(extrinsic).signed
            assert signed is not None and isinstance(signed.address, Id)
            self.nonces[signed.address.account] += 1
        self.number += 1
        header = Header(self.parent, self.number, bytes(32), bytes(32), ())
        self.parent = header.hash()
        return Block(header, extrinsics)

    def undo(self, block: Block) -> None:
        """Take the best block away again."""
        for extrinsic in block.extrinsics:
            signed = UncheckedExtrinsic.decode(extrinsic).signed
            assert signed is not None and isinstance(signed.address, Id)
            self.nonces[signed.address.account] -= 1
        self.number -= 1
        self.parent = block.header.parent_hash


def tag(who: bytes, nonce: int) -> bytes:
    return who + nonce.to_bytes(4, "little")
