"""What this validator signed last, on the disk before anybody may see a signature.

The file holds the block as well: after a crash the same block is signed again instead of another
one for the same view.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from consensus.core.votes import Subject, VoteDomain, VoteKind
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import U32, U64, DecodeError, decode, encode
from runtime.primitives.types import Hash

MAGIC = b"open-simplex-signed-v1\n"


class SigningRefused(Exception):
    """Signing would contradict an earlier signature, or its record cannot be trusted."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The last block that was signed: the subject of its finalize vote, and its SCALE bytes."""

    genesis_hash: Hash
    fork_id: U32
    epoch: U64
    view: U64
    parent_view: U64
    number: U32
    block_hash: Hash
    block: bytes

    def subject(self) -> Subject:
        """Return what the finalize vote says."""
        return Subject(
            VoteKind.FINALIZE,
            self.epoch,
            self.view,
            self.parent_view,
            self.number,
            self.block_hash,
        )


class SigningRecord:
    """One file, locked while it is open; see `open`."""

    def __init__(self, path: Path, lock: int, last: Signed | None) -> None:
        self._path = path
        self._lock = lock
        self.last = last

    @classmethod
    def open(cls, path: Path, domain: VoteDomain, *, make: bool) -> SigningRecord:
        """Open the record of a chain; with `make`, an absent one is made.

        Raises SigningRefused where another process has it, where it is absent, damaged, or of
        another chain.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            last = _load(path, domain, make)
        except BlockingIOError as error:
            os.close(lock)
            raise SigningRefused(f"another process signs with the record {path}") from error
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock, last)

    def close(self) -> None:
        """Let another process have the record."""
        os.close(self._lock)

    def record(self, signed: Signed) -> None:
        """Write what is about to be signed; on the disk before this returns.

        Recording the same again is allowed. Raises SigningRefused for another block in a view that
        was signed, or in an earlier one.
        """
        last = self.last
        if signed == last:
            return
        if last is not None and (signed.epoch, signed.view) <= (last.epoch, last.view):
            raise SigningRefused(
                f"view {last.view} of epoch {last.epoch} was signed already; nothing is signed "
                f"for view {signed.view} of epoch {signed.epoch}"
            )
        payload = encode(Signed, signed)
        _replace(self._path, MAGIC + blake2_256(payload) + payload)
        self.last = signed


def _load(path: Path, domain: VoteDomain, make: bool) -> Signed | None:
    if not path.exists():
        if make:
            return None
        raise SigningRefused(
            f"there is no record of earlier signatures at {path}; if this key never signed on "
            "this chain, start once with --init-log"
        )
    data = path.read_bytes()
    checksum, payload = data[len(MAGIC) : len(MAGIC) + 32], data[len(MAGIC) + 32 :]
    if not data.startswith(MAGIC) or blake2_256(payload) != checksum:
        raise SigningRefused(f"the record of earlier signatures at {path} is damaged")
    try:
        signed = decode(Signed, payload)
    except DecodeError as error:
        raise SigningRefused(f"the record of earlier signatures at {path} is damaged") from error
    if (signed.genesis_hash, signed.fork_id) != (domain.genesis_hash, domain.fork_id):
        raise SigningRefused(f"the record of earlier signatures at {path} is of another chain")
    return signed if isinstance(signed, Signed) else None


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
