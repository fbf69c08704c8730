"""A simulated node with the real signing gate and real log files, torn where a crash strikes."""

from __future__ import annotations

from pathlib import Path

from consensus.core import actions as act
from consensus.core import events as ev
from consensus.core.pace import Pace
from consensus.core.votes import Subject
from consensus.engine.folder import LogFolder
from consensus.engine.gate import SigningGate
from consensus.engine.refusals import SigningRefused
from tests.simulation.crypto import RealKey
from tests.simulation.disk import EpochLog
from tests.simulation.node import Hardware, Node
from tests.simulation.world import World


class GatedNode(Node):
    """What a validator signs goes through the engine's gate; its logs are files."""

    def __init__(
        self, world: World, index: int, key: RealKey, pace: Pace, hardware: Hardware, path: Path
    ) -> None:
        super().__init__(world, index, key, pace, hardware)
        self._path = path
        self._session = key.session
        self._signed: list[Subject] = []
        self._gate: SigningGate
        self._folder: LogFolder
        self.torn = 0

    # --- life -----------------------------------------------------------------------------

    def start(self, *, init_log: bool = False, listen: int | None = None) -> None:
        if self.alive:
            return
        self._gate = SigningGate(self._session, self.domain)
        self._folder = LogFolder.open(self._path, self.domain, init_log=init_log)
        epoch, final = self.ledger.start()
        try:
            opened = self._folder.enter(epoch, None, live=False)
            self._gate.enter(opened, final.view)
            self.logs = {epoch.number: EpochLog(opened.records)}
            self._read()
        except SigningRefused:
            self.logs = {}
        super().start(listen=listen)

    def crash(self) -> None:
        if not self.alive:
            return
        waiting = {e: b"".join(b.log._buffer) for e, b in self._gate._books.items()}
        self._gate.close()
        self._folder.close()
        for epoch, data in waiting.items():
            left = data[: self.rng.randint(0, len(data))]
            self.torn += bool(left)
            with self._folder.log_path(epoch).open("ab") as file:
                file.write(left)
        self._signed.clear()
        super().crash()

    # --- the disk -------------------------------------------------------------------------

    def _log(self, action: act.Log) -> None:
        self._gate.log(action.epoch, action.record)

    def _cast(self, action: act.Cast) -> None:
        try:
            vote = self._gate.sign(action.subject)
        except SigningRefused as refused:
            self.refuse(action.subject, str(refused))
            self._inbox.append(ev.VoteRefused(action.subject))
            return
        self._signed.append(action.subject)
        self._inbox.append(ev.VoteSigned(vote))

    def _sync(self) -> None:
        if not self._gate.dirty:
            return
        self._gate.sync()
        self._note_signed()

    def _note_signed(self) -> None:
        for subject in self._signed:
            self._votes_on_disk.add((subject.epoch, subject))
            self.world.oracle.signed(self._session.public, subject)
        self._signed.clear()

    # --- epochs ---------------------------------------------------------------------------

    def _opened(self, action: act.OpenEpoch) -> ev.Event:
        number = action.epoch.number
        try:
            opened = self._folder.enter(action.epoch, action.boundary, live=action.live)
            self._gate.enter(opened)
        except SigningRefused:
            self._gate.pass_over(number)
            return ev.EpochReady(number, False)
        self.signing.add(number)
        self.logs[number] = EpochLog()
        return ev.EpochReady(number, True)

    def _close_epoch(self, action: act.CloseEpoch) -> None:
        super()._close_epoch(action)
        self._gate.leave(action.epoch)
        self._folder.delete(action.epoch)

    def _stored(self, action: act.Finalize) -> ev.Event:
        event = super()._stored(action)
        if action.certificate is not None:
            self._gate.compact(action.certificate)
            self._note_signed()
        return event

    def _stop_signing(self, action: act.StopSigning) -> None:
        super()._stop_signing(action)
        self._gate.stop(action.epoch, action.detail)

    def _settle(self, log: EpochLog, first: int) -> None:
        """The files tell; a vote that a crash left in them was signed."""

    def _read(self) -> None:
        """Tell the oracle of the votes that the files hold."""
        for log in self.logs.values():
            for vote in log.votes():
                self._votes_on_disk.add((vote.epoch, vote.subject()))
                self.world.oracle.signed(self._session.public, vote.subject())
