from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from memory_device import PLAIN
from tiny_models import tiny_adapter, tiny_backbone

from inference.adapters.adapter import image_of
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.figures import Origin
from inference.adapters.packed_image import pack_image
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from tests.patience import PATIENCE


def refusal(call: Callable[[], object]) -> AdapterRefused:
    with pytest.raises(AdapterRefused) as caught:
        call()
    return caught.value


def names(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def test_decoded_adapters_stay_within_their_budget(tmp_path: Path, backbone: Backbone) -> None:
    size = tiny_adapter(backbone).size_bytes
    store = AdapterStore(tmp_path, backbone, decoded_bytes=2 * size)
    a, b, c = (store.put(tiny_adapter(backbone, seed=n)) for n in range(3))
    kept = store.adapter(a)
    for key in (b, a, c):
        store.adapter(key)
    assert store.decoded_bytes == 2 * size
    assert store.adapter(a) is kept
    assert store.adapter(b).content_hash == b


def test_an_adapter_larger_than_the_budget_is_still_decoded(
    tmp_path: Path, backbone: Backbone
) -> None:
    store = AdapterStore(tmp_path, backbone, decoded_bytes=0)
    a, b = (store.put(tiny_adapter(backbone, seed=n)) for n in range(2))
    assert store.adapter(a).content_hash == a
    assert store.adapter(b).content_hash == b
    assert store.decoded_bytes == store.adapter(b).size_bytes


def test_what_is_put_is_read_until_it_is_removed(tmp_path: Path, backbone: Backbone) -> None:
    store = AdapterStore(tmp_path, backbone)
    adapter = tiny_adapter(backbone)
    key = store.put(adapter)
    assert store.contains(key)
    assert store.read(key) == image_of(adapter)
    store.adapter(key)
    store.packed(key, PLAIN)
    assert names(tmp_path) == {".safetensors", ".packed"}
    store.remove(key)
    assert list(tmp_path.iterdir()) == []
    assert store.decoded_bytes == 0
    assert refusal(lambda: store.read(key)).reason is AdapterReason.NOT_STORED
    store.remove(key)


def test_a_damaged_image_is_refused(tmp_path: Path, backbone: Backbone) -> None:
    store = AdapterStore(tmp_path, backbone)
    key = store.put(tiny_adapter(backbone))
    file = tmp_path / f"{key.hex()}.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    for call in (store.read, store.adapter, lambda k: store.packed(k, PLAIN)):
        assert refusal(lambda call=call: call(key)).reason is AdapterReason.WRONG_HASH


def test_a_refused_image_is_not_kept(tmp_path: Path, backbone: Backbone) -> None:
    store = AdapterStore(tmp_path, backbone)
    foreign = tiny_adapter(tiny_backbone(seed=2))
    assert (
        refusal(lambda: store.put_image(image_of(foreign), foreign.content_hash)).reason
        is AdapterReason.WRONG_BASE
    )
    assert list(tmp_path.iterdir()) == []
    own = tiny_adapter(backbone)
    assert store.put_image(image_of(own), own.content_hash).content_hash == own.content_hash
    assert own.content_hash in store


def test_a_packed_image_is_kept_and_used_again(tmp_path: Path, backbone: Backbone) -> None:
    store = AdapterStore(tmp_path, backbone)
    adapter = tiny_adapter(backbone)
    key = store.put(adapter)
    first, _ = store.packed(key, PLAIN)
    (tmp_path / f"{key.hex()}.safetensors").unlink()
    second, origin = store.packed(key, PLAIN)
    assert origin is Origin.DISK
    assert torch.equal(first.data, second.data)
    assert torch.equal(first.data, pack_image(adapter, backbone.config, PLAIN).data)
    assert first.layout == second.layout


@pytest.mark.parametrize("damage", ["byte", "head", "name", "cut", "empty", "other"])
def test_a_damaged_packed_file_is_made_anew(
    tmp_path: Path, backbone: Backbone, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = AdapterStore(tmp_path, backbone)
    adapter = tiny_adapter(backbone)
    key = store.put(adapter)
    good, _ = store.packed(key, PLAIN)
    file = next(tmp_path.glob("*.packed"))
    whole = file.read_bytes()
    other = store.put(tiny_adapter(backbone, seed=8))
    store.packed(other, PLAIN)
    swapped = next(tmp_path.glob(f"{other.hex()}*.packed")).read_bytes()
    file.write_bytes(
        {
            "byte": whole[:-1] + bytes([whole[-1] ^ 1]),
            "head": b"?" + whole[1:],
            "name": whole[:8] + b"?" + whole[9:],
            "cut": whole[:-256],
            "empty": b"",
            "other": swapped,
        }[damage]
    )
    with caplog.at_level(logging.WARNING):
        again, _ = store.packed(key, PLAIN)
    assert torch.equal(again.data, good.data)
    assert "made anew" in caplog.text
    assert file.read_bytes() == whole


def test_sources_are_asked_in_order_until_one_answers_rightly(
    tmp_path: Path, backbone: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = tiny_adapter(backbone)
    asked = []

    def absent(content_hash: bytes) -> bytes:
        asked.append("absent")
        raise ConnectionError("no route")

    def corrupted(content_hash: bytes) -> bytes:
        asked.append("corrupted")
        return image_of(adapter)[:-1] + b"\x7f"

    def honest(content_hash: bytes) -> bytes:
        asked.append("honest")
        return image_of(adapter)

    def never(content_hash: bytes) -> bytes:
        raise AssertionError("asked after an answer")

    store = AdapterStore(tmp_path, backbone, fetch=[absent, corrupted, honest, never])
    with caplog.at_level(logging.INFO):
        image, origin = store.packed(adapter.content_hash, PLAIN)
    assert asked == ["absent", "corrupted", "honest"]
    assert origin is Origin.NETWORK
    assert torch.equal(image.data, pack_image(adapter, backbone.config, PLAIN).data)
    assert "no route" in caplog.text
    assert "another image" in caplog.text
    assert adapter.content_hash in store
    assert store.read(adapter.content_hash) == image_of(adapter)
    assert len(asked) == 3


def test_where_no_source_answers_every_reason_is_named(tmp_path: Path, backbone: Backbone) -> None:
    def absent(content_hash: bytes) -> bytes:
        raise KeyError("unheard of")

    store = AdapterStore(tmp_path, backbone, fetch=[absent, lambda content_hash: b"rubbish"])
    found = refusal(lambda: store.read(bytes(32)))
    assert found.reason is AdapterReason.NOT_FETCHED
    assert "unheard of" in found.detail
    assert "another image" in found.detail
    assert list(tmp_path.iterdir()) == []
    assert refusal(lambda: AdapterStore(tmp_path, backbone).read(bytes(32))).reason is (
        AdapterReason.NOT_STORED
    )


def test_an_authentic_image_of_another_base_is_refused(tmp_path: Path, backbone: Backbone) -> None:
    foreign = tiny_adapter(tiny_backbone(seed=2))
    store = AdapterStore(tmp_path, backbone, fetch=lambda content_hash: image_of(foreign))
    assert refusal(lambda: store.read(foreign.content_hash)).reason is AdapterReason.WRONG_BASE
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_image_is_fetched_again(tmp_path: Path, backbone: Backbone) -> None:
    adapter = tiny_adapter(backbone)
    store = AdapterStore(tmp_path, backbone, fetch=lambda content_hash: image_of(adapter))
    key = store.put(adapter)
    (tmp_path / f"{key.hex()}.safetensors").write_bytes(b"damaged")
    assert store.read(key) == image_of(adapter)
    assert (tmp_path / f"{key.hex()}.safetensors").read_bytes() == image_of(adapter)


@pytest.mark.parametrize("works", [True, False])
def test_threads_that_want_one_image_fetch_it_once(
    tmp_path: Path, backbone: Backbone, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = tiny_adapter(backbone)
    asked = []
    begun = threading.Event()
    go = threading.Event()
    waiting = threading.Semaphore(0)

    class Awaited(Future[bytes]):
        def result(self, timeout: float | None = None) -> bytes:
            waiting.release()
            return super().result(timeout)

    monkeypatch.setattr("inference.adapters.sources.Future", Awaited)

    def slow(content_hash: bytes) -> bytes:
        asked.append(content_hash)
        begun.set()
        go.wait(PATIENCE)
        if not works:
            raise ConnectionError("cut off")
        return image_of(adapter)

    store = AdapterStore(tmp_path, backbone, fetch=slow)
    answers: list[bytes | AdapterReason] = []

    def want() -> None:
        try:
            answers.append(store.read(adapter.content_hash))
        except AdapterRefused as refused:
            answers.append(refused.reason)

    threads = [threading.Thread(target=want) for _ in range(6)]
    threads[0].start()
    assert begun.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    for _ in threads[1:]:
        assert waiting.acquire(timeout=PATIENCE)
    go.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(asked) == 1
    assert answers == [image_of(adapter) if works else AdapterReason.NOT_FETCHED] * 6


def test_a_disk_that_cannot_cache_packed_images_only_costs_time(
    tmp_path: Path, backbone: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    store = AdapterStore(tmp_path, backbone)
    key = store.put(tiny_adapter(backbone))
    blocked = (
        tmp_path / f"{key.hex()}.{PLAIN.name}.packed.{os.getpid()}-{threading.get_ident()}.part"
    )
    blocked.mkdir()
    with caplog.at_level(logging.WARNING):
        image, _ = store.packed(key, PLAIN)
    assert image.content_hash == key
    assert "not cached" in caplog.text


def test_what_a_killed_writer_left_goes_when_it_is_old(tmp_path: Path, backbone: Backbone) -> None:
    kept = AdapterStore(tmp_path, backbone).put(tiny_adapter(backbone))
    old, new = tmp_path / "a.1-1.part", tmp_path / "a.2-2.part"
    for partial in (old, new):
        partial.write_bytes(b"half")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    os.utime(tmp_path / f"{kept.hex()}.safetensors", (hours_ago, hours_ago))
    store = AdapterStore(tmp_path, backbone)
    assert (old.exists(), new.exists(), kept in store) == (False, True, True)
