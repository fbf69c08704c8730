"""A process that serves lets its threads take turns, and spares the collector what is loaded."""

from __future__ import annotations

import gc
import sys

import pytest

from inference import serving_process


def test_what_lives_is_not_looked_at_again() -> None:
    kept: list[object] = [[]]
    before = sys.getswitchinterval()
    try:
        serving_process.settle()
        looked_at = {id(thing) for thing in gc.get_objects()}
        assert gc.get_freeze_count() > 1000
        assert sys.getswitchinterval() == pytest.approx(serving_process.SWITCH_SECONDS)
        assert id(kept) not in looked_at
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)
