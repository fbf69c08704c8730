"""What `openledger model submit` reads is what the worker's room packs, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference.worker.archive import pack
from node.cli.artifact_file import ArtifactFileReason, ArtifactFileRefusal, read_artifact
from runtime.pallets.models.types import Artifact, Roots
from runtime.primitives.hashing import blake2_256

IMAGE = b"image of an adapter"
FIELDS: dict[str, Any] = {
    "name": "writer",
    "training_receipt": b"\x01" * 32,
    "evaluation": 1_234_567,
    "layout": [4, 4],
    "roots": {
        "index": b"\x02" * 32,
        "corpus": b"\x03" * 32,
        "curvature": b"\x04" * 32,
        "coordinates": b"\x05" * 32,
    },
}
BLOB = pack(FIELDS, {"adapter.safetensors": IMAGE, "training.msgpack": b"receipt"})


def folder(path: Path, **files: bytes) -> Path:
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


def test_the_chain_is_told_what_the_archive_holds(tmp_path: Path) -> None:
    found = read_artifact(folder(tmp_path, blob=BLOB, readme=b"for people", empty=b""))
    assert found.blob == BLOB
    assert found.declared == Artifact(
        manifest=blake2_256(BLOB),
        manifest_bytes=len(BLOB),
        training_receipt=b"\x01" * 32,
        roots=Roots(blake2_256(IMAGE), b"\x02" * 32, b"\x03" * 32, b"\x04" * 32, b"\x05" * 32),
        layout=(4, 4),
        evaluation=1_234_567,
    )
    assert read_artifact(tmp_path / "blob") == found


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, ArtifactFileReason.MISSING),
        ({"readme": b"for people"}, ArtifactFileReason.MISSING),
        ({"a": BLOB, "b": BLOB}, ArtifactFileReason.SEVERAL),
        ({"a": BLOB[:-1]}, ArtifactFileReason.MALFORMED),
        ({"a": BLOB + b"x"}, ArtifactFileReason.MALFORMED),
        ({"a": BLOB[:40]}, ArtifactFileReason.MALFORMED),
        ({"a": BLOB[:8]}, ArtifactFileReason.MALFORMED),
        ({"a": BLOB.replace(IMAGE, IMAGE.upper())}, ArtifactFileReason.MALFORMED),
        ({"a": pack({}, {"adapter.safetensors": IMAGE})}, ArtifactFileReason.MALFORMED),
        ({"a": pack(FIELDS, {"training.msgpack": b""})}, ArtifactFileReason.MALFORMED),
    ],
)
def test_a_folder_without_one_whole_artifact_is_refused(
    tmp_path: Path, files: dict[str, bytes], reason: ArtifactFileReason
) -> None:
    with pytest.raises(ArtifactFileRefusal) as refused:
        read_artifact(folder(tmp_path, **files))
    assert refused.value.reason is reason


def test_no_damage_is_anything_but_a_refusal_or_another_artifact(tmp_path: Path) -> None:
    for place in range(len(BLOB)):
        damaged = bytearray(BLOB)
        damaged[place] ^= 0xFF
        file = tmp_path / "a"
        file.write_bytes(damaged)
        try:
            declared = read_artifact(file).declared
        except ArtifactFileRefusal:
            continue
        assert declared.manifest == blake2_256(bytes(damaged))
