"""What a run of the demo does, and where it keeps its files."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from examples.demo.people import VALIDATOR, WORKER_URI
from genesis.base_model import OPEN_NANO
from genesis.presets import development
from genesis.spec import ChainSpec, Genesis
from runtime.protocols.price import Price

OPEN = 10**18
AUTHORITY_URI = "//Alice"
"""Secret of the consensus key in the development preset."""
DATANETS = ("manuals", "licences", "python")


@dataclass(frozen=True, slots=True)
class Settings:
    """A run; amounts in planck."""

    folder: Path = Path("build/demo")
    trained_on: tuple[str, ...] = ("licences",)
    records_each: int | None = None
    """Records that each contributor submits; all by default."""
    prompts: int = 3
    max_tokens: int = 64
    train_options: tuple[str, ...] = ()
    price: Price = field(default=Price(OPEN // 1000, 2 * OPEN // 1000, 4 * OPEN // 1000))
    escrow: int = 5 * OPEN
    max_fee: int = OPEN
    ttl: int = 600
    windows: tuple[int, int, int, int] | None = None
    """Blocks to commit, reveal, dispute and submit; the development preset's by default."""

    @property
    def model_name(self) -> str:
        """What the model is called on chain."""
        return f"{'-'.join(self.trained_on)}-writer"

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.folder / "logs"


def openledger(*arguments: str) -> list[str]:
    """Return the command line of `openledger` in this Python."""
    return [sys.executable, "-m", "node.cli.main", *arguments]


def chain(settings: Settings) -> ChainSpec:
    """Return the demo's chain: the development preset, with the windows that the settings name."""
    spec = development()
    if settings.windows is None:
        return spec
    state = {**(spec.genesis.runtime or {}), "inference": {"windows": [*settings.windows]}}
    return spec.model_copy(update={"genesis": Genesis(runtime=state)})


def node_command(settings: Settings, port: int) -> list[str]:
    """Return how the node is run: a development chain that keeps its data."""
    return openledger(
        "node",
        "--chain",
        str(settings.folder / "chain.json"),
        "--validator",
        "--init-log",
        "--suri",
        AUTHORITY_URI,
        "--base-path",
        str(settings.folder / "node"),
        "--rpc-port",
        str(port),
        "--no-prometheus",
    )


def worker_command(settings: Settings, node: str, port: int) -> list[str]:
    """Return how the worker is run; it registers itself with the validator's key."""
    return openledger(
        "worker",
        "--node",
        node,
        "--base",
        str(OPEN_NANO),
        "--key-uri",
        WORKER_URI,
        "--validator-uri",
        f"//{VALIDATOR}",
        "--base-path",
        str(settings.folder / "worker"),
        "--port",
        str(port),
        "--endpoint",
        f"http://127.0.0.1:{port}",
    )


def train_command(settings: Settings, node: str, datanets: list[str]) -> list[str]:
    """Return how the adapter is trained; `datanets` are ID:VERSION."""
    chosen = [part for datanet in datanets for part in ("--datanet", datanet)]
    out = str(settings.folder / "model")
    return openledger(
        "train",
        *chosen,
        "--node",
        node,
        "--base",
        str(OPEN_NANO),
        "--name",
        settings.model_name,
        "--out",
        out,
        *settings.train_options,
    )
