"""A folder of one process on its machine, removed with it, or by the next one if it was killed."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "openledger-replica-"
_LOCK = "lock"


@contextmanager
def node_folder(parent: Path | None = None) -> Iterator[Path]:
    """Own a fresh folder for the length of a block.

    Whose owner holds no lock any more is left over from a process that was killed, and removed.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
    with (folder / _LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in where.glob(f"{PREFIX}*"):
            if other != folder:
                _remove_if_left(other)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    try:
        with (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        # Another's, in use, or just being made.
        return
