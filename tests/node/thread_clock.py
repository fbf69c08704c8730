"""A clock for tests of what works in threads, too."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock


def clock_beside_threads(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """Make a clock that jumps to the next deadline where all tasks wait and no thread works.

    A slow disk or a busy machine then takes no time at all: no limit runs out because of it.
    """
    clock = MockClock(autojump_threshold=0)
    run_sync = trio.to_thread.run_sync
    working = 0

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal working
        working += 1
        clock.autojump_threshold = inf
        try:
            return await run_sync(*arguments, **options)
        finally:
            working -= 1
            if not working:
                clock.autojump_threshold = 0

    monkeypatch.setattr(trio.to_thread, "run_sync", counted)
    return clock
