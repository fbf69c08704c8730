"""Write a file so that its name never shows a part of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, parts: Iterable[bytes | memoryview], *, sync: bool) -> None:
    """Write to a name beside, then rename; raises OSError and leaves nothing new."""
    partial = path.with_name(f"{path.name}.{threading.get_ident()}.part")
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
