"""Index files and audits: equal after a round trip, refused when anything is off."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_world import PlantedWorld

from inference.attribution.audit import audit_records
from inference.attribution.container import (
    ContainerReason,
    ContainerRefused,
    pack_container,
    unpack_container,
)
from inference.attribution.gradients import traced_model
from inference.attribution.storage import decode_index, index_bytes, load_index, save_index
from runtime.primitives.hashing import blake2_256


def test_an_index_survives_saving(world: PlantedWorld, tmp_path: Path) -> None:
    digest = save_index(world.index, tmp_path / "index")
    loaded = load_index(tmp_path / "index", digest)
    assert digest == blake2_256(index_bytes(loaded))
    assert loaded.index_root() == world.index.index_root()
    assert loaded.curvature_root() == world.index.curvature_root()
    assert loaded.coordinates_root() == world.index.coordinates_root()
    assert loaded.layout == world.index.layout
    trace = world.model.trace([world.indexed[3].passage])
    ours = world.index.basis.projectors().whiten(trace)
    assert (loaded.basis.projectors().whiten(trace) == ours).all()


def test_a_file_of_another_hash_is_refused(world: PlantedWorld, tmp_path: Path) -> None:
    save_index(world.index, tmp_path / "index")
    with pytest.raises(ContainerRefused) as refusal:
        load_index(tmp_path / "index", bytes(32))
    assert refusal.value.reason is ContainerReason.WRONG_HASH


def test_damaged_files_are_refused_by_name(world: PlantedWorld) -> None:
    data = index_bytes(world.index)
    for damaged in (b"", data[:100], data[:-1], data + b"\0", b"X" + data[1:]):
        with pytest.raises(ContainerRefused):
            decode_index(damaged)
    fields, arrays = unpack_container(data)
    for name, array in (
        ("offsets", arrays["offsets"] + np.uint8(1)),
        ("codes", arrays["codes"][:-1]),
        ("records", arrays["records"][::-1]),
        ("0.coordinates", arrays["0.coordinates"][::-1]),
        ("0.weights", arrays["0.weights"].astype(np.int64)),
        ("bases", arrays["bases"][:-1]),
    ):
        with pytest.raises(ContainerRefused) as refusal:
            decode_index(pack_container(fields, {**arrays, name: array}))
        assert refusal.value.reason is ContainerReason.UNEXPECTED
    for missing in arrays:
        kept = {name: array for name, array in arrays.items() if name != missing}
        with pytest.raises(ContainerRefused):
            decode_index(pack_container(fields, kept))


def test_a_container_refuses_foreign_types_and_negative_shapes() -> None:
    data = pack_container({}, {"a": np.arange(3, dtype=np.uint32)})
    assert unpack_container(data)[1]["a"].tolist() == [0, 1, 2]
    with pytest.raises(ContainerRefused, match="cannot be read"):
        unpack_container(data.replace(b"<u4", b"|O8"))
    with pytest.raises(ContainerRefused):
        unpack_container(data.replace(b"\x91\x03", b"\x91\xff"))


def test_an_audit_passes_honest_codes_and_names_the_forged_record(world: PlantedWorld) -> None:
    chosen = [(at, world.indexed[at]) for at in (3, 40, 77)]
    assert all(audited.passed for audited in audit_records(world.model, world.index, chosen))
    codes = world.index.codes.copy()
    codes[:, 40] = codes[:, 41]
    forged = replace(world.index, codes=codes)
    verdicts = audit_records(world.model, forged, chosen)
    assert [audited.passed for audited in verdicts] == [True, False, True]
    hashes = (*world.index.content_hashes[:3], bytes(32), *world.index.content_hashes[4:])
    verdicts = audit_records(world.model, replace(world.index, content_hashes=hashes), chosen)
    assert [audited.passed for audited in verdicts] == [False, True, True]


def test_single_precision_passes_the_audit_of_an_index_in_double(world: PlantedWorld) -> None:
    single = traced_model(world.backbone, world.pairs, precision=torch.float32)
    chosen = list(enumerate(world.indexed))[:30]
    assert all(audited.passed for audited in audit_records(single, world.index, chosen))
