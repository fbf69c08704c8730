"""Loading and unloading adapters while the server runs, with the names that vLLM gave them."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import trio
from pydantic import BaseModel, ConfigDict

from inference.adapters.adapter import LoraAdapter
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.peft import CONFIG, TENSORS, load_peft
from inference.adapters.store import AdapterStore
from inference.api.bodies import read_object, validated
from inference.api.errors import ApiReason, ApiRefused
from inference.api.models import HASH, LocalModels, NamedAdapter, check_name
from inference.api.names import NamesFile
from inference.backbone.model import Backbone
from inference.log import Log
from runtime.primitives.errors import Refusal

_LOG = Log("models")
MAX_UPLOAD = 512 << 20
_Given = TypeVar("_Given")
_Result = TypeVar("_Result")
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


async def _in_thread(function: Callable[[_Given], _Result], given: _Given) -> _Result:
    """Call in a thread; a refusal lets go of `given`.

    An error and the frames of the thread that it left hold each other, and would keep a body of
    some hundred megabytes until the next full collection.
    """
    result: _Result | Refusal = await trio.to_thread.run_sync(_or_refusal, function, given)
    if not isinstance(result, Refusal):
        return result
    try:
        raise result
    finally:
        del result, given


def _or_refusal(function: Callable[[_Given], _Result], given: _Given) -> _Result | Refusal:
    try:
        return function(given)
    except Refusal as refusal:
        refusal.__cause__ = refusal.__context__ = None
        return refusal.with_traceback(None)


class Loader:
    """Brings adapters into the store and gives them names.

    Folders are read below `folders` alone, whoever asks. What is loaded while the server runs is
    kept in `names`, for `restore` at its next start.
    """

    def __init__(
        self,
        backbone: Backbone,
        store: AdapterStore,
        models: LocalModels,
        folders: Sequence[Path] = (),
        names: NamesFile | None = None,
    ) -> None:
        self._backbone = backbone
        self._store = store
        self._models = models
        self._folders = tuple(folder.resolve() for folder in folders)
        self._one_at_a_time = trio.Lock()
        self._names = names
        self._kept: dict[str, NamedAdapter] = {}
        self._naming = trio.Lock()

    async def load(self, raw: bytes) -> NamedAdapter:
        """Serve an adapter: of a folder, by its hash, or sent along; raises ApiRefused."""
        asked = await _in_thread(_read_load, raw)
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
                async with self._one_at_a_time:
                    content_hash = await _in_thread(self._read, asked)
            except AdapterRefused as refusal:
                name = refusal.reason.name.lower()
                text = f"{name}: {refusal.detail}"
                raise ApiRefused(ApiReason.BAD_ADAPTER, text, given[0]) from refusal
        adapter = NamedAdapter(asked.lora_name, content_hash, given[0].removeprefix("lora_"))
        async with self._naming:
            self._models.check(adapter, in_place=asked.load_inplace)
            await self._keep(self._kept | {adapter.name: adapter})
            self._models.add(adapter, in_place=asked.load_inplace)
        _LOG.info("adapter loaded", name=adapter.name, hash=content_hash, source=adapter.source)
        return adapter

    async def unload(self, raw: bytes) -> NamedAdapter:
        """Serve an adapter no more; raises ApiRefused UNKNOWN_MODEL."""
        asked = validated(_Unload, read_object(raw))
        async with self._naming:
            self._models.named(asked.lora_name)
            await self._keep({n: a for n, a in self._kept.items() if n != asked.lora_name})
            removed = self._models.remove(asked.lora_name)
        _LOG.info("adapter unloaded", name=removed.name, hash=removed.content_hash)
        return removed

    def add_folder(self, name: str, folder: Path) -> NamedAdapter:
        """Serve a folder's adapter; raises AdapterRefused, ApiRefused."""
        content_hash = self._store.put(load_peft(folder, self._backbone))
        adapter = NamedAdapter(name, content_hash, "path")
        self._models.add(adapter)
        return adapter

    def restore(self) -> None:
        """Serve again what was loaded while the server ran before.

        A name that the command line gives to another adapter is the command line's; an adapter
        that is gone is told of and left out. Raises AdapterRefused for a file that is not ours.
        """
        for adapter in [] if self._names is None else self._names.read():
            try:
                if not self._models.fetches and adapter.content_hash not in self._store:
                    raise AdapterRefused(
                        AdapterReason.NOT_STORED, f"0x{adapter.content_hash.hex()} is not here"
                    )
                self._kept[adapter.name] = adapter
                self._models.add(adapter)
            except (AdapterRefused, ApiRefused) as refusal:
                _LOG.error("adapter left out", name=adapter.name, cause=refusal)

    async def _keep(self, kept: dict[str, NamedAdapter]) -> None:
        """Write the names down before they are true; raises FAILED where the disk does not."""
        if self._names is not None:
            try:
                await trio.to_thread.run_sync(self._names.write, kept.values())
            except OSError as error:
                raise ApiRefused(
                    ApiReason.FAILED, f"the name cannot be kept, and nothing was changed: {error}"
                ) from error
        self._kept = kept

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
