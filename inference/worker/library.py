"""Launched models, loaded on demand: fetched by hash, checked against their roots, kept on disk.

Where the disk has a limit, artifacts leave it that were not read for longest, but for those of the
models in memory, whose adapters are read from them again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import trio

from inference.adapters.disk_limit import DiskLimit
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.store import AdapterStore
from inference.adapters.whole_file import sweep, write_whole
from inference.api.errors import ApiReason, ApiRefused
from inference.attribution.attribution import Attribution
from inference.backbone.model import Backbone
from inference.log import Log
from inference.worker.archive import ArtifactReason, ArtifactRefused, unpack
from inference.worker.artifact import (
    ADAPTER,
    ArtifactParts,
    check_declared,
    open_parts,
    read_artifact,
)
from inference.worker.chain_view import ChainError, ChainView
from inference.worker.dataset import Portion, accepted_batches, portions_of
from runtime.pallets.models.types import Artifact, Model, Stage
from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256
from runtime.protocols.ids import RecordId

PREFIX = "model:"
TOLD_AGAIN_SECONDS = 5.0
"""Whoever asks for a model that could not be had so shortly ago is told so at once."""
_PAUSES = (0.5, 2.0)
"""Seconds before an artifact is asked for again."""
_LOG = Log("models")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that is ready: its adapter is in the store, its attribution in memory."""

    id: int
    name: str
    adapter: bytes
    manifest: bytes
    schemas: dict[int, tuple[str, ...]]
    portions: dict[int, tuple[Portion, ...]]
    attribution: Attribution

    def contributor(self, record: RecordId) -> bytes | None:
        """Return the account that brought a record."""
        for portion in self.portions.get(record.datanet, ()):
            if portion.first <= record.record < portion.first + portion.count:
                return portion.owner
        return None


