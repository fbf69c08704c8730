"""Where a node keeps what, below its base path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ChainPaths:
    """The folders of one chain: `<base>/chains/<id>/...`."""

    folder: Path

    @classmethod
    def of(cls, base: Path, chain_id: str) -> ChainPaths:
        """Name the folders of a chain."""
        return cls(base / "chains" / chain_id)

    @property
    def database(self) -> Path:
        """Blocks and states; can be synced again."""
        return self.folder / "db"

    @property
    def blobs(self) -> Path:
        """Content-addressed blobs; can be fetched again."""
        return self.folder / "blobs"

    @property
    def keystore(self) -> Path:
        """Secrets; cannot be had again."""
        return self.folder / "keystore"

    @property
    def keystore_next(self) -> Path:
        """The consensus key that replaces the one in use, until it is moved into place."""
        return self.folder / "keystore-next"

    @property
    def consensus(self) -> Path:
        """The logs of what the consensus key signed; never to be restored from an old copy."""
        return self.folder / "consensus"

    @property
    def evidence(self) -> Path:
        """What was seen of validators that contradict themselves."""
        return self.folder / "evidence"

    @property
    def notes(self) -> Path:
        """What programs keep on this node through JSON-RPC."""
        return self.folder / "notes.json"

    @property
    def network(self) -> Path:
        """The peer identity, known addresses and bans."""
        return self.folder / "network"


def default_base_path() -> Path:
    """Return the folder for a user's data: `$XDG_DATA_HOME/openledger`."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "openledger"
