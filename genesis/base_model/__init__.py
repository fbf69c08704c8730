"""The embedded base model: a small Llama that every development chain knows."""

from __future__ import annotations

import functools
from hashlib import blake2b
from pathlib import Path

OPEN_NANO = Path(__file__).parent / "open-nano"
FILES = ("config.json", "model.safetensors", "tokenizer.json")


@functools.cache
def folder_manifest(folder: Path) -> bytes:
    """Return what names a base model on chain: blake2b-256 over its files' names and hashes."""
    digest = blake2b(b"openledger-base-v1", digest_size=32)
    for name in FILES:
        content = blake2b((folder / name).read_bytes(), digest_size=32).digest()
        digest.update(name.encode() + b"\x00" + content)
    return digest.digest()


def open_nano_manifest() -> bytes:
    """Return the manifest hash of the embedded model."""
    return folder_manifest(OPEN_NANO)
