"""The unmodified api-sidecar as a process: what it answers over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Node, node_program
from tests.patience import PATIENCE
from tests.ports import free_port

PROGRAM = Path("node_modules/@substrate/api-sidecar/build/src/main.js")


@dataclass(frozen=True)
class Answer:
    """A status and the JSON that came with it."""

    status: int
    body: Any


@dataclass(frozen=True)
class Sent:
    """An extrinsic that was submitted, and the last block that was final before."""

    hash: str
    after: int


@dataclass(frozen=True)
class Sidecar:
    """A REST service that runs."""

    port: int

    def get(self, route: str) -> Any:
        """Ask a route that has to answer."""
        answer = self.ask(route)
        assert answer.status == 200, f"{route}: {answer}"
        return answer.body

    def ask(self, route: str, body: object = None) -> Answer:
        """Ask a route: GET, or POST where there is a body."""
        sent = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{route}",
            None if body is None else json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(sent, timeout=PATIENCE) as response:
                return Answer(response.status, json.load(response))
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, json.load(refusal))

    def head(self) -> int:
        """Return the number of the last finalised block."""
        return int(self.get("/blocks/head")["number"])

    def finalized_with(self, sent: Sent) -> tuple[Any, Any]:
        """Wait for the finalised block that holds an extrinsic; returns both."""
        number = sent.after + 1
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if number > self.head():
                time.sleep(0.2)
                continue
            block = self.get(f"/blocks/{number}")
            found = [x for x in block["extrinsics"] if x["hash"] == sent.hash]
            if found:
                return block, found[0]
            number += 1
        pytest.fail(f"no block has the extrinsic {sent.hash}")


@contextmanager
def running_sidecar(folder: Path, node: Node, log: Path) -> Iterator[Sidecar]:
    """Start the service in a process of its own."""
    running = Sidecar(free_port())
    settings = {
        "SAS_SUBSTRATE_URL": node.websocket,
        "SAS_EXPRESS_BIND_HOST": "127.0.0.1",
        "SAS_EXPRESS_PORT": str(running.port),
        "SAS_LOG_LEVEL": "error",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [node_program(), str(PROGRAM)],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=os.environ | settings,
        )
        try:
            _wait_for_answers(running, process, log)
            yield running
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _wait_for_answers(running: Sidecar, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            running.get("/node/version")
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"api-sidecar does not answer:\n{log.read_text()}")
