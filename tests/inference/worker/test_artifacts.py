"""Artifacts: whole, as the chain declares them, or refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_chain import MemoryChain
from paid_world import Trained, new_chain, train_artifact
from tiny_models import tiny_backbone

from inference.adapters.adapter import LoraAdapter
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.peft import load_peft
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.worker.archive import MAGIC, ArtifactReason, ArtifactRefused, pack, unpack
from inference.worker.artifact import FILES, check_declared, open_parts, read_artifact
from inference.worker.artifact_folder import Losses, read_folder, write_folder
from inference.worker.dataset import DatasetReason, DatasetRefused, fetch_dataset
from runtime.primitives.hashing import blake2_256
from runtime.protocols.record_batch import encode_batch


def adapter_of(trained: Trained, backbone: Backbone, folder: Path) -> LoraAdapter:
    parts = read_artifact(trained.blob)
    image = parts.image
    return AdapterStore(folder, backbone).put_image(image, blake2_256(image))


def test_an_artifact_is_what_it_declares(trained: Trained) -> None:
    parts = read_artifact(trained.blob, blake2_256(trained.blob))
    declared = parts.declared()
    check_declared(parts, declared)
    assert declared.manifest_bytes == len(trained.blob)
    assert declared.layout == parts.index.layout
    assert parts.fields_of == {0: ("question", "answer")}
    assert len(parts.records) == 8
    assert unpack(trained.blob)[0]["datasets"][0]["root"] == trained.dataset.root


@pytest.mark.parametrize("part", ["model", "index", "corpus", "curvature", "coordinates"])
def test_parts_of_other_roots_are_refused(trained: Trained, part: str) -> None:
    parts = read_artifact(trained.blob)
    declared = parts.declared()
    other = replace(declared, roots=replace(declared.roots, **{part: bytes(32)}))
    with pytest.raises(ArtifactRefused) as refusal:
        check_declared(parts, other)
    assert refusal.value.reason is ArtifactReason.WRONG_ROOTS


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_changed_byte_passes(trained: Trained, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(trained.blob) - 1))
    flipped = bytearray(trained.blob)
    flipped[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ArtifactRefused) as refusal:
        read_artifact(bytes(flipped), blake2_256(trained.blob))
    assert refusal.value.reason is ArtifactReason.WRONG_HASH
    try:
        parts = read_artifact(bytes(flipped))
    except ArtifactRefused:
        return
    with pytest.raises(ArtifactRefused):
        check_declared(parts, read_artifact(trained.blob).declared())


@given(data=st.binary(max_size=200))
def test_garbage_is_refused_by_name(data: bytes) -> None:
    for blob in (data, MAGIC + data, MAGIC + len(data).to_bytes(4, "little") + data):
        with pytest.raises(ArtifactRefused):
            read_artifact(blob)


@pytest.mark.parametrize("name", ["adapter_model.bin", "weights.pt", "x.pkl"])
def test_pickles_are_refused_by_name(name: str) -> None:
    with pytest.raises(ArtifactRefused) as refusal:
        pack({}, {name: b""})
    assert refusal.value.reason is ArtifactReason.PICKLE


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "", "A b"])
def test_paths_are_no_file_names(name: str) -> None:
    with pytest.raises(ArtifactRefused) as refusal:
        pack({}, {name: b""})
    assert refusal.value.reason is ArtifactReason.BAD_FILE


def test_an_artifact_with_other_files_is_refused(trained: Trained) -> None:
    manifest, files = unpack(trained.blob)
    fields = {k: v for k, v in manifest.items() if k not in ("format", "files")}
    assert tuple(files) == FILES
    for changed in (files | {"extra": b""}, dict(list(files.items())[:3])):
        with pytest.raises(ArtifactRefused) as refusal:
            read_artifact(pack(fields, changed))
        assert refusal.value.reason is ArtifactReason.BAD_FILE


def test_an_adapter_of_another_base_model_is_refused(trained: Trained, tmp_path: Path) -> None:
    parts = read_artifact(trained.blob)
    with pytest.raises(AdapterRefused) as refusal:
        AdapterStore(tmp_path, tiny_backbone(seed=9)).put_image(
            parts.image, blake2_256(parts.image)
        )
    assert refusal.value.reason is AdapterReason.WRONG_BASE


def test_an_attribution_of_another_base_model_is_refused(
    trained: Trained, backbone: Backbone, tmp_path: Path
) -> None:
    adapter = adapter_of(trained, backbone, tmp_path)
    with pytest.raises(ArtifactRefused) as refusal:
        open_parts(read_artifact(trained.blob), tiny_backbone(seed=9), adapter)
    assert refusal.value.reason is ArtifactReason.WRONG_BASE


def test_a_folder_holds_a_peft_adapter_and_the_same_blob(
    trained: Trained, backbone: Backbone, tmp_path: Path
) -> None:
    adapter = adapter_of(trained, backbone, tmp_path / "store")
    losses = Losses(train=[(1, 2.0), (2, 1.5)], held_out=[(0, 2.2), (2, 1.9)])
    folder = tmp_path / "out"
    write_folder(folder, trained.blob, adapter, losses, "tiny")
    assert read_folder(folder).blob_hash == blake2_256(trained.blob)
    assert load_peft(folder / "adapter", backbone).content_hash == adapter.content_hash
    told = json.loads((folder / "artifact.json").read_text())
    assert told["manifest"] == f"0x{blake2_256(trained.blob).hex()}"
    assert (folder / "loss.svg").read_text().startswith("<svg")
    with pytest.raises(ArtifactRefused) as refusal:
        read_folder(tmp_path / "nowhere")
    assert refusal.value.reason is ArtifactReason.MISSING_FOLDER


def test_training_again_gives_the_same_bytes(trained: Trained, backbone: Backbone) -> None:
    torch.manual_seed(123)
    assert train_artifact(backbone, trained.dataset).blob == trained.blob


async def test_a_dataset_is_every_record_of_its_version() -> None:
    chain = new_chain()
    dataset = await fetch_dataset(chain, 0)
    assert len(dataset.records) == 8
    assert dataset.records[0] == ("What is the capital of France?", "Paris.")
    assert [(p.first, p.count) for p in dataset.portions] == [(0, 4), (4, 4)]


async def test_a_node_that_serves_other_bytes_is_found_out() -> None:
    chain = new_chain()
    lie = encode_batch((("What is the capital of France?", "Lyon."),) * 4, 2)
    first = next(iter(chain.blobs))
    chain.blobs[first] = lie
    with pytest.raises(DatasetRefused) as refusal:
        await fetch_dataset(chain, 0)
    assert refusal.value.reason is DatasetReason.WRONG_BLOB


async def test_a_chain_that_tells_other_batches_is_found_out() -> None:
    class Liar(MemoryChain):
        async def storage(self, pallet: str, item: str, *keys: object) -> object:
            found = await super().storage(pallet, item, *keys)
            return replace(found, decided=found.decided + 1) if item == "Batches" else found

    chain = new_chain()
    chain.__class__ = Liar
    with pytest.raises(DatasetRefused) as refusal:
        await fetch_dataset(chain, 0)
    assert refusal.value.reason is DatasetReason.WRONG_ROOT


@pytest.mark.parametrize(("datanet", "version"), [(7, None), (0, 5)])
async def test_an_unknown_version_is_refused(datanet: int, version: int | None) -> None:
    with pytest.raises(DatasetRefused) as refusal:
        await fetch_dataset(new_chain(), datanet, version)
    assert refusal.value.reason is DatasetReason.UNKNOWN_VERSION
