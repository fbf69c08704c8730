"""Uploads against a line of copies that runs only when it is told to."""

from __future__ import annotations

import gc
import itertools
import weakref

import pytest
import torch
from torch import Tensor

from inference.adapters.image_layout import ImageLayout
from inference.adapters.packed_image import PackedImage, pack_image
from inference.arena import ALIGN, Extent, Move
from inference.cuda.lane import Mark
from inference.cuda.memory import DeviceMemory
from inference.cuda.pinned import PinnedHost, PinnedRing
from inference.cuda.transfers import ImageUpload, Transfers, _Order, parts_of
from tests.inference.cuda.device_world import CPU, cpu_executor, place
from tests.inference.tiny_models import tiny_adapter, tiny_backbone


class LateMark:
    def __init__(self, lane: LateLane, at: int) -> None:
        self._lane, self._at = lane, at
        self.held = False

    @property
    def done(self) -> bool:
        return self._lane.ran >= self._at

    def wait(self) -> None:
        self._lane.run(self._at - self._lane.ran)

    def hold(self) -> None:
        self.held = True
        self.wait()


class LateLane:
    """Enqueues copies; `run` performs the oldest ones."""

    def __init__(self) -> None:
        self.queue: list[tuple[Tensor, Tensor]] = []
        self.ran = 0
        self.behind: list[Mark] = []

    def behind_steps(self) -> Mark:
        return LateMark(self, 0)

    def follow(self, mark: Mark) -> None:
        self.behind.append(mark)

    def copy(self, target: Tensor, source: Tensor) -> None:
        self.queue.append((target, source))

    def mark(self) -> LateMark:
        return LateMark(self, len(self.queue))

    def run(self, count: int) -> None:
        for target, source in self.queue[self.ran : self.ran + count]:
            target.copy_(source)
        self.ran += count


def image(count: int = 6, **spec: object) -> tuple[PackedImage, DeviceMemory]:
    backbone = tiny_backbone(num_hidden_layers=count)
    memory = DeviceMemory.allocate(backbone.config, 64, torch.bfloat16, CPU)
    return pack_image(tiny_adapter(backbone, **spec), backbone.config, memory.packing), memory


def test_parts_cover_an_image_and_end_between_layers() -> None:
    for layers, parts in ((2, 2), (6, 6), (20, 8)):
        packed, _ = image(layers)
        cut = parts_of(packed.layout)
        assert len(cut) == parts
        assert cut[0].start == 0
        assert cut[-1].end == packed.size_bytes
        assert all(one.end == two.start for one, two in itertools.pairwise(cut))
        for layer in range(layers):
            last = [part for part in cut if part.layer <= layer][-1]
            entries = packed.layout.entries[4 * layer : 4 * layer + 4]
            assert all(entry is None or entry.a < last.end for entry in entries)


def test_parts_of_an_adapter_of_some_layers_may_be_empty() -> None:
    packed, _ = image(6, layers=frozenset({0, 1}))
    cut = parts_of(packed.layout)
    assert cut[-1].end == packed.size_bytes
    assert cut[-1].start == packed.size_bytes


def test_an_upload_is_ready_at_once_and_done_when_its_last_copy_has_ended() -> None:
    packed, memory = image()
    lane = LateLane()
    transfers = Transfers(memory.bytes, lane, PinnedRing(CPU))
    upload = transfers.upload(packed, Extent(512, packed.size_bytes))
    assert upload.ready
    assert not upload.done
    assert lane.behind, "the copies start behind the steps that were enqueued before"
    lane.run(len(lane.queue) - 1)
    assert not upload.done
    lane.run(1)
    assert upload.done
    assert torch.equal(memory.bytes[512 : 512 + packed.size_bytes], packed.data)
    assert transfers.arriving([512]) == []


def test_a_layer_waits_for_its_own_part_only() -> None:
    packed, memory = image(6)
    lane = LateLane()
    transfers = Transfers(memory.bytes, lane, PinnedRing(CPU))
    transfers.upload(packed, Extent(0, packed.size_bytes))
    (arriving,) = transfers.arriving([0, 4096])
    waited = []
    for layer in range(6):
        arriving.hold(layer)
        waited.append(lane.ran)
    assert waited == [1, 2, 3, 4, 5, 6]
    assert torch.equal(memory.bytes[: packed.size_bytes], packed.data)


