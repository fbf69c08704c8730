from __future__ import annotations

from pathlib import Path

import pytest
import trio
from network_nodes import Street
from trio.testing import MockClock


@pytest.fixture
def idle_clock() -> MockClock:
    """Let time go on only while all wait: then no delay of the machine's runs into a limit."""
    return MockClock(autojump_threshold=0.02)


@pytest.fixture
def street(nursery: trio.Nursery, tmp_path: Path) -> Street:
    return Street(nursery, tmp_path)
