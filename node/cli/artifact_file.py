"""What `openledger train` wrote: the artifact that the chain declares and workers fetch.

    magic 8 bytes | manifest length u32 little endian | manifest (msgpack) | files in its order

The manifest lists every file as ``[name, length, blake2b-256]``; the blob's hash names them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import msgpack

from runtime.pallets.models.types import Artifact, Roots
from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256

MAGIC = b"OLARTFC1"
FORMAT = "openledger-artifact-1"
MAX_BYTES = 64 * 1024 * 1024
ADAPTER = "adapter.safetensors"


class ArtifactFileReason(Enum):
    """Why a folder holds nothing to submit."""

    MISSING = "there is no artifact; name the folder that `openledger train` wrote"
    SEVERAL = "there are several artifacts; name the file"
    TOO_LARGE = "an artifact has at most 64 MiB"
    MALFORMED = "the file is damaged or of another version; train again"


class ArtifactFileRefusal(Refusal):
    """A folder or a file that is no artifact."""

    def __init__(self, reason: ArtifactFileReason, what: object) -> None:
        super().__init__(reason, f"{what}: {reason.value}")
        self.reason: ArtifactFileReason = reason


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """An artifact's bytes, its manifest, and what the chain is to declare."""

    blob: bytes
    manifest: Mapping[str, Any]
    declared: Artifact


def read_artifact(path: Path) -> ArtifactFile:
    """Read a folder's one artifact, or a file, and check its hashes; raises ArtifactFileRefusal."""
    file = _find(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ArtifactFileRefusal(ArtifactFileReason.TOO_LARGE, file)
        blob = file.read_bytes()
    except OSError as error:
        raise ArtifactFileRefusal(ArtifactFileReason.MISSING, f"{file} ({error})") from error
    try:
        manifest, hashes = _unpack(blob)
        declared = _declared(blob, manifest, hashes)
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise ArtifactFileRefusal(ArtifactFileReason.MALFORMED, f"{file} ({error})") from error
    return ArtifactFile(blob, manifest, declared)


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [file for file in sorted(path.iterdir()) if file.is_file() and _is_artifact(file)]
    if len(found) != 1:
        reason = ArtifactFileReason.SEVERAL if found else ArtifactFileReason.MISSING
        raise ArtifactFileRefusal(reason, path)
    return found[0]


def _is_artifact(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def _unpack(blob: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest and each file's hash, checked against its bytes; raises ValueError."""
    if not blob.startswith(MAGIC):
        raise ValueError("not an artifact")
    start = len(MAGIC) + 4
    end = start + int.from_bytes(blob[len(MAGIC) : start], "little")
    manifest = msgpack.unpackb(blob[start:end])
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError("of another version")
    hashes: dict[str, bytes] = {}
    for name, length, digest in manifest["files"]:
        if blake2_256(blob[end : end + length]) != digest:
            raise ValueError(f"the bytes of {name} do not match their hash")
        hashes[name] = digest
        end += length
    if end != len(blob):
        raise ValueError(f"{len(blob) - end} bytes left over")
    return manifest, hashes


def _declared(blob: bytes, manifest: dict[str, Any], hashes: dict[str, bytes]) -> Artifact:
    roots = manifest["roots"]
    return Artifact(
        manifest=blake2_256(blob),
        manifest_bytes=len(blob),
        training_receipt=manifest["training_receipt"],
        roots=Roots(
            model=hashes[ADAPTER],
            index=roots["index"],
            corpus=roots["corpus"],
            curvature=roots["curvature"],
            coordinates=roots["coordinates"],
        ),
        layout=tuple(manifest["layout"]),
        evaluation=manifest["evaluation"],
    )
