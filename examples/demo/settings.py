"""What a run of the demo does, and where it keeps its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from examples.demo.people import VALIDATORS, worker_uri
from genesis.base_model import OPEN_NANO
from genesis.presets import development, local_network
from genesis.spec import ChainSpec, Genesis
from genesis.validators import validator_suri
from node.localnet.free_ports import free_ports
from node.localnet.leash import leashed
from node.localnet.plan import Member, Ports, node_command, validator_name, worker_command
from runtime.protocols.price import Price

OPEN = 10**18
WINDOWS = (10, 8, 3, 20)
"""Twice as long as the preset's where somebody computes, for machines that are busy."""
SLOW_WINDOWS = (30, 8, 3, 20)
"""Where several workers of one machine judge at the same time, they take longer."""
DATANETS = ("manuals", "licences", "python")


@dataclass(frozen=True, slots=True)
class Settings:
    """A run; amounts in planck. validators: 1 to 6, each with a node and a worker."""

    folder: Path = Path("build/demo")
    validators: int = 1
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
    """Blocks to commit, reveal, dispute and submit; by default longer ones where several
    validators judge."""

    @property
    def model_name(self) -> str:
        """What the model is called on chain."""
        return f"{'-'.join(self.trained_on)}-writer"

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.folder / "logs"


def chain(settings: Settings) -> ChainSpec:
    """Return the demo's chain: a development chain, with the windows that the settings name."""
    alone = settings.validators == 1
    spec = development() if alone else local_network(settings.validators)
    windows = settings.windows or (WINDOWS if alone else SLOW_WINDOWS)
    state = {**(spec.genesis.runtime or {}), "inference": {"windows": [*windows]}}
    return spec.model_copy(update={"genesis": Genesis(runtime=state)})


def members(settings: Settings) -> tuple[Member, ...]:
    """Plan the validators' nodes, on ports that are free now."""
    found = []
    free = free_ports()
    for place in range(settings.validators):
        name = "node" if place == 0 else f"node-{validator_name(place)}"
        ports = Ports(*islice(free, 4))
        found.append(Member(name, settings.folder / name, ports, validator_suri(place)))
    return tuple(found)


def node_commands(settings: Settings, planned: Sequence[Member]) -> list[list[str]]:
    """Return how the nodes are run; a single one meets nobody."""
    path = settings.folder / "chain.json"
    alone = ("--no-network",) if len(planned) == 1 else ()
    entry = planned[0].address(chain(settings))
    return [
        node_command(
            member, path, (entry,) if place else (), "--no-prometheus", *alone, init_log=True
        )
        for place, member in enumerate(planned)
    ]


def worker_commands(settings: Settings, planned: Sequence[Member]) -> list[list[str]]:
    """Return how the workers are run, one for each validator, which registers it."""
    return [
        worker_command(
            member,
            settings.folder / worker_name(place),
            "--key-uri",
            worker_uri(VALIDATORS[place]),
        )
        for place, member in enumerate(planned)
    ]


def worker_name(place: int) -> str:
    """Name a validator's worker; the first one executes, the others judge."""
    return "worker" if place == 0 else f"worker-{validator_name(place)}"


def train_command(settings: Settings, node: str, datanets: list[str]) -> list[str]:
    """Return how the adapter is trained; `datanets` are ID:VERSION."""
    chosen = [part for datanet in datanets for part in ("--datanet", datanet)]
    out = str(settings.folder / "model")
    return leashed(
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
