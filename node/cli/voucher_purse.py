"""A session's voucher key at work: rising nonces and a ceiling that survive every crash.

The purse is one JSON file beside a lock. Before a voucher leaves, its nonce and its `max_fee` are
on disk; the receipt lowers the ceiling to what was really charged. So after a crash nonces never
repeat, and the ceiling is too high at most.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from node.client.signing import KeyPair
from runtime.primitives.errors import Refusal
from runtime.protocols.voucher import SignedVoucher, Voucher, request_hash, signing_bytes


class PurseReason(Enum):
    """Why there is no voucher."""

    LOCKED = "another proxy of this session runs; stop it first"
    DAMAGED = "the purse's file is damaged; move it away and start with --first-nonce"
    WRONG_SESSION = "the purse belongs to another session or chain; name another folder"
    UNREADABLE = "the purse's folder cannot be written"


class PurseRefusal(Refusal):
    """The purse cannot sign."""

    def __init__(self, reason: PurseReason, what: object) -> None:
        super().__init__(reason, f"{what}: {reason.value}")
        self.reason: PurseReason = reason


@dataclass(frozen=True, slots=True)
class PurseState:
    """What is on disk: the last nonce used, and the most that all vouchers so far may cost."""

    genesis: str
    session: int
    nonce: int
    ceiling: int


class Purse:
    """Signs the vouchers of one session; a folder's purse belongs to one process."""

    def __init__(
        self, folder: Path, genesis: bytes, session: int, key: KeyPair, *, least_nonce: int = 0
    ) -> None:
        """Open or make the purse; nonces go on above `least_nonce`. Raises PurseRefusal."""
        self._key = key
        self._path = folder / f"session-{session}.json"
        self._lock = _lock(folder, session)
        self._state = PurseState(genesis.hex(), session, 0, 0)
        if self._path.exists():
            self._state = self._load(self._state)
        if self._state.nonce < least_nonce:
            self._state = replace(self._state, nonce=least_nonce)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._lock)

    @property
    def nonce(self) -> int:
        """The last nonce used."""
        return self._state.nonce

    @property
    def ceiling(self) -> int:
        """The most that all vouchers so far may cost, in planck."""
        return self._state.ceiling

    def sign(self, body: bytes, *, max_fee: int, escrow: int, valid_until: int) -> SignedVoucher:
        """Sign a voucher for a request's raw body, after its nonce is safe on disk."""
        nonce = self._state.nonce + 1
        ceiling = self._state.ceiling + max_fee
        self._store(replace(self._state, nonce=nonce, ceiling=ceiling))
        voucher = Voucher(
            genesis=bytes.fromhex(self._state.genesis),
            session=self._state.session,
            nonce=nonce,
            request_hash=request_hash(body),
            max_fee=max_fee,
            authorised=min(ceiling, escrow),
            valid_until=valid_until,
        )
        return SignedVoucher(voucher, self._key.sign(signing_bytes(voucher)))

    def charge(self, voucher: Voucher, fee: int) -> None:
        """Lower the ceiling to what a voucher really cost: its receipt's fee, 0 if refused."""
        self._store(replace(self._state, ceiling=self._state.ceiling - voucher.max_fee + fee))

    def _load(self, fresh: PurseState) -> PurseState:
        try:
            state = PurseState(**json.loads(self._path.read_bytes()))
            numbers = (state.session, state.nonce, state.ceiling)
            sane = all(type(number) is int and number >= 0 for number in numbers)
        except (OSError, ValueError, TypeError) as error:
            os.close(self._lock)
            raise PurseRefusal(PurseReason.DAMAGED, self._path) from error
        if not sane or (state.genesis, state.session) != (fresh.genesis, fresh.session):
            os.close(self._lock)
            reason = PurseReason.WRONG_SESSION if sane else PurseReason.DAMAGED
            raise PurseRefusal(reason, self._path)
        return state

    def _store(self, state: PurseState) -> None:
        """Replace the file whole; what it said before stays true until then."""
        draft = self._path.with_suffix(".new")
        try:
            with draft.open("w") as file:
                json.dump(asdict(state), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise PurseRefusal(PurseReason.UNREADABLE, error) from error
        self._state = state


def _lock(folder: Path, session: int) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / f"session-{session}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise PurseRefusal(PurseReason.UNREADABLE, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise PurseRefusal(PurseReason.LOCKED, folder) from error
    return handle
