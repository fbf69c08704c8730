"""The folder with the logs of this key: one process has it, one file per epoch."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from consensus.core.records import EpochOpened, Record
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, VoteDomain
from consensus.engine.refusals import LogDamaged, SigningReason, SigningRefused
from consensus.engine.wal import EpochLog, sync_folder

LOCK = "lock"


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """A log that may be signed with, what it held, and whether it was made just now."""

    log: EpochLog
    records: tuple[Record, ...]
    fresh: bool


class LogFolder:
    """The folder `consensus/` of a validator; locked while it is open."""

    def __init__(self, path: Path, domain: VoteDomain, lock: int, *, init_log: bool) -> None:
        self.path = path
        self._domain = domain
        self._lock = lock
        self._init_log = init_log

    @classmethod
    def open(cls, path: Path, domain: VoteDomain, *, init_log: bool = False) -> LogFolder:
        """Lock the folder, made if it is absent; raises SigningRefused (IN_USE).

        init_log: this key never signed on this chain, so epoch 0 may begin with a new log.
        """
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            detail = f"another process signs with the logs in {path}; stop it first"
            raise SigningRefused(SigningReason.IN_USE, detail) from error
        except BaseException:
            os.close(lock)
            raise
        return cls(path, domain, lock, init_log=init_log)

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def log_path(self, epoch: int) -> Path:
        """Return where the log of an epoch is."""
        return self.path / f"epoch-{epoch}.log"

    def epochs(self) -> list[int]:
        """List the epochs that have a log, ascending."""
        names = (path.stem.removeprefix("epoch-") for path in self.path.glob("epoch-*.log"))
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def enter(self, epoch: Epoch, boundary: Certificate | None, *, live: bool) -> OpenedLog:
        """Open the log of an epoch, or make it where that cannot contradict anything.

        live: see `OpenEpoch`. Raises SigningRefused (NO_LOG, DAMAGED, OTHER_CHAIN, OTHER_FORK,
        OTHER_EPOCH), LogFailed.
        """
        path = self.log_path(epoch.number)
        opened = self._opened(epoch, boundary)
        if path.exists():
            log, records = EpochLog.open(path)
            try:
                _check_opened(path, records[0], opened)
            except SigningRefused:
                log.close()
                raise
            return OpenedLog(log, records, fresh=False)
        if not self._may_make(epoch.number, live=live):
            raise SigningRefused(SigningReason.NO_LOG, self._advice(epoch.number))
        return OpenedLog(EpochLog.make(path, opened), (opened,), fresh=True)

    def delete(self, epoch: int) -> None:
        """Delete the logs of an epoch that is over for good, and of those before it."""
        for old in self.epochs():
            if old <= epoch:
                self.log_path(old).unlink(missing_ok=True)
        sync_folder(self.path)

    def _opened(self, epoch: Epoch, boundary: Certificate | None) -> EpochOpened:
        return EpochOpened(
            self._domain.genesis_hash,
            self._domain.fork_id,
            epoch.number,
            epoch.validators.members,
            epoch.seed,
            epoch.start_hash,
            epoch.start_number,
            boundary,
        )

    def _may_make(self, epoch: int, *, live: bool) -> bool:
        if any(other > epoch for other in self.epochs()):
            return False
        return live or (epoch == 0 and self._init_log)

    def _advice(self, epoch: int) -> str:
        path = self.log_path(epoch)
        if epoch == 0:
            advice = "if this key never signed on this chain, start once with --init-log"
        else:
            advice = "it takes part again from the next epoch on"
        return f"there is no log at {path}, so this validator only observes epoch {epoch}; {advice}"


def _check_opened(path: Path, found: Record, expected: EpochOpened) -> None:
    """Raise SigningRefused where the log is not of this chain, fork and epoch."""
    if not isinstance(found, EpochOpened):
        raise LogDamaged(f"{path} does not say which epoch it is of")
    if found.genesis_hash != expected.genesis_hash:
        detail = f"{path} is of the chain 0x{found.genesis_hash.hex()}"
        raise SigningRefused(SigningReason.OTHER_CHAIN, detail)
    if found.fork_id != expected.fork_id:
        detail = f"{path} is of fork {found.fork_id}, the chain is on {expected.fork_id}"
        raise SigningRefused(SigningReason.OTHER_FORK, detail)
    if _epoch_facts(found) != _epoch_facts(expected):
        detail = f"{path} is of another epoch {found.epoch} than the chain's {expected.epoch}"
        raise SigningRefused(SigningReason.OTHER_EPOCH, detail)


def _epoch_facts(opened: EpochOpened) -> tuple[object, ...]:
    return (
        opened.epoch,
        opened.authorities,
        opened.seed,
        opened.start_hash,
        opened.start_number,
    )
