"""A process of a local network: started on a leash, looked after, stopped in order."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

TAIL_BYTES = 16 << 10


@dataclass(slots=True)
class Child:
    """One program and its log; it does not outlive the process that started it."""

    name: str
    command: Sequence[str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, again where it has ended; its log goes on."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                list(self.command),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """How it ended, negative for a signal; None while it runs, or before."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process; nothing where it has ended."""
        if self.alive and self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Ask it to stop in order."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would, and wait for that."""
        if self._process is not None:
            self._process.kill()
            self.wait(None)

    def wait(self, seconds: float | None) -> int | None:
        """Wait until it has ended; returns its status, None where it still runs."""
        if self._process is None:
            return None
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        if self._process.stdin is not None:
            self._process.stdin.close()
        return status

    def last_line(self) -> str:
        """Return the last line of its log that says something."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
