"""`openledger serve` in a process of its own, on open-nano with adapters made for tests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from genesis.base_model import OPEN_NANO
from inference.adapters.peft import save_peft
from inference.backbone.model import Backbone
from tests.clients.conftest import HERE, ROOT
from tests.inference.tiny_models import tiny_adapter
from tests.patience import PATIENCE

KEY, OTHER_KEY, ADMIN_KEY = "sk-of-alice-1", "sk-of-bob-22", "sk-of-the-operator"
KEYS = f"# of these tests\nalice:{KEY}\nbob:{OTHER_KEY}\nops:{ADMIN_KEY} admin\n"


STARTING = 300
"""Seconds in which even a cluster of Ray has started; a limit against hanging."""


@dataclass(frozen=True)
class Serving:
    """A server that runs."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    hold: Path
    """A file under which engines compute so many steps and no more (`pace/sitecustomize.py`)."""

    def get(self, path: str, key: str | None = None) -> Any:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"{self.url}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def figures(self) -> dict[str, float]:
        """Read all figures, by name and labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as response:
            text = response.read().decode()
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#"]
        return {name: float(value) for name, value in lines}

    def until_idle(self) -> None:
        """Wait until nothing is computed."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            health = self.get("/health")
            if not health["running"] and not health["waiting"]:
                return
            time.sleep(0.02)
        pytest.fail(f"the engine is still busy: {self.get('/health')}")


def write_adapters(folder: Path, backbone: Backbone, ranks: dict[str, int]) -> Path:
    """Write random adapters, each a PEFT folder."""
    for seed, (name, rank) in enumerate(ranks.items(), 3):
        adapter = tiny_adapter(backbone, rank=rank, seed=seed)
        save_peft(adapter, folder / name, "open-nano")
    return folder


@contextmanager
def serving(folder: Path, *options: str, base: Path = OPEN_NANO) -> Iterator[Serving]:
    """Run a server for the length of a block; it has to stop in order at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    keys, log = folder / "keys", folder / "log"
    keys.write_text(KEYS)
    hold = folder.resolve() / "hold"
    environment = os.environ | {
        "PYTHONPATH": str(HERE / "pace"),
        "OPENLEDGER_TEST_HOLD": str(hold),
        "RAY_memory_monitor_refresh_ms": "0",  # others fill this machine's memory, too
    }
    command = [str(Path(sys.executable).with_name("openledger")), "serve", "--base", str(base)]
    command += ["--port", "0", "--api-keys", str(keys), *options]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=environment
        ) as process,
    ):
        try:
            yield Serving(_address(process, log), process, log, hold)
        finally:
            hold.unlink(missing_ok=True)
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                status = process.wait(PATIENCE)
            finally:
                process.kill()
    assert status == 0, log.read_text()
    assert "Traceback" not in log.read_text(), log.read_text()
    assert not re.search(r" ERROR ", log.read_text()), log.read_text()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until a server serves, and return the address that it tells."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        if told := re.search(r"server serves address=(\S+) ", log.read_text()):
            return told[1]
        time.sleep(0.1)
    pytest.fail(f"the server does not serve:\n{log.read_text()}")
