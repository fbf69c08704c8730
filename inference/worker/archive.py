"""An artifact as one content-addressed blob: a manifest, then the bytes of the files it names.

    magic 8 bytes | manifest length u32 little endian | manifest (msgpack) | files in its order

The manifest lists every file as ``[name, length, blake2b-256]``. One encoding per content, so the
blob's blake2b-256, which stands on chain, names the whole artifact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgpack

from runtime.primitives.errors import Refusal
from runtime.primitives.hashing import blake2_256

MAGIC = b"OLARTFC1"
FORMAT = "openledger-artifact-1"
MAX_BYTES = 64 * 1024 * 1024
MAX_MANIFEST = 4 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")
_PICKLES = (".pkl", ".pickle", ".bin", ".pt", ".pth", ".ckpt")


class ArtifactReason(Enum):
    """Why an artifact is refused."""

    WRONG_HASH = "the bytes are not the ones that were asked for: fetch them again"
    MALFORMED = "the bytes are not an artifact, or are cut short"
    UNKNOWN_FORMAT = "the artifact is of another version"
    BAD_FILE = "a file is missing, has a wrong name, length or hash"
    PICKLE = "pickled files are never read: convert them to safetensors"
    TOO_LARGE = "an artifact has at most 64 MiB: lower the rank or the index's coordinates"
    WRONG_BASE = "the artifact was made for another base model"
    WRONG_ROOTS = "the parts do not lead to the roots that are declared"
    MISSING_FOLDER = "the folder does not hold an artifact"


class ArtifactRefused(Refusal):
    """An artifact that cannot be used."""

    def __init__(self, reason: ArtifactReason, detail: str = "") -> None:
        super().__init__(reason, f"{detail}: {reason.value}" if detail else reason.value)
        self.reason: ArtifactReason = reason


def pack(fields: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """Encode a manifest's fields and its files; raises BAD_FILE, PICKLE or TOO_LARGE."""
    for name in files:
        check_name(name)
    listed = [[name, len(data), blake2_256(data)] for name, data in files.items()]
    manifest: bytes = msgpack.packb({"format": FORMAT, **fields, "files": listed})
    blob = MAGIC + len(manifest).to_bytes(4, "little") + manifest + b"".join(files.values())
    if len(blob) > MAX_BYTES:
        raise ArtifactRefused(ArtifactReason.TOO_LARGE, f"{len(blob)} bytes")
    return blob


def unpack(blob: bytes, expected: bytes | None = None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest and the files, each checked against its hash.

    Raises:
        ArtifactRefused: WRONG_HASH where the blob is not `expected`, TOO_LARGE, MALFORMED,
            UNKNOWN_FORMAT, BAD_FILE, PICKLE.
    """
    if len(blob) > MAX_BYTES:
        raise ArtifactRefused(ArtifactReason.TOO_LARGE, f"{len(blob)} bytes")
    if expected is not None and blake2_256(blob) != expected:
        raise ArtifactRefused(ArtifactReason.WRONG_HASH, f"0x{expected.hex()}")
    manifest, offset = _manifest(blob)
    files: dict[str, bytes] = {}
    for name, length, digest in _listed(manifest):
        data = blob[offset : offset + length]
        offset += length
        if len(data) != length or blake2_256(data) != digest or name in files:
            raise ArtifactRefused(ArtifactReason.BAD_FILE, name)
        files[name] = data
    if offset != len(blob):
        raise ArtifactRefused(ArtifactReason.MALFORMED, f"{len(blob) - offset} bytes too many")
    return manifest, files


def check_name(name: str) -> None:
    """Refuse names that are paths, or of formats that run code when they are read."""
    if name.endswith(_PICKLES):
        raise ArtifactRefused(ArtifactReason.PICKLE, name)
    if not _NAME.fullmatch(name):
        raise ArtifactRefused(ArtifactReason.BAD_FILE, f"{name!r} is no file name")


def _manifest(blob: bytes) -> tuple[dict[str, Any], int]:
    start = len(MAGIC) + 4
    if not blob.startswith(MAGIC) or len(blob) < start:
        raise ArtifactRefused(ArtifactReason.MALFORMED)
    length = int.from_bytes(blob[len(MAGIC) : start], "little")
    if length > MAX_MANIFEST:
        raise ArtifactRefused(ArtifactReason.MALFORMED, f"a manifest of {length} bytes")
    raw = blob[start : start + length]
    try:
        manifest = msgpack.unpackb(raw)
        canonical = isinstance(manifest, dict) and msgpack.packb(manifest) == raw
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ArtifactRefused(ArtifactReason.MALFORMED, str(error)) from error
    if not canonical:
        raise ArtifactRefused(ArtifactReason.MALFORMED, "the manifest is not canonical")
    if manifest.get("format") != FORMAT:
        raise ArtifactRefused(ArtifactReason.UNKNOWN_FORMAT, repr(manifest.get("format")))
    return manifest, start + length


def _listed(manifest: dict[str, Any]) -> list[tuple[str, int, bytes]]:
    entries = manifest.get("files")
    if not isinstance(entries, list):
        raise ArtifactRefused(ArtifactReason.MALFORMED, "the manifest lists no files")
    found = []
    for entry in entries:
        match entry:
            case [str() as name, int() as length, bytes() as digest] if 0 <= length <= MAX_BYTES:
                check_name(name)
                found.append((name, length, digest))
            case _:
                raise ArtifactRefused(ArtifactReason.MALFORMED, "a file entry is not readable")
    return found