class Library:
    """The models of one base model; at most `most` have their attribution in memory.

    disk_bytes: of the artifacts in `folder`; None for no limit.
    """

    def __init__(
        self,
        view: ChainView,
        backbone: Backbone,
        store: AdapterStore,
        folder: Path,
        *,
        most: int = 8,
        disk_bytes: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        self._disk = DiskLimit(folder, disk_bytes, lasting=False)
        self._view = view
        self._backbone = backbone
        self._store = store
        self._folder = folder
        self._most = most
        self._loaded: OrderedDict[int, ServedModel] = OrderedDict()
        self._names: dict[str, int] = {}
        self._manifests: dict[bytes, bytes] = {}
        self._listed: tuple[int, list[tuple[int, Model]]] | None = None
        self._loading: dict[int, trio.Lock] = {}
        self._failed: dict[int, tuple[float, Refusal]] = {}

    @property
    def loaded(self) -> tuple[int, ...]:
        """List the models in memory, least recently used first."""
        return tuple(self._loaded)

    async def catalogue(self) -> list[tuple[int, Model]]:
        """List all launched models of the chain by id, as of the last finalised block."""
        height = self._view.height
        if self._listed is not None and self._listed[0] == height:
            return self._listed[1]
        found = [
            (int(keys[0]), model)
            for keys, model in await self._view.items("Models", "Models")
            if model.stage == Stage.LAUNCHED
        ]
        self._names = {}
        for number, model in sorted(found, key=lambda entry: entry[0]):
            # Names are not unique: the first launched model of a name keeps it.
            self._names.setdefault(model.name.decode(), number)
        self._listed = height, sorted(found, key=lambda entry: entry[0])
        return self._listed[1]

    async def resolve(self, name: str) -> int:
        """Return the model that a request names; raises UNKNOWN_MODEL."""
        text = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and text.isdecimal() and len(text) <= 10:
            return int(text)
        if name not in self._names:
            await self.catalogue()
        if name not in self._names:
            raise ApiRefused(
                ApiReason.UNKNOWN_MODEL, f"no launched model is called {name!r}", "model"
            )
        return self._names[name]

    async def model(self, number: int) -> ServedModel:
        """Return a model, loading it if need be; different models load side by side.

        Raises:
            ApiRefused: UNKNOWN_MODEL for a model that never was launched.
            ArtifactRefused, AdapterRefused, ChainError: it cannot be had; whoever asks within some
                seconds is told the same.
        """
        lock = self._loading.setdefault(number, trio.Lock())
        try:
            async with lock:
                if number not in self._loaded:
                    self._loaded[number] = await self._load_or_refuse(number)
                    self._disk.pin(self._loaded[number].manifest)
                    while len(self._loaded) > self._most:
                        self._disk.unpin(self._loaded.popitem(last=False)[1].manifest)
                self._loaded.move_to_end(number)
                return self._loaded[number]
        finally:
            if not lock.statistics().tasks_waiting:
                self._loading.pop(number, None)

    async def adapter_of(self, number: int) -> bytes:
        """Return the hash of a launched model's adapter; raises UNKNOWN_MODEL."""
        for known, model in await self.catalogue():
            if known == number and model.artifact is not None:
                return bytes(model.artifact.roots.model)
        raise ApiRefused(ApiReason.UNKNOWN_MODEL, f"model {number} is not launched", "model")

    async def bring(self, adapter: bytes) -> None:
        """Have the adapter of a launched model in the store; raises as `model`, NOT_STORED."""
        for number, model in await self.catalogue():
            if model.artifact is not None and model.artifact.roots.model == adapter:
                await self.model(number)
                return
        raise AdapterRefused(
            AdapterReason.NOT_STORED, f"no launched model has the adapter 0x{adapter.hex()}"
        )

    def image(self, adapter: bytes) -> bytes:
        """Read the image of an adapter from the artifact of a model that was loaded before.

        Blocks. Raises AdapterRefused NOT_STORED, ArtifactRefused, OSError.
        """
        if adapter not in self._manifests:
            raise AdapterRefused(
                AdapterReason.NOT_STORED, f"0x{adapter.hex()} is of no model that was loaded"
            )
        manifest = self._manifests[adapter]
        try:
            blob = self._path(manifest).read_bytes()
        except FileNotFoundError:
            raise AdapterRefused(
                AdapterReason.NOT_STORED,
                f"0x{adapter.hex()}: its artifact left the disk; ask again",
            ) from None
        return unpack(blob, manifest)[1][ADAPTER]

    async def _load_or_refuse(self, number: int) -> ServedModel:
        now = trio.current_time()
        self._failed = {k: v for k, v in self._failed.items() if now < v[0] + TOLD_AGAIN_SECONDS}
        if number in self._failed:
            raise self._failed[number][1]
        try:
            return await self._load(number)
        except (ArtifactRefused, AdapterRefused, ChainError) as refusal:
            self._failed[number] = trio.current_time(), refusal
            raise

    async def _load(self, number: int) -> ServedModel:
        model = await self._view.storage("Models", "Models", number)
        # A deprecated model still answers the sessions that it has.
        if model is None or model.artifact is None or model.stage < Stage.LAUNCHED:
            raise ApiRefused(ApiReason.UNKNOWN_MODEL, f"model {number} is not launched", "model")
        started = trio.current_time()
        blob = await self._blob(model.artifact)
        parts, attribution = await trio.to_thread.run_sync(self._open, blob, model.artifact)
        served = ServedModel(
            id=number,
            name=model.name.decode(),
            adapter=model.artifact.roots.model,
            manifest=model.artifact.manifest,
            schemas=parts.fields_of,
            portions=await self._portions(model),
            attribution=attribution,
        )
        self._manifests[served.adapter] = model.artifact.manifest
        _LOG.info(
            "model loaded",
            model=number,
            name=served.name,
            adapter=served.adapter,
            records=len(parts.records),
            seconds=trio.current_time() - started,
        )
        return served

    async def _blob(self, declared: Artifact) -> bytes:
        """Read an artifact from disk, or fetch and keep it."""
        path = self._path(declared.manifest)
        try:
            kept = await trio.Path(path).read_bytes()
        except FileNotFoundError:
            pass
        else:
            if blake2_256(kept) == declared.manifest:
                self._disk.used(path)
                return kept
            _LOG.warning("kept artifact is damaged; fetching it again", hash=declared.manifest)
        blob = await self._fetch(declared.manifest)
        await trio.to_thread.run_sync(self._keep, path, blob)
        return blob

    def _keep(self, path: Path, blob: bytes) -> None:
        write_whole(path, (blob,), sync=False)
        self._disk.wrote(len(blob))

    def _path(self, manifest: bytes) -> Path:
        return self._folder / f"{manifest.hex()}.artifact"

    async def _fetch(self, manifest: bytes) -> bytes:
        """Ask the node, which asks its peers; what is only late is asked for again."""
        for pause in (*_PAUSES, None):
            try:
                blob = await self._view.blob(manifest)
            except ChainError as error:
                if pause is None:
                    raise
                _LOG.info("artifact not there yet", hash=manifest, cause=error, seconds=pause)
                await trio.sleep(pause)
                continue
            if blake2_256(blob) == manifest:
                return blob
            break
        raise ArtifactRefused(ArtifactReason.WRONG_HASH, f"0x{manifest.hex()}")

    def _open(self, blob: bytes, declared: Artifact) -> tuple[ArtifactParts, Attribution]:
        parts = read_artifact(blob, declared.manifest)
        check_declared(parts, declared)
        try:
            adapter = self._store.put_image(parts.image, declared.roots.model)
        except AdapterRefused as error:
            _LOG.error("adapter refused", reason=error.reason.name, detail=error.detail)
            raise
        return parts, open_parts(parts, self._backbone, adapter)

    async def _portions(self, model: Model) -> dict[int, tuple[Portion, ...]]:
        found = {}
        for used in model.datanets:
            version = await self._view.storage("Datanets", "Versions", used.datanet, used.version)
            batches = await accepted_batches(self._view, used.datanet, version.batches)
            found[used.datanet] = portions_of(batches)
        return found
