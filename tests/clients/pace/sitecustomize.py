"""Paces the engines of a program that a test starts: Python runs this file where it finds it.

Under a hold, a file that names itself and a number of steps, an engine computes so many steps and
no more until the file is gone. However slow the test is, what it meets is then still under way.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

HOLD = Path(os.environ["OPENLEDGER_TEST_HOLD"])
GRACE_SECONDS = 60.0
"""So long a stream waits under a hold before it begins without a first token."""


class Finder:
    """Finds the modules that are paced as others do, and changes them once they are loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = CHANGES.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def changed(module: ModuleType) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = changed  # type: ignore[method-assign]
        return spec


def pace(module: Any) -> None:
    """Have runners begin steps as the hold allows."""
    begin = module.Runner._begin
    known, left = "", 0

    def held(self: Any, works: Any) -> Any:
        nonlocal known, left
        while hold := read():
            if hold != known:
                known, left = hold, int(hold.split()[1])
            if left > 0:
                left -= 1
                break
            time.sleep(0.005)
        return begin(self, works)

    module.Runner._begin = held


def wait(module: Any) -> None:
    """Have what is refused before its first token have its HTTP status, however late that is."""
    module.GRACE_SECONDS = GRACE_SECONDS


def read() -> str:
    """Return what the hold says; nothing without one."""
    try:
        return HOLD.read_text()
    except FileNotFoundError:
        return ""


CHANGES = {"inference.runner": pace, "inference.api.reply": wait}
sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
