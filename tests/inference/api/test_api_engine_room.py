"""The engine's supervision: what never starts is told at once, what fails later is tried again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from inference.adapters.store import AdapterStore
from inference.api import engine_room
from inference.api.engine_room import ATTEMPTS, EngineRoom
from inference.backbone.model import Backbone
from inference.cpu_executor import CpuExecutor
from inference.executor import Executor
from inference.request import Limits

LIMITS = Limits(pages=8)


class Closed(CpuExecutor):
    closed = 0

    def close(self) -> None:
        Closed.closed += 1


def room(backbone: Backbone, folder: Path, make: Callable[[], Executor]) -> EngineRoom:
    return EngineRoom(backbone, AdapterStore(folder, backbone), LIMITS, executor=make)


async def test_a_device_that_never_works_ends_the_server(
    backbone: Backbone, tmp_path: Path
) -> None:
    tried = []

    def make() -> Executor:
        tried.append(1)
        raise MemoryError("no room for the weights")

    with pytest.RaisesGroup(pytest.RaisesExc(MemoryError, match="no room")):
        async with trio.open_nursery() as nursery:
            await nursery.start(room(backbone, tmp_path, make).run)
    assert len(tried) == 1


async def test_a_device_that_fails_for_good_is_tried_a_few_times_each_in_free_memory(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_room, "_PAUSE", 0.0)
    monkeypatch.setattr(Closed, "closed", 0)
    broken, made, crash = False, 0, MemoryError("the device has failed")

    def make() -> Executor:
        nonlocal made
        made += 1
        assert Closed.closed == made - 1, "the memory of the one before is not given back"
        if broken:
            raise crash
        return Closed(backbone, LIMITS.pages)

    served = room(backbone, tmp_path, make)

    def fail() -> None:
        raise crash

    with pytest.RaisesGroup(MemoryError):
        async with trio.open_nursery() as nursery:
            await nursery.start(served.run)
            for crashes in (1, 2):
                broken = crashes == 2
                first = served._engine
                monkeypatch.setattr(first._runner, "step", fail)  # type: ignore[union-attr]
                first._awaken()  # type: ignore[union-attr]
                while served._engine in (first, None):
                    await trio.sleep(0.01)
                assert served.crashes == crashes
    assert made == 1 + 1 + ATTEMPTS - 1
    assert served.crashes == ATTEMPTS
