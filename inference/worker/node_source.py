"""Adapters of launched models through a node, which asks its peers for what it lacks."""

from __future__ import annotations

import trio

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.worker.archive import unpack
from inference.worker.artifact import ADAPTER
from inference.worker.failures import told
from inference.worker.node_view import NodeView
from node.client.rpc import NodeClient
from runtime.pallets.models.types import Artifact, Stage


class NodeSource:
    """A source of an `AdapterStore`: blocks the thread that calls it, with a loop of its own."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, content_hash: bytes) -> bytes:
        """Return an adapter's image out of its artifact; raises AdapterRefused NOT_FETCHED."""
        try:
            return trio.run(self._fetch, content_hash)
        except Exception as error:
            text = told(error) or f"{type(error).__name__} {error}"
            raise AdapterRefused(AdapterReason.NOT_FETCHED, f"{self._url}: {text}") from error

    async def _fetch(self, content_hash: bytes) -> bytes:
        async with NodeClient.connect(self._url) as client:
            view = NodeView(client)
            artifact = await self._declared(view, content_hash)
            blob = await view.blob(artifact.manifest)
        _, files = unpack(blob, artifact.manifest)
        return files[ADAPTER]

    async def _declared(self, view: NodeView, content_hash: bytes) -> Artifact:
        for _, model in await view.items("Models", "Models"):
            found: Artifact | None = model.artifact
            if found is None or model.stage < Stage.LAUNCHED:
                continue
            if found.roots.model == content_hash:
                return found
        raise AdapterRefused(
            AdapterReason.NOT_STORED, f"no launched model has the adapter 0x{content_hash.hex()}"
        )
