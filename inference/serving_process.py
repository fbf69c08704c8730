"""What a process that serves asks of Python, so that no stream stands still."""

from __future__ import annotations

import gc
import sys

SWITCH_SECONDS = 0.0005
"""After which a busy thread lets another run; with Python's 5 ms first tokens come late."""


def settle() -> None:
    """Switch threads often; collect once more, and never again look at what is loaded by now.

    A full collection visits a quarter of a million objects, most of them torch's, while every
    stream stands still for a fifth of a second.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
