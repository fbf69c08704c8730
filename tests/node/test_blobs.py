"""The blob store: nothing undeclared, nothing wrong, nothing lost."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.blob_errors import BlobReason, BlobRefusal
from node.blobs import CHUNK_BYTES, BlobLimits, BlobStatus, BlobStore


def blake(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def store_for(root: Path, *blobs: bytes, limits: BlobLimits | None = None) -> BlobStore:
    sizes = {blake(blob): len(blob) for blob in blobs}
    return BlobStore(root, sizes.get, limits)


def upload(store: BlobStore, blob: bytes, chunk: int = CHUNK_BYTES) -> bytes:
    for offset in range(0, len(blob), chunk):
        store.put(blake(blob), offset, blob[offset : offset + chunk])
    return blake(blob)


def refusal(store: BlobStore, blob_hash: bytes, offset: int, data: bytes) -> BlobReason:
    with pytest.raises(BlobRefusal) as caught:
        store.put(blob_hash, offset, data)
    return caught.value.reason


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(blob=st.binary(min_size=1, max_size=300), chunk=st.integers(1, 120))
def test_any_chunking_gives_the_blob_back(tmp_path: Path, blob: bytes, chunk: int) -> None:
    store = store_for(tmp_path / blake(blob + bytes([chunk])).hex(), blob)
    blob_hash = upload(store, blob, chunk)
    assert store.read(blob_hash, 0, 1000) == blob
    assert store.read(blob_hash, len(blob) // 2, 7) == blob[len(blob) // 2 :][:7]
    assert store.status(blob_hash) == BlobStatus(len(blob), len(blob), complete=True)
    assert store.used_bytes == len(blob)


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    blob = b"0123456789" * 10
    store = store_for(tmp_path, blob)
    store.put(blake(blob), 0, blob[:33])
    store = store_for(tmp_path, blob)
    assert store.status(blake(blob)) == BlobStatus(100, 33, complete=False)
    store.put(blake(blob), 33, blob[33:])
    assert store.read(blake(blob), 0, 100) == blob


def test_a_blob_is_invisible_until_its_hash_holds(tmp_path: Path) -> None:
    blob = b"right" * 20
    store = store_for(tmp_path, blob)
    store.put(blake(blob), 0, blob[:50])
    with pytest.raises(BlobRefusal, match="ABSENT"):
        store.read(blake(blob), 0, 1)
    assert refusal(store, blake(blob), 50, b"wrong" * 10) is BlobReason.WRONG_HASH
    assert store.status(blake(blob)) == BlobStatus(100, 0, complete=False)
    assert store.used_bytes == 0
    upload(store, blob)
    assert store.read(blake(blob), 0, 100) == blob


def test_refusals_are_named_and_write_nothing(tmp_path: Path) -> None:
    blob = b"x" * 10
    store = store_for(tmp_path, blob, limits=BlobLimits(uploads=1))
    assert refusal(store, blake(b"other"), 0, b"other") is BlobReason.UNDECLARED
    assert refusal(store, blake(blob), 0, b"") is BlobReason.CHUNK_SIZE
    assert refusal(store, blake(blob), 0, bytes(CHUNK_BYTES + 1)) is BlobReason.CHUNK_SIZE
    assert refusal(store, blake(blob), 0, b"x" * 11) is BlobReason.TOO_LONG
    assert refusal(store, blake(blob), -1, b"x") is BlobReason.TOO_LONG
    assert refusal(store, blake(blob), 5, b"x") is BlobReason.WRONG_OFFSET
    assert list((tmp_path / "uploads").iterdir()) == []
    assert store.status(blake(b"other")) is None


def test_repeating_a_chunk_changes_nothing(tmp_path: Path) -> None:
    blob = b"abcdef"
    store = store_for(tmp_path, blob)
    store.put(blake(blob), 0, b"abc")
    store.put(blake(blob), 0, b"abc")
    store.put(blake(blob), 3, b"def")
    store.put(blake(blob), 3, b"def")
    assert store.read(blake(blob), 0, 9) == blob


def test_quota_and_upload_limits_hold(tmp_path: Path) -> None:
    one, two = b"1" * 60, b"2" * 60
    store = store_for(tmp_path, one, two, limits=BlobLimits(total_bytes=100, uploads=1))
    store.put(blake(one), 0, one[:30])
    assert refusal(store, blake(two), 0, two[:10]) is BlobReason.UPLOADS
    store.put(blake(one), 30, one[30:])
    assert refusal(store, blake(two), 0, two) is BlobReason.QUOTA
    assert store.used_bytes == 60


def test_collecting_deletes_exactly_what_nobody_declares(tmp_path: Path) -> None:
    kept, gone, partial = b"kept", b"gone!", b"partial"
    sizes = {blake(b): len(b) for b in (kept, gone, partial)}
    store = BlobStore(tmp_path, sizes.get)
    upload(store, kept)
    upload(store, gone)
    store.put(blake(partial), 0, b"par")
    stray = [tmp_path / "uploads" / "notes.txt", tmp_path / blake(kept).hex()[:2] / ".DS_Store"]
    for path in stray:
        path.write_text("not a blob")
    del sizes[blake(gone)], sizes[blake(partial)]
    assert store.collect() == 5 + 3
    assert list(store.hashes()) == [blake(kept)]
    assert store.used_bytes == 4
    assert all(path.exists() for path in stray)


def test_two_threads_uploading_one_blob_do_not_spoil_it(tmp_path: Path) -> None:
    blob = bytes(range(256)) * 8
    store = store_for(tmp_path, blob)

    def send() -> None:
        for offset in range(0, len(blob), 64):
            try:
                store.put(blake(blob), offset, blob[offset : offset + 64])
            except BlobRefusal as caught:
                assert caught.reason is BlobReason.WRONG_OFFSET

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = store.status(blake(blob))
    assert status is not None
    for offset in range(status.received, len(blob), 64):
        store.put(blake(blob), offset, blob[offset : offset + 64])
    assert store.read(blake(blob), 0, 4096) == blob
    assert store.used_bytes == len(blob)


FULL_DISK = """
import sys, hashlib, resource, signal
from pathlib import Path
from node.blobs import BlobStore
from node.blob_errors import BlobRefusal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
blob = b"z" * 1500
h = hashlib.blake2b(blob, digest_size=32).digest()
store = BlobStore(Path(sys.argv[1]), {h: len(blob)}.get)
store.put(h, 0, blob[:900])
try:
    store.put(h, 900, blob[900:])
except BlobRefusal as refusal:
    print(refusal.reason.name, store.status(h).received, store.used_bytes)
"""


def test_a_full_disk_is_named_and_the_upload_can_go_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["DISK", "900", "900"]
    blob = b"z" * 1500
    store = store_for(tmp_path, blob)
    store.put(blake(blob), 900, blob[900:])
    assert store.read(blake(blob), 0, 2000) == blob
