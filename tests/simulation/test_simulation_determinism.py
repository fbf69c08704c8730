"""One seed is one history."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.simulation.actors import ACTORS
from tests.simulation.draw import draw
from tests.simulation.scenario import play

ROOT = Path(__file__).parents[2]
SEEDS = range(40, 52)
PROGRAM = """
from tests.simulation.actors import ACTORS
from tests.simulation.draw import draw
from tests.simulation.scenario import play
print(*(play(draw(seed, tuple(ACTORS))).digest for seed in range(40, 52)))
"""


def _digests() -> list[str]:
    return [play(draw(seed, tuple(ACTORS))).digest for seed in SEEDS]


def test_the_same_seed_gives_the_same_history_twice() -> None:
    assert _digests() == _digests()


def test_histories_do_not_depend_on_how_python_hashes() -> None:
    found = []
    for salt in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(run.stdout.split())
    assert found == [_digests(), _digests()]


def test_other_seeds_give_other_histories() -> None:
    assert len(set(_digests())) == len(SEEDS)
