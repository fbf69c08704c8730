"""The node's network key: who it is to its peers; it moves no funds and casts no votes."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SEED_BYTES = 32


def load_or_make_key(path: Path) -> bytes:
    """Return the 32 bytes of the ed25519 seed, made at the first start, readable by its owner only.

    Raises ValueError for a file of another size, OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        seed = path.read_bytes()
        if len(seed) != SEED_BYTES:
            raise ValueError(
                f"{path} has {len(seed)} bytes, not {SEED_BYTES}; restore it, or remove it to "
                "get a new identity"
            ) from None
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return seed
    seed = secrets.token_bytes(SEED_BYTES)
    with os.fdopen(descriptor, "wb") as file:
        file.write(seed)
        file.flush()
        os.fsync(file.fileno())
    return seed
