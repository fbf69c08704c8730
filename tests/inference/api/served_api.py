"""A server over real HTTP in this process, and clients of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from inference.adapters.peft import save_peft
from inference.adapters.store import AdapterStore
from inference.api.keys import KeyFile
from inference.api.server import Server, ServerConfig, running
from inference.backbone.model import Backbone
from tests.inference.tiny_models import tiny_adapter

KEYS = {"alice": "sk-of-alice-1", "bob": "sk-of-bob-22", "ops": "sk-of-the-operator"}
LINES = f"alice:{KEYS['alice']}\nbob:{KEYS['bob']}\nops:{KEYS['ops']} admin\n"


@dataclass
class Api:
    """A running server; its clients carry the keys of the tenants."""

    server: Server
    folder: Path
    client: httpx.AsyncClient

    async def post(self, path: str, tenant: str | None = "alice", **fields: Any) -> httpx.Response:
        return await self.client.post(f"/v1/{path}", json=fields, headers=bearer(tenant))

    async def complete(self, tenant: str = "alice", **fields: Any) -> dict[str, Any]:
        given = {"model": "tiny", "prompt": "abc", "max_tokens": 8, "seed": 1} | fields
        reply = await self.post("completions", tenant, **given)
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer


def bearer(tenant: str | None) -> dict[str, str]:
    return {} if tenant is None else {"authorization": f"Bearer {KEYS[tenant]}"}


@asynccontextmanager
async def served(
    backbone: Backbone, folder: Path, *, fetch: Any = None, **config: Any
) -> AsyncIterator[Api]:
    """Serve a tiny model with the adapters `red` and `green`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "keys").write_text(LINES)
    adapters = folder / "adapters"
    for seed, name in enumerate(("red", "green"), 5):
        save_peft(tiny_adapter(backbone, seed=seed), adapters / name, "tiny")
    store = AdapterStore(folder / "store", backbone, fetch=fetch)
    given = ServerConfig(bind="127.0.0.1:0", base_name="tiny", folders=[adapters], **config)
    server = Server(backbone, store, KeyFile(folder / "keys"), given, fetches=fetch is not None)
    for name in ("red", "green"):
        server.loader.add_folder(name, adapters / name)
    server.loader.restore()
    async with (
        running(server),
        httpx.AsyncClient(base_url=server.address, timeout=300) as client,
    ):
        yield Api(server, folder, client)
        await server.drain()


def events(text: str) -> list[str]:
    """Return the data of a stream's events."""
    blocks = text.strip().split("\n\n")
    return [block.removeprefix("data: ") for block in blocks if block.startswith("data: ")]


def chunks(text: str) -> list[dict[str, Any]]:
    """Return a stream's JSON documents; it has to end in order."""
    told = events(text)
    assert told[-1] == "[DONE]"
    return [json.loads(data) for data in told[:-1]]
