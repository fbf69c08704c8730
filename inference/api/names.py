"""The names that adapters were given while the server ran, in a file for its next start."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.whole_file import write_whole
from inference.api.models import HASH, NamedAdapter

NAMES = "names.json"
"""Of the file, in the folder of the store."""
_LOCK = "names.lock"


@contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Keep other servers, whose names would replace these, from a folder; raises AdapterRefused."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AdapterRefused(
                AdapterReason.IN_USE,
                f"another server keeps its adapters in {folder}: give each a --store of its own",
            ) from None
        yield


class _Named(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    hash: str = Field(pattern=f"^{HASH.pattern}$")
    source: str
    created: int


class _Names(RootModel[dict[str, _Named]]):
    pass


class NamesFile:
    """A file of names; a write replaces it whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[NamedAdapter]:
        """Return the adapters, none if there is no file; raises AdapterRefused UNREADABLE."""
        try:
            names = _Names.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValidationError) as error:
            cause = error if isinstance(error, OSError) else error.errors()[0]["msg"]
            raise AdapterRefused(
                AdapterReason.UNREADABLE,
                f"{self._path} holds no names of adapters ({cause}): mend it, or delete it and "
                "load them again",
            ) from None
        return [
            NamedAdapter(name, bytes.fromhex(entry.hash[2:]), entry.source, entry.created)
            for name, entry in names.root.items()
        ]

    def write(self, adapters: Iterable[NamedAdapter]) -> None:
        """Keep these in place of what the file held; raises OSError and keeps that."""
        names = {
            adapter.name: {
                "hash": f"0x{adapter.content_hash.hex()}",
                "source": adapter.source,
                "created": adapter.created,
            }
            for adapter in adapters
        }
        write_whole(self._path, (json.dumps(names, indent=1).encode(),), sync=True)
