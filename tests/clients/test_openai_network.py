"""Adapters from the network: through a node that asks its peers, verified, past a damaged copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import trio

from inference.backbone.model import Backbone
from inference.worker.artifact import read_artifact
from inference.worker.dataset import fetch_dataset
from inference.worker.node_view import NodeView
from node.client.rpc import NodeClient
from node.paths import ChainPaths
from runtime.primitives.hashing import blake2_256
from tests.clients.conftest import HERE, flow
from tests.clients.serve_process import KEY, serving
from tests.e2e.live_market import BOB, CHARLIE, Live, launch, publish
from tests.e2e.network_world import SETTLING, Node, World, network, wait_until
from tests.e2e.test_committee_across_nodes import trained
from tests.inference.tiny_models import save_checkpoint, tiny_config, tiny_tensors

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RECORDS = {
    BOB: (("What is the capital of France?", "Paris."), ("Of Italy?", "Rome.")),
    CHARLIE: (("What is the capital of Peru?", "Lima."), ("Of Cuba?", "Havana.")),
}


@dataclass(frozen=True)
class Launched:
    """A network on which a model was launched, and what its adapter and its artifact are."""

    world: World
    base: Path
    blob: bytes
    adapter: bytes

    def copy(self, node: Node) -> Path:
        """Return where a node keeps the artifact."""
        name = blake2_256(self.blob).hex()
        folder = ChainPaths.of(node.member.folder, self.world.spec.id).blobs
        return folder / name[:2] / name


async def launch_model(url: str, base: Path) -> tuple[bytes, bytes]:
    """Publish records, train on them, launch; returns the artifact and the adapter's hash."""
    backbone = Backbone.load(base)
    async with NodeClient.connect(url) as client:
        live = Live(client)
        datanet = await publish(live, RECORDS)
        dataset = await fetch_dataset(NodeView(client), datanet)
        blob = await trio.to_thread.run_sync(trained, backbone, dataset)
        await launch(live, datanet, blob)
    return blob, read_artifact(blob).declared().roots.model


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("network")
    base = save_checkpoint(folder / "base", tiny_tensors(tiny_config()))
    with network(folder / "world", 1) as world:
        blob, adapter = trio.run(launch_model, world[0].member.url, base)
        yield Launched(world, base, blob, adapter)


def follower(launched: Launched, name: str, *options: str) -> Node:
    """Start a node that follows, and wait until it knows the launch."""
    node = launched.world.add(name)
    launched.world.start(node, *options)
    target = launched.world[0].final
    wait_until(lambda: node.final >= target, SETTLING, f"{name} follows", launched.world)
    return node


def ask_through(
    launched: Launched, folder: Path, openai_client: Path, *nodes: Node
) -> tuple[dict[str, Any], str]:
    """Ask a new server for the adapter; returns what its customer saw, and its log."""
    store = folder / "store"
    options = [word for node in nodes for word in ("--node", node.member.url)]
    with serving(folder, *options, "--store", str(store), base=launched.base) as server:
        script = str(HERE / "py" / "openai_fetch_flow.py")
        model = f"0x{launched.adapter.hex()}"
        seen = flow([str(openai_client), script, server.url, KEY, model], HERE)
    (kept,) = store.glob("*.safetensors")
    assert blake2_256(kept.read_bytes()) == launched.adapter
    return seen, server.log.read_text()


def check(seen: dict[str, Any]) -> None:
    assert len(set(seen["fetched"])) == 1
    assert seen["fetched"][0] != seen["beside"]
    assert seen["unknown"] == "not_fetched"


def test_an_adapter_never_seen_before_comes_from_a_peer(
    launched: Launched, openai_client: Path, tmp_path: Path
) -> None:
    fresh = follower(launched, "fresh", "--blobs", "none")
    assert not launched.copy(fresh).exists()
    seen, log = ask_through(launched, tmp_path / "run", openai_client, fresh)
    check(seen)
    assert launched.copy(fresh).read_bytes() == launched.blob
    assert log.count("adapter fetched") == 1


def test_a_damaged_copy_is_refused_by_its_hash_and_the_next_node_is_asked(
    launched: Launched, openai_client: Path, tmp_path: Path
) -> None:
    second = follower(launched, "second")
    copy = launched.copy(second)
    wait_until(copy.exists, SETTLING, "the artifact reaches the second node", launched.world)
    damaged = bytearray(launched.blob)
    damaged[-9] ^= 1
    copy.write_bytes(damaged)
    seen, log = ask_through(launched, tmp_path / "run", openai_client, second, launched.world[0])
    check(seen)
    assert "the node sent other bytes" in log
    assert log.count("adapter fetched") == 1


def test_peers_past_a_damaged_copy_give_a_node_what_it_lacks(
    launched: Launched, openai_client: Path, tmp_path: Path
) -> None:
    damaged = follower(launched, "damaged")
    copy = launched.copy(damaged)
    wait_until(copy.exists, SETTLING, "the artifact reaches the node", launched.world)
    copy.write_bytes(launched.blob[:-9] + bytes(9))
    third = follower(launched, "third", "--blobs", "none")
    seen, _ = ask_through(launched, tmp_path / "run", openai_client, third)
    check(seen)
    assert launched.copy(third).read_bytes() == launched.blob
