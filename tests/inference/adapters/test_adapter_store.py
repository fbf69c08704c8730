from __future__ import annotations

import gc
import threading
from pathlib import Path

import psutil
import pytest
from tiny_models import tiny_adapter, tiny_backbone

from inference.adapters.adapter import image_of
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone


def size_of_one(folder: Path, backbone: Backbone) -> int:
    store = AdapterStore(folder / "measure", backbone)
    with store.pinned(store.put(tiny_adapter(backbone))):
        return store.resident_bytes


def test_the_least_recently_used_adapter_leaves_first(tmp_path: Path, backbone: Backbone) -> None:
    store = AdapterStore(tmp_path, backbone, budget_bytes=2 * size_of_one(tmp_path, backbone))
    a, b, c = (store.put(tiny_adapter(backbone, seed=n)) for n in range(3))
    for key in (a, b, a, c):
        store.adapter(key)
    assert store.resident == (a, c)
    assert b in store


def test_a_pinned_adapter_stays_and_a_full_store_says_so(
    tmp_path: Path, backbone: Backbone
) -> None:
    store = AdapterStore(tmp_path, backbone, budget_bytes=size_of_one(tmp_path, backbone))
    a, b = (store.put(tiny_adapter(backbone, seed=n)) for n in range(2))
    with store.pinned(a) as packed:
        with pytest.raises(AdapterRefused) as caught:
            store.acquire(b)
        assert caught.value.reason is AdapterReason.STORE_FULL
        with pytest.raises(AdapterRefused):
            store.remove(a)
        assert store.acquire(a) is packed
        store.release(a)
    with store.pinned(b):
        assert store.resident == (b,)
    with pytest.raises(ValueError, match="acquire"):
        store.release(b)
    store.remove(b)
    assert (store.resident, store.resident_bytes, b in store) == ((), 0, False)


def test_unknown_and_changed_images_are_refused(tmp_path: Path, backbone: Backbone) -> None:
    store = AdapterStore(tmp_path, backbone)
    with pytest.raises(AdapterRefused) as caught:
        store.acquire(bytes(32))
    assert caught.value.reason is AdapterReason.NOT_STORED
    key = store.put(tiny_adapter(backbone))
    file = tmp_path / f"{key.hex()}.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(AdapterRefused) as caught:
        store.acquire(key)
    assert caught.value.reason is AdapterReason.WRONG_HASH


def test_a_refused_image_is_not_kept(tmp_path: Path, backbone: Backbone) -> None:
    store = AdapterStore(tmp_path, backbone)
    foreign = tiny_adapter(tiny_backbone(seed=2))
    with pytest.raises(AdapterRefused):
        store.put_image(image_of(foreign), foreign.content_hash)
    assert list(tmp_path.iterdir()) == []
    own = tiny_adapter(backbone)
    assert store.put_image(image_of(own), own.content_hash).content_hash == own.content_hash
    assert own.content_hash in store


def test_threads_may_share_a_store(tmp_path: Path, backbone: Backbone) -> None:
    store = AdapterStore(tmp_path, backbone, budget_bytes=4 * size_of_one(tmp_path, backbone))
    keys = [store.put(tiny_adapter(backbone, seed=n)) for n in range(6)]
    failures: list[BaseException] = []

    def work(offset: int) -> None:
        try:
            for n in range(40):
                with store.pinned(keys[(n + offset) % 6]) as packed:
                    assert packed.layers
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_thousand_loads_and_evictions_do_not_grow(tmp_path: Path, backbone: Backbone) -> None:
    store = AdapterStore(tmp_path, backbone, budget_bytes=2 * size_of_one(tmp_path, backbone))
    keys = [store.put(tiny_adapter(backbone, seed=n)) for n in range(5)]
    process = psutil.Process()

    def cycle(times: int) -> int:
        for n in range(times):
            with store.pinned(keys[n % 5]):
                pass
        gc.collect()
        return process.memory_info().rss

    before = cycle(200)
    after = cycle(1000)
    assert len(store.resident) == 2
    assert after - before < 8 << 20