def test_a_move_follows_the_copies_and_may_overlap_itself() -> None:
    packed, memory = image()
    lane = LateLane()
    transfers = Transfers(memory.bytes, lane, PinnedRing(CPU))
    size = packed.size_bytes
    transfers.upload(packed, Extent(1024, size))
    transfers.move(Move(Extent(1024, size), Extent(256, size)))
    assert lane.ran == len(lane.queue)
    assert torch.equal(memory.bytes[256 : 256 + size], packed.data)


def test_the_ring_uses_a_slot_again_only_behind_its_copy() -> None:
    lane = LateLane()
    ring = PinnedRing(CPU, slots=3, slot_bytes=100)
    source = torch.randint(0, 255, (1234,), dtype=torch.uint8)
    target = torch.zeros(1234, dtype=torch.uint8)
    ring.send(lane, source, target)
    assert 1234 // 100 - 3 <= lane.ran < len(lane.queue)
    lane.run(len(lane.queue) - lane.ran)
    assert torch.equal(source, target)


def test_pinned_ranges_come_back_when_their_tensors_are_dropped() -> None:
    host = PinnedHost(CPU, 10 * ALIGN)
    lent = [host(3 * ALIGN - 5) for _ in range(3)]
    assert host.free_bytes == ALIGN
    outside = host(2 * ALIGN)
    starts = {tensor.data_ptr() for tensor in lent}
    assert len(starts) == 3
    assert outside.numel() == 2 * ALIGN
    lent.pop(1)
    assert host.free_bytes == 4 * ALIGN
    again = host(3 * ALIGN)
    assert again.data_ptr() in starts
    del lent, again
    assert host.free_bytes == 10 * ALIGN


def test_pinned_blocks_are_powers_of_two_and_nothing_lies_in_two_of_them() -> None:
    host = PinnedHost(CPU, 7 * ALIGN, least=2 * ALIGN)
    assert host.free_bytes == 7 * ALIGN
    four, two, one = host(4 * ALIGN), host(2 * ALIGN), host(ALIGN)
    sizes = [lent.untyped_storage().nbytes() for lent in (four, two, one)]
    assert sizes == [4 * ALIGN, 2 * ALIGN, ALIGN]
    assert host.free_bytes == 0
    del four, two, one
    assert host.free_bytes == 7 * ALIGN
    outside = host(5 * ALIGN)
    assert outside.untyped_storage().nbytes() == 5 * ALIGN
    assert host.free_bytes == 7 * ALIGN


def test_an_upload_holds_nothing_twice() -> None:
    marks = [LateMark(LateLane(), 0) for _ in range(2)]
    layout = ImageLayout((None,) * 8, 512)
    upload = ImageUpload(parts_of(layout))
    assert not upload.ready
    for mark in marks:
        upload.marked(mark)
    upload.hold(0)
    assert [mark.held for mark in marks] == [True, False]
    marks[0].held = False
    upload.hold(None)
    assert [mark.held for mark in marks] == [False, True]


class BrokenLane(LateLane):
    def copy(self, target: Tensor, source: Tensor) -> None:
        raise RuntimeError("the device has failed")


def test_a_copy_that_fails_on_the_staging_thread_is_told_to_who_waits() -> None:
    packed, memory = image()
    transfers = Transfers(memory.bytes, BrokenLane(), PinnedRing(CPU))
    parts = parts_of(packed.layout)
    uploads = [ImageUpload(parts) for _ in range(2)]
    transfers._start_stager()
    for upload in uploads:
        target = memory.bytes[: packed.size_bytes]
        transfers._orders.put(_Order(upload, parts, packed.data, target, LateMark(LateLane(), 0)))
    transfers.close()
    for upload in uploads:
        with pytest.raises(RuntimeError, match="cannot be copied") as told:
            _ = upload.done
        assert "the device has failed" in str(told.value.__cause__)


def test_transfers_end_behind_their_copies() -> None:
    packed, memory = image()
    lane = LateLane()
    transfers = Transfers(memory.bytes, lane, PinnedRing(CPU))
    upload = transfers.upload(packed, Extent(0, packed.size_bytes))
    transfers.close()
    assert upload.done


def test_a_closed_executor_keeps_its_numbers_and_nothing_else() -> None:
    backbone = tiny_backbone()
    executor = cpu_executor(backbone)
    told = executor.pages, executor.shape, executor.packing, executor.identity
    place(executor, tiny_adapter(backbone), 0)
    memory = weakref.ref(executor._transfers._memory)
    gc.collect()
    gc.disable()
    try:
        executor.close()
        executor.close()
        assert memory() is None
    finally:
        gc.enable()
    assert (executor.pages, executor.shape, executor.packing, executor.identity) == told
