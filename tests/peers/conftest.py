from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.peers.environment import transformers_python

HERE = Path(__file__).parent
Script = Callable[..., None]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def script() -> Script:
    """Run a script of this folder where transformers and peft are; nothing is downloaded."""
    python = transformers_python()
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}

    def run(name: str, *arguments: object) -> None:
        command = [str(python), str(HERE / name), *map(str, arguments)]
        done = subprocess.run(
            command, env=os.environ | offline, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"

    return run
