"""The demo's processes: started, watched, started again when they die, stopped in the end."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

PATIENCE = 15.0
"""Seconds from SIGTERM to SIGKILL."""
MOST_RESTARTS = 20
PAUSE = 0.3
TAIL_LINES = 15


class ProcessFailed(Exception):
    """A process ended by itself and cannot be kept alive; the text ends with its last lines."""


@dataclass(slots=True)
class Process:
    """One program with its log; `keep_alive` runs it until cancelled."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] | None = None
    starts: int = field(default=0, init=False)
    _running: trio.Process | None = field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return None if self._running is None else self._running.pid

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, without warning; `keep_alive` starts it again."""
        if self._running is not None:
            self._running.send_signal(signal.SIGKILL)

    async def keep_alive(self) -> None:
        """Run the program, again after each death; stop it in order when cancelled.

        Raises ProcessFailed where it exits by itself with an error, or dies too often.
        """
        while True:
            status = await self.run_once()
            if status >= 0 or self.starts > MOST_RESTARTS:
                raise ProcessFailed(
                    f"{self.name} ended with status {status}; its log is {self.log}:\n{self.tail()}"
                )
            await trio.sleep(PAUSE)

    async def run_once(self) -> int:
        """Run it once; returns the exit status, negative for a signal."""
        with self.log.open("ab") as log:
            self._running = await trio.lowlevel.open_process(
                list(self.command),
                stdin=subprocess.PIPE,  # closed when this process ends: what is on a leash stops
                stdout=log,
                stderr=log,
                env=self.environment,
            )
        self.starts += 1
        try:
            return await self._running.wait()
        finally:
            await self._stop(self._running)
            if self._running.stdin is not None:
                with trio.CancelScope(shield=True):
                    await self._running.stdin.aclose()
            self._running = None

    async def _stop(self, process: trio.Process) -> None:
        if process.returncode is not None:
            return
        with trio.CancelScope(shield=True):
            process.send_signal(signal.SIGTERM)
            with trio.move_on_after(PATIENCE) as patience:
                await process.wait()
            if patience.cancelled_caught:
                process.kill()
                await process.wait()

    def tail(self) -> str:
        """Return the log's last lines."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-TAIL_LINES:])


async def run_to_end(
    name: str,
    command: Sequence[str],
    log: Path,
    tell: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program once; `tell` hears each new last line of its log.

    Raises ProcessFailed unless it succeeds.
    """
    process = Process(name, command, log, environment)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell_last_lines, process, tell)
        status = await process.run_once()
        nursery.cancel_scope.cancel()
    if status != 0:
        raise ProcessFailed(f"{name} ended with status {status}:\n{process.tail()}")


async def _tell_last_lines(process: Process, tell: Callable[[str], None]) -> None:
    known = ""
    while True:
        await trio.sleep(1.0)
        last = process.tail().rpartition("\n")[2]
        if last and last != known:
            known = last
            tell(last)
