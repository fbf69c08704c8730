from __future__ import annotations

from pathlib import Path

import pytest
import trio
from network_nodes import Street


@pytest.fixture
def street(nursery: trio.Nursery, tmp_path: Path) -> Street:
    return Street(nursery, tmp_path)
