from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[3] / "build" / "cache"
REQUIREMENT = "substrate-interface==1.8.1"
WHEEL = "substrate_interface-1.8.1-*.whl"
MEMBER = "substrateinterface/data/chainspecs/kusama.json"


def kusama_wheel() -> Path:
    """Return the wheel that carries Kusama's raw chain spec, downloading it the first time."""
    found = sorted(CACHE.glob(WHEEL))
    if not found:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", str(CACHE), REQUIREMENT]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = sorted(CACHE.glob(WHEEL))
        if done.returncode or not found:
            pytest.fail(
                f"Kusama's chain spec cannot be had: downloading {REQUIREMENT} from the package "
                f"index failed. Go online once, or put the wheel into {CACHE}.\n{done.stderr}"
            )
    return found[0]


@pytest.fixture(scope="session")
def kusama_spec() -> dict[bytes, bytes]:
    """Kusama's genesis: every storage entry of the raw chain spec."""
    with zipfile.ZipFile(kusama_wheel()) as wheel:
        spec = json.loads(wheel.read(MEMBER))
    top = spec["genesis"]["raw"]["top"]
    return {bytes.fromhex(key[2:]): bytes.fromhex(value[2:]) for key, value in top.items()}
