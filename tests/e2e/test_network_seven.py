"""Seven validators: two may be gone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.network_world import agree, grows, network

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_five_of_seven_go_on(tmp_path: Path) -> None:
    with network(tmp_path / "seven", 7, block_interval_ms=800, delta_ms=300) as world:
        for node in world.nodes[5:]:
            node.kill()
        seconds = grows(world, world.nodes[:5], 4)
        agree(world.nodes[:5])
        sys.stderr.write(f"five of seven: four more blocks were final after {seconds:.1f} s")
