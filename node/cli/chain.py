"""The chain as the commands see it: state, calls of one signer, blobs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.client.errors import BlobError
from node.client.outcome import Included
from node.client.rpc import NodeClient
from node.client.signing import KeyPair
from node.client.submission import Wait
from node.errors import NodeError
from runtime.construct import encode_call

Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Chain:
    """A connected node, and the account that signs; None for commands that only read."""

    client: NodeClient
    signer: KeyPair | None = None
    wait: Wait = "finalized"
    tip: int = 0

    @property
    def genesis(self) -> bytes:
        """The chain's genesis hash."""
        return self.client.genesis_hash

    async def height(self) -> int:
        """Read the number of the best block."""
        return (await self.client.best()).number

    async def storage(self, pallet: str, item: str, *keys: Any) -> Any:
        """Read an entry; its default, else None, where there is none."""
        return await self.client.storage(pallet, item, *keys)

    async def entries(
        self, pallet: str, item: str, *prefix: Any
    ) -> list[tuple[tuple[Any, ...], Any]]:
        """Read a map, or what it has under a first key: (keys, value), in the order of storage."""
        at = (await self.client.best()).hash()
        found = self.client.storage_items(pallet, item, *prefix, at=at)
        return [entry async for entry in found]

    async def call(self, pallet: str, name: str, event: str, /, **arguments: Any) -> Any:
        """Sign and send a call, wait for its block; returns the event of that name.

        Raises Refused, DispatchError, EncodeError or NodeError.
        """
        included = await self.send(encode_call(pallet, name, **arguments))
        return included.event(pallet, event)

    async def send(self, call: bytes) -> Included:
        """Sign and send an encoded call and wait for its block."""
        if self.signer is None:
            raise NodeError("this needs a key that signs: name it with --suri or --keystore")
        return await self.client.submit(call, self.signer, tip=self.tip, wait=self.wait)

    async def upload(self, blob: bytes, progress: Progress) -> None:
        """Hand a declared blob to the node; goes on where an earlier upload stopped."""
        await self.client.put_blob(blob, progress)

    async def download(self, blob_hash: bytes, progress: Progress) -> bytes | None:
        """Fetch a blob, checked against its hash; None where the node does not hold it."""
        with tempfile.TemporaryDirectory(prefix="openledger-") as folder:
            try:
                file = await self.client.get_blob(blob_hash, Path(folder) / "blob", progress)
            except BlobError:
                return None
            return file.read_bytes()
