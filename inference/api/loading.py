"""Loading and unloading adapters while the server runs, with the names that vLLM gave them."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio
from pydantic import BaseModel, ConfigDict

from inference.adapters.adapter import LoraAdapter
from inference.adapters.errors import AdapterRefused
from inference.adapters.peft import CONFIG, TENSORS, load_peft
from inference.adapters.store import AdapterStore
from inference.api.bodies import read_object, validated
from inference.api.errors import ApiReason, ApiRefused
from inference.api.models import HASH, LocalModels, NamedAdapter, check_name
from inference.backbone.model import Backbone
from inference.log import Log

_LOG = Log("models")
MAX_UPLOAD = 512 << 20
_SOURCES = ("lora_path", "lora_hash", "lora_config")


class _Load(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    lora_name: str
    lora_path: str | None = None
    lora_hash: str | None = None
    lora_config: dict[str, Any] | None = None
    lora_tensors: str | None = None
    lora_int_id: int | None = None
    load_inplace: bool = False


class _Unload(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    lora_name: str
    lora_int_id: int | None = None


def _read_load(raw: bytes) -> _Load:
    """Read a body that may be large."""
    return validated(_Load, read_object(raw, MAX_UPLOAD))


class Loader:
    """Brings adapters into the store and gives them names.

    Folders are read below `folders` alone, whoever asks.
    """

    def __init__(
        self,
        backbone: Backbone,
        store: AdapterStore,
        models: LocalModels,
        folders: Sequence[Path] = (),
    ) -> None:
        self._backbone = backbone
        self._store = store
        self._models = models
        self._folders = tuple(folder.resolve() for folder in folders)
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def load(self, raw: bytes) -> NamedAdapter:
        """Serve an adapter: of a folder, by its hash, or sent along; raises ApiRefused."""
        asked = await trio.to_thread.run_sync(_read_load, raw)
        given = [name for name in _SOURCES if getattr(asked, name) is not None]
        if len(given) != 1:
            raise ApiRefused(
                ApiReason.BAD_PARAMETER, f"give one of {', '.join(_SOURCES)}", "lora_path"
            )
        check_name(asked.lora_name)
        if asked.lora_hash is not None:
            content_hash = await self._by_hash(asked.lora_hash)
        else:
            try:
                content_hash = await trio.to_thread.run_sync(
                    self._read, asked, limiter=self._one_at_a_time
                )
            except AdapterRefused as refusal:
                name = refusal.reason.name.lower()
                text = f"{name}: {refusal.detail}"
                raise ApiRefused(ApiReason.BAD_ADAPTER, text, given[0]) from refusal
        if asked.load_inplace:
            self._forget(asked.lora_name)
        adapter = NamedAdapter(asked.lora_name, content_hash, given[0].removeprefix("lora_"))
        self._models.add(adapter)
        _LOG.info("adapter loaded", name=adapter.name, hash=content_hash, source=adapter.source)
        return adapter

    async def unload(self, raw: bytes) -> NamedAdapter:
        """Serve an adapter no more; raises ApiRefused UNKNOWN_MODEL."""
        await trio.lowlevel.checkpoint()
        asked = validated(_Unload, read_object(raw))
        removed = self._models.remove(asked.lora_name)
        _LOG.info("adapter unloaded", name=removed.name, hash=removed.content_hash)
        return removed

    def add_folder(self, name: str, folder: Path) -> NamedAdapter:
        """Serve a folder's adapter; raises AdapterRefused, ApiRefused."""
        content_hash = self._store.put(load_peft(folder, self._backbone))
        adapter = NamedAdapter(name, content_hash, "path")
        self._models.add(adapter)
        return adapter

    def _forget(self, name: str) -> None:
        try:
            self._models.remove(name)
        except ApiRefused as refusal:
            if refusal.reason is not ApiReason.UNKNOWN_MODEL:
                raise

    async def _by_hash(self, text: str) -> bytes:
        named = text if text.startswith("0x") else f"0x{text}"
        if not HASH.fullmatch(named):
            raise ApiRefused(
                ApiReason.BAD_PARAMETER, "lora_hash: 0x and 64 hex digits", "lora_hash"
            )
        content_hash = bytes.fromhex(named[2:])
        await self._models.ready(content_hash)
        return content_hash

    def _read(self, asked: _Load) -> bytes:
        if asked.lora_path is not None:
            return self._store.put(load_peft(self._folder(asked.lora_path), self._backbone))
        return self._store.put(self._sent(asked.lora_config or {}, asked.lora_tensors or ""))

    def _sent(self, config: dict[str, Any], tensors: str) -> LoraAdapter:
        """Read what PEFT keeps in two files."""
        try:
            data = base64.b64decode(tensors, validate=True)
        except ValueError as error:
            raise ApiRefused(
                ApiReason.BAD_PARAMETER, f"lora_tensors: {error}", "lora_tensors"
            ) from None
        with tempfile.TemporaryDirectory(prefix="openledger-") as name:
            folder = Path(name)
            (folder / CONFIG).write_text(json.dumps(config), "utf-8")
            (folder / TENSORS).write_bytes(data)
            return load_peft(folder, self._backbone)

    def _folder(self, text: str) -> Path:
        """Find a folder below those that may be read; a relative path is below the first."""
        try:
            wanted = ((self._folders or (Path.cwd(),))[0] / text).resolve()
        except (OSError, ValueError, RuntimeError):
            wanted = Path("/")
        if not any(wanted.is_relative_to(folder) for folder in self._folders):
            raise ApiRefused(
                ApiReason.BAD_PARAMETER,
                "lora_path: only folders below those given with --adapters are read",
                "lora_path",
            )
        return wanted
