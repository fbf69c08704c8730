"""`python -m node.localnet.leash COMMAND ...`: `openledger COMMAND ...` until stdin is closed.

Whoever started it holds the other end of a pipe. When that process is gone, however it ended, the
pipe closes, and the command stops in order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from node.cli.main import main

STDIN = 0
PATIENCE = 15.0
"""Seconds to stop in order."""


def leashed(*arguments: str) -> list[str]:
    """Return the command line that runs `openledger` on a leash."""
    return [sys.executable, "-m", "node.localnet.leash", *arguments]


def watch() -> None:
    """Read until stdin ends; then stop this process, by force where it does not listen."""
    while os.read(STDIN, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=watch, name="leash", daemon=True).start()
    sys.exit(main(sys.argv[1:]))
