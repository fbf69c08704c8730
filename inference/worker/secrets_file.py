"""Where a command's key comes from: an option, standard input, or a file that it keeps."""

from __future__ import annotations

import os
import stat
import sys
from enum import Enum
from pathlib import Path

from inference.log import Log
from node.client.signing import KeyPair, from_uri, generate
from runtime.primitives.errors import Refusal

_LOG = Log("worker")


class KeyReason(Enum):
    """Why there is no key."""

    EMPTY = "no secret was given: name one with --key-uri"
    EXPOSED = "others can read the key file: chmod 600 it"
    UNREADABLE = "the key file cannot be read"


class KeyRefused(Refusal):
    """No key to sign with."""

    def __init__(self, reason: KeyReason, detail: str = "") -> None:
        super().__init__(reason, f"{detail}: {reason.value}" if detail else reason.value)
        self.reason: KeyReason = reason


def key_from_option(uri: str) -> KeyPair:
    """Return the key of a secret URI, ``-`` reads it from standard input; raises Refusal."""
    text = sys.stdin.readline().strip() if uri == "-" else uri
    if not text:
        raise KeyRefused(KeyReason.EMPTY)
    return from_uri(text)


def key_from_file(path: Path) -> KeyPair:
    """Return the key whose secret a file holds; one that does not exist is made, mode 600."""
    try:
        if not path.exists():
            return _make(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyRefused(KeyReason.EXPOSED, str(path))
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyRefused(KeyReason.UNREADABLE, f"{path}: {error}") from error
    if not text:
        raise KeyRefused(KeyReason.EMPTY, str(path))
    return from_uri(text)


def _make(path: Path) -> KeyPair:
    path.parent.mkdir(parents=True, exist_ok=True)
    phrase, key = generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(phrase + "\n")
        file.flush()
        os.fsync(file.fileno())
    _LOG.info("key made", file=path, key=key.account_id)
    return key
