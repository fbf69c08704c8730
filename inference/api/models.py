"""Which models a server answers for: its base model, and adapters under names."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import trio

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.store import AdapterStore
from inference.api.errors import ApiReason, ApiRefused
from inference.log import Log
from runtime.primitives.errors import Refusal

_LOG = Log("models")
TOLD_AGAIN_SECONDS = 5.0
"""Whoever asks for an adapter that could not be had so shortly ago is told so at once."""
HASH = re.compile(r"0x[0-9a-f]{64}")
_NAME = re.compile(r"[^\s/\x00-\x1f][^\x00-\x1f]{0,127}")


class ModelList(Protocol):
    """Names models, and has their adapters ready when they are asked for."""

    async def listed(self) -> list[dict[str, Any]]:
        """Return the entries of `/v1/models`."""

    async def adapter(self, name: str) -> bytes | None:
        """Return the content hash of a model's adapter, None for the base model.

        Raises ApiRefused UNKNOWN_MODEL.
        """

    async def ready(self, content_hash: bytes) -> None:
        """Wait until an adapter is in the store; raises AdapterRefused or why it cannot be had."""


@dataclass(frozen=True, slots=True)
class NamedAdapter:
    """An adapter that is served under a name."""

    name: str
    content_hash: bytes
    source: str
    created: int = field(default_factory=lambda: int(time.time()))


class LocalModels:
    """The base model and the adapters that this server was given.

    With a network an adapter needs no name: `0x` and its content hash is one.
    """

    def __init__(
        self,
        base: str,
        store: AdapterStore,
        fetch: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        """`fetch` brings an adapter into the store by its hash; raises what keeps it away."""
        self.base = base
        self._store = store
        self._fetch = fetch
        self._under_way: dict[bytes, trio.Lock] = {}
        self._failed: dict[bytes, tuple[float, Refusal]] = {}
        self._named: dict[str, NamedAdapter] = {}
        self._since = int(time.time())

    @property
    def fetches(self) -> bool:
        """Whether an adapter that is not in the store can be had."""
        return self._fetch is not None

    @property
    def count(self) -> int:
        """Number of adapters with names."""
        return len(self._named)

    async def listed(self) -> list[dict[str, Any]]:
        """Return the entries of `/v1/models`, the base model first."""
        await trio.lowlevel.checkpoint()
        return [
            entry(self.base, self._since, "base"),
            *(self._entry(adapter) for adapter in self._named.values()),
        ]

    async def adapter(self, name: str) -> bytes | None:
        """Return the hash behind a name; raises UNKNOWN_MODEL."""
        await trio.lowlevel.checkpoint()
        if name == self.base:
            return None
        if name in self._named:
            return self._named[name].content_hash
        if HASH.fullmatch(name) and (self._fetch is not None or self._holds(name)):
            return bytes.fromhex(name[2:])
        raise ApiRefused(ApiReason.UNKNOWN_MODEL, f"the model {name!r} is not served", "model")

    def add(self, adapter: NamedAdapter, *, in_place: bool = False) -> None:
        """Serve an adapter that is in the store; raises as `check`.

        With `in_place` it takes the place of another one of its name.
        """
        self.check(adapter, in_place=in_place)
        if adapter.name not in self._named or in_place:
            self._store.pin(adapter.content_hash)
            replaced = self._named.get(adapter.name)
            self._named[adapter.name] = adapter
            if replaced is not None:
                self._store.unpin(replaced.content_hash)

    def check(self, adapter: NamedAdapter, *, in_place: bool = False) -> None:
        """Refuse a name that another model has (MODEL_EXISTS), or none can have (BAD_PARAMETER)."""
        check_name(adapter.name)
        known = self._named.get(adapter.name, adapter)
        taken = known.content_hash != adapter.content_hash and not in_place
        if adapter.name == self.base or taken:
            raise ApiRefused(
                ApiReason.MODEL_EXISTS,
                f"{adapter.name!r} is served already; unload it first",
                "lora_name",
            )

    def named(self, name: str) -> NamedAdapter:
        """Return the adapter of a name; raises UNKNOWN_MODEL."""
        if name not in self._named:
            raise ApiRefused(
                ApiReason.UNKNOWN_MODEL, f"no adapter is served as {name!r}", "lora_name"
            )
        return self._named[name]

    def remove(self, name: str) -> NamedAdapter:
        """Serve an adapter under this name no more; answers under way are finished.

        Raises UNKNOWN_MODEL.
        """
        found = self.named(name)
        del self._named[name]
        self._store.unpin(found.content_hash)
        return found

    async def ready(self, content_hash: bytes) -> None:
        """Have an adapter in the store, from the network if need be; each is fetched once.

        Raises AdapterRefused NOT_STORED where there is no network, and whatever `fetch` raises:
        the same again to all that ask within some seconds.
        """
        lock = self._under_way.setdefault(content_hash, trio.Lock())
        try:
            async with lock:
                if not await trio.to_thread.run_sync(self._store.__contains__, content_hash):
                    await self._bring(content_hash)
        finally:
            if not lock.statistics().tasks_waiting:
                self._under_way.pop(content_hash, None)

    async def _bring(self, content_hash: bytes) -> None:
        if self._fetch is None:
            raise AdapterRefused(
                AdapterReason.NOT_STORED, f"0x{content_hash.hex()} is not here, nor is a network"
            )
        now = trio.current_time()
        self._failed = {k: v for k, v in self._failed.items() if now < v[0] + TOLD_AGAIN_SECONDS}
        if content_hash in self._failed:
            raise self._failed[content_hash][1]
        started = trio.current_time()
        try:
            await self._fetch(content_hash)
        except Refusal as refusal:
            self._failed[content_hash] = trio.current_time(), refusal
            _LOG.warning("adapter not fetched", hash=content_hash, cause=refusal)
            raise
        _LOG.info("adapter fetched", hash=content_hash, seconds=trio.current_time() - started)

    def _holds(self, name: str) -> bool:
        return bytes.fromhex(name[2:]) in self._store

    def _entry(self, adapter: NamedAdapter) -> dict[str, Any]:
        return entry(adapter.name, adapter.created, adapter.source) | {
            "root": f"0x{adapter.content_hash.hex()}",
            "parent": self.base,
        }


def entry(name: str, created: int, owner: str) -> dict[str, Any]:
    """Return a model as OpenAI lists it."""
    return {"id": name, "object": "model", "created": created, "owned_by": owner}


def check_name(name: str) -> None:
    """Refuse names that no request could use."""
    if not _NAME.fullmatch(name) or HASH.fullmatch(name):
        raise ApiRefused(
            ApiReason.BAD_PARAMETER,
            "lora_name: 1 to 128 characters, no slash or space first, no hash",
            "lora_name",
        )
