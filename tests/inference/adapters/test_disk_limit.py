"""What the adapters of a store take on the disk, and which of them leave it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from memory_device import PLAIN
from tiny_models import tiny_adapter

from inference.adapters.adapter import image_of
from inference.adapters.disk_limit import SPARE, DiskLimit
from inference.adapters.figures import Origin
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone


def images(backbone: Backbone, count: int) -> dict[bytes, bytes]:
    adapters = [tiny_adapter(backbone, seed=seed) for seed in range(count)]
    return {adapter.content_hash: image_of(adapter) for adapter in adapters}


def store_of(
    folder: Path, backbone: Backbone, known: dict[bytes, bytes], count: float
) -> tuple[AdapterStore, list[bytes]]:
    """Make a store with room for so many images, and a list of what it fetches."""
    asked: list[bytes] = []

    def fetch(content_hash: bytes) -> bytes:
        asked.append(content_hash)
        return known[content_hash]

    size = max(map(len, known.values()))
    return AdapterStore(folder, backbone, fetch=fetch, disk_bytes=int(count * size)), asked


def age(folder: Path, *order: bytes) -> None:
    """Let files have been read in this order: the clock of a file system is coarse."""
    for second, content_hash in enumerate(order, 1):
        for path in folder.glob(f"{content_hash.hex()}.*"):
            os.utime(path, (second, second))


def test_what_was_not_read_for_longest_leaves_and_is_fetched_again(
    tmp_path: Path, backbone: Backbone
) -> None:
    known = images(backbone, 4)
    a, b, c, d = known
    store, asked = store_of(tmp_path, backbone, known, 3.5)
    for key in (a, b, c):
        store.read(key)
    age(tmp_path, a, b, c)
    store.read(a)
    store.read(d)
    assert asked == [a, b, c, d]
    assert [store.contains(key) for key in (a, b, c, d)] == [True, False, True, True]
    assert store.read(b) == known[b]
    assert asked == [a, b, c, d, b]


def test_a_packed_form_counts_and_keeps_its_adapter_young(
    tmp_path: Path, backbone: Backbone
) -> None:
    known = images(backbone, 3)
    a, b, c = known
    store, _ = store_of(tmp_path, backbone, known, 4.5)
    for key in (a, b):
        store.packed(key, PLAIN)
    age(tmp_path, a, b)
    assert store.packed(a, PLAIN)[1] is Origin.DISK
    store.packed(c, PLAIN)
    assert not list(tmp_path.glob(f"{b.hex()}.*"))
    assert {path.name[:64] for path in tmp_path.iterdir()} == {a.hex(), c.hex()}


def test_a_pinned_image_stays_as_long_as_it_is_pinned(tmp_path: Path, backbone: Backbone) -> None:
    known = images(backbone, 4)
    a, b, c, d = known
    store, _ = store_of(tmp_path, backbone, known, 2.5)
    store.pin(a)
    store.pin(a)
    for key in (a, b):
        store.read(key)
    age(tmp_path, a, b)
    store.read(c)
    assert [store.contains(key) for key in (a, b, c)] == [True, False, True]
    store.unpin(a)
    store.read(b)
    assert store.contains(a)
    store.unpin(a)
    store.read(d)
    assert not store.contains(a)


def test_without_a_source_only_what_can_be_made_again_leaves(
    tmp_path: Path, backbone: Backbone
) -> None:
    store = AdapterStore(tmp_path, backbone, disk_bytes=1)
    keys = [store.put(tiny_adapter(backbone, seed=seed)) for seed in range(3)]
    for key in keys:
        store.packed(key, PLAIN)
    assert all(map(store.contains, keys))
    assert [path.name[:64] for path in tmp_path.glob("*.packed")] == [keys[-1].hex()]


def test_a_store_counts_what_it_finds_and_leaves_other_files(
    tmp_path: Path, backbone: Backbone
) -> None:
    known = images(backbone, 3)
    a, b, c = known
    store, _ = store_of(tmp_path, backbone, known, 9)
    for key in (a, b):
        store.read(key)
    age(tmp_path, a, b)
    strange = [tmp_path / name for name in ("names.json", f"{a.hex()}.safetensors.7-7.part")]
    for path in strange:
        path.write_bytes(bytes(4096))
    again, asked = store_of(tmp_path, backbone, known, 2.5)
    (tmp_path / f"{b.hex()}.safetensors").unlink()  # by a process beside this one
    again.read(c)
    assert asked == [c]
    assert again.contains(c)
    assert all(path.exists() for path in strange)


NAMES = st.integers(0, 5).map(lambda number: bytes([number] * 32))
STEPS = st.one_of(
    st.tuples(st.just("write"), NAMES, st.sampled_from(("safetensors", "x.packed"))),
    st.tuples(st.just("read"), NAMES, st.just("safetensors")),
    st.tuples(st.just("pin"), NAMES, st.just("")),
    st.tuples(st.just("unpin"), NAMES, st.just("")),
)


@given(st.lists(STEPS, max_size=60), st.integers(1, 600))
def test_the_limit_holds_but_for_what_has_to_stay(
    steps: list[tuple[str, bytes, str]], limit: int
) -> None:
    with TemporaryDirectory() as name:
        folder, pins = Path(name), [0] * 6
        disk = DiskLimit(folder, limit, lasting=False)
        for clock, (what, key, ending) in enumerate(steps, 1):
            path = folder / f"{key.hex()}.{ending}"
            if what == "write":
                path.write_bytes(bytes(10 + 20 * key[0]))
                os.utime(path, (clock, clock))
                before = {p.name for p in folder.iterdir()}
                disk.wrote(path.stat().st_size)
                held = {p.name: p.stat().st_size for p in folder.iterdir()}
                stays = {
                    n: size
                    for n, size in held.items()
                    if n.startswith(key.hex())
                    or (n.endswith(".safetensors") and pins[bytes.fromhex(n[:64])[0]])
                }
                assert sum(held.values()) <= limit or held == stays
                gone = before - held.keys()
                assert not any(n.startswith(key.hex()) for n in gone)
                if gone:
                    assert sum(held.values()) <= limit - limit // SPARE or held == stays
            elif what == "read" and path.exists():
                os.utime(path, (clock, clock))
            elif what == "pin":
                disk.pin(key)
                pins[key[0]] += 1
            elif what == "unpin" and pins[key[0]]:
                disk.unpin(key)
                pins[key[0]] -= 1


def test_no_limit_deletes_nothing(tmp_path: Path, backbone: Backbone) -> None:
    known = images(backbone, 3)
    sources: Callable[[bytes], bytes] = known.__getitem__
    store = AdapterStore(tmp_path, backbone, fetch=sources)
    for key in known:
        store.packed(key, PLAIN)
    assert len(list(tmp_path.iterdir())) == 6
