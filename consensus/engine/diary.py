"""The folder of logs and the gate as the driver uses them: open, append, sync, compact, close.

Everything that touches the disk runs in one thread at a time, off the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import trio

from consensus.core.actions import OpenEpoch
from consensus.core.events import VoteRefused, VoteSigned
from consensus.core.records import Record
from consensus.core.validators import Epoch
from consensus.core.votes import Certificate, Subject
from consensus.engine.folder import LogFolder
from consensus.engine.gate import SigningGate
from consensus.engine.refusals import SigningRefused
from consensus.engine.work import Tell

COMPACT_BYTES = 64 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entered:
    """How an epoch was entered; suspicious: the key may have signed before, here or elsewhere."""

    records: tuple[Record, ...]
    signing: bool
    suspicious: bool


class Diary:
    """Without a gate (a node that only follows) it keeps nothing and signs nothing."""

    def __init__(
        self,
        gate: SigningGate | None,
        folder: LogFolder | None,
        tell: Tell,
        compact_bytes: int = COMPACT_BYTES,
    ) -> None:
        if (gate is None) != (folder is None):
            raise ValueError("a key and the folder of its logs belong together")
        self._gate = gate
        self._folder = folder
        self._tell = tell
        self._limit = self._compact_bytes = compact_bytes
        self._disk = trio.CapacityLimiter(1)
        self._public: bytes | None = None

    async def start(self, epoch: Epoch, final_view: int) -> Entered:
        """Enter the epoch that the process starts in; `final_view` is the last final one in it."""
        return await self._enter(epoch, None, live=False, final_view=final_view)

    async def open(self, action: OpenEpoch) -> Entered:
        """Enter the next epoch."""
        return await self._enter(action.epoch, action.boundary, live=action.live)

    async def _enter(
        self,
        epoch: Epoch,
        boundary: Certificate | None,
        *,
        live: bool,
        final_view: int | None = None,
    ) -> Entered:
        gate, folder = self._gate, self._folder
        outside = Entered((), signing=False, suspicious=False)
        if gate is None or folder is None:
            return outside
        gate.pass_over(epoch.number)
        if epoch.validators.position_among(gate.publics) is None:
            return outside
        at_start = final_view == 0
        try:
            opened = await trio.to_thread.run_sync(
                lambda: folder.enter(epoch, boundary, live=live),
                limiter=self._disk,
            )
            gate.enter(opened, final_view or 0)
        except SigningRefused as refusal:
            fields: dict[str, object] = {"epoch": epoch.number, "reason": refusal.reason.name}
            self._tell("this validator only observes", fields | {"detail": refusal.detail})
            return outside
        self._tell_key(gate.public(epoch.number), epoch.number)
        self._limit = self._compact_bytes
        first_start = epoch.number == 0 and at_start
        suspicious = not opened.fresh or not first_start
        return Entered(opened.records, signing=True, suspicious=suspicious)

    def _tell_key(self, public: bytes, epoch: int) -> None:
        """Say when another key of this validator begins to sign."""
        if self._public is not None and public != self._public:
            self._tell("signing with a new key from now on", {"epoch": epoch, "key": public})
        self._public = public

    def log(self, epoch: int, record: Record) -> None:
        """Append a record, on the disk after `sync`; raises LogFailed."""
        if self._gate is not None:
            self._gate.log(epoch, record)

    def cast(self, subject: Subject) -> VoteSigned | VoteRefused:
        """Sign and log a vote; raises LogFailed."""
        if self._gate is None:
            return VoteRefused(subject)
        try:
            return VoteSigned(self._gate.sign(subject))
        except SigningRefused as refusal:
            self._tell(
                "vote refused",
                {
                    "kind": subject.kind.name,
                    "epoch": subject.epoch,
                    "view": subject.view,
                    "reason": refusal.reason.name,
                    "detail": refusal.detail,
                },
            )
            return VoteRefused(subject)

    async def sync(self) -> None:
        """Return once all that was appended is on the disk; raises LogFailed."""
        if self._gate is not None and self._gate.dirty:
            await trio.to_thread.run_sync(self._gate.sync, limiter=self._disk)

    async def compact(self, final: Certificate) -> None:
        """Shorten the log where it is long; the block of `final` is on the disk."""
        gate = self._gate
        if gate is None or gate.size(final.epoch) <= self._limit:
            return
        await trio.to_thread.run_sync(lambda: gate.compact(final), limiter=self._disk)
        self._limit = max(self._compact_bytes, 2 * gate.size(final.epoch))

    def stop(self, epoch: int, detail: str) -> None:
        """Sign nothing in an epoch from now on, and say so once."""
        if self._gate is not None and self._gate.signs_in(epoch):
            self._gate.stop(epoch, detail)
            fields: dict[str, object] = {"epoch": epoch, "detail": detail}
            self._tell("signing stopped: something else may sign with this key", fields)

    async def delete(self, epoch: int) -> None:
        """Delete the logs of an epoch that is over for good, and of those before it."""
        gate, folder = self._gate, self._folder
        if gate is not None and folder is not None:
            gate.leave(epoch)
            await trio.to_thread.run_sync(folder.delete, epoch, limiter=self._disk)

    def close(self) -> None:
        """Close the logs, and let another process have the folder."""
        if self._gate is not None and self._folder is not None:
            self._gate.close()
            self._folder.close()
