"""Write a file so that its name never shows a part of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_ABANDONED_SECONDS = 3600


def write_whole(path: Path, parts: Iterable[bytes | memoryview], *, sync: bool) -> None:
    """Write to a name beside, then rename; raises OSError and leaves nothing new."""
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with partial.open("wb") as file:
            file.writelines(parts)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> int:
    """Delete what writers left that were killed an hour ago or earlier; return how many files."""
    swept = 0
    for partial in folder.glob("*.part"):
        with suppress(OSError):  # a process beside this one sweeps, too
            if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
                partial.unlink()
                swept += 1
    return swept
