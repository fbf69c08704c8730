"""A sync that is killed at any moment goes on from what is on the disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from node.chain import Chain
from node.storage.layout import STAGED, STAGED_NODE, STAGED_STATE
from node.sync.snapshot import SnapshotSync
from node.sync.trail import Checkpoint
from runtime.state.trie import build
from tests.node.sync.world import (
    Peer,
    Peers,
    Source,
    assert_same_head,
    columns,
    node_counts,
    open_chain,
)

ROOT = Path(__file__).parents[3]


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.sync.serving.RANGE_BYTES", 3000)
    monkeypatch.setattr("node.storage.switching.MOVED_AT_ONCE", 60)
    monkeypatch.setattr("node.storage.staging.CLEARED_AT_ONCE", 60)


async def make_source(path: Path) -> Source:
    source = Source(open_chain(path))
    await source.grow(15)
    return source


def sync(chain: Chain, peers: Peers, source: Source) -> SnapshotSync:
    return SnapshotSync(chain, peers, source.trust(), pause=0.01)


def assert_whole(chain: Chain, source: Source) -> None:
    assert_same_head(chain, source.chain)
    assert columns(chain, STAGED) == {}
    state = dict(chain.state_at(chain.finalized().hash).iterate(b""))
    assert node_counts(chain) == {h: n for h, (_, n) in build(state).inserted.items()}


def following(chain: Chain) -> bytes:
    reached = chain.staging().progress().following
    return b"\xff" if reached is None else reached


async def test_a_kill_before_any_request_costs_no_more_than_that_request(tmp_path: Path) -> None:
    source = await make_source(tmp_path / "source")
    whole = Peers({"a": Peer(source.chain)})
    first = open_chain(tmp_path / "first")
    await sync(first, whole, source).run()
    first.close()
    chain = open_chain(tmp_path / "fresh")
    requests = 0
    reached = b""

    def kill(count: int) -> None:
        if count > 3:  # what is asked again at every start: ends, or finality and its block
            raise Killed

    while chain.finalized().number == 0:
        peers = Peers({"a": Peer(source.chain)}, before=kill)
        try:
            await sync(chain, peers, source).run()
        except Killed:
            requests += 3
        assert chain.finalized().number or following(chain) >= reached
        reached = following(chain)
        chain.close()
        chain = open_chain(tmp_path / "fresh")
    assert requests < 2 * whole.requests
    assert_whole(chain, source)
    chain.close()
    source.chain.close()


async def test_a_kill_at_any_write_is_survived(tmp_path: Path) -> None:
    source = await make_source(tmp_path / "source")
    write = 0
    done = False
    while not done:
        write += 1
        chain = open_chain(tmp_path / f"{write}")
        limit_writes(chain, write)
        peers = Peers({"a": Peer(source.chain)})
        try:
            await sync(chain, peers, source).run()
            done = True
        except Killed:
            pass
        chain.close()
        chain = open_chain(tmp_path / f"{write}")
        assert chain.finalized().number in (0, source.chain.finalized().number)
        await sync(chain, peers, source).run()
        assert_whole(chain, source)
        chain.close()
    assert write > 25
    source.chain.close()


def limit_writes(chain: Chain, most: int) -> None:
    database: Any = chain._db
    inner = database.write
    written = 0

    def write(changes: Iterable[tuple[bytes, bytes | None]], *, sync: bool = True) -> None:
        nonlocal written
        written += 1
        if written >= most:
            raise Killed
        inner(changes, sync=sync)

    database.write = write


async def test_another_trusted_start_discards_what_was_staged(tmp_path: Path) -> None:
    source = await make_source(tmp_path / "source")
    chain = open_chain(tmp_path / "fresh")

    def kill(count: int) -> None:
        if count > 8:
            raise Killed

    with pytest.raises(Killed):
        await sync(chain, Peers({"a": Peer(source.chain)}, before=kill), source).run()
    assert columns(chain, STAGED_STATE, STAGED_NODE)
    end = source.chain.boundary(1)
    assert end is not None
    peers = Peers({"a": Peer(source.chain)})
    machine = SnapshotSync(chain, peers, source.trust(Checkpoint(1, end)), pause=0.01)
    assert await machine.run()
    assert chain.boundary(0) is None
    assert_whole(chain, source)
    chain.close()
    source.chain.close()


async def test_a_chain_that_went_on_without_the_state_forgets_what_was_staged(
    tmp_path: Path,
) -> None:
    source = await make_source(tmp_path / "source")
    chain = open_chain(tmp_path / "fresh")

    def kill(count: int) -> None:
        if count > 8:
            raise Killed

    with pytest.raises(Killed):
        await sync(chain, Peers({"a": Peer(source.chain)}, before=kill), source).run()
    block_hash = source.chain.block_hash(1)
    assert block_hash is not None
    block = source.chain.block(block_hash)
    assert block is not None
    await chain.execute(block)
    await chain.finalize(block_hash, None)
    chain.close()
    chain = open_chain(tmp_path / "fresh")
    assert chain.finalized().number == 1
    assert columns(chain, STAGED) == {}
    chain.close()
    source.chain.close()


SYNCING = """
import os, signal, sys
from pathlib import Path
import trio
import node.storage.staging, node.storage.switching, node.sync.serving
from node.storage.leveldb import Database
from node.sync.snapshot import SnapshotSync
from tests.node.sync.world import Peer, Peers, Source, open_chain

node.sync.serving.RANGE_BYTES = 3000
node.storage.switching.MOVED_AT_ONCE = node.storage.staging.CLEARED_AT_ONCE = 60

async def main(folder, most):
    source = Source(open_chain(folder / "child"))
    await source.grow(15)
    chain = open_chain(folder / "fresh")
    inner, written = Database.write, 0

    def write(self, changes, *, sync=True):
        nonlocal written
        inner(self, changes, sync=sync)
        written += 1
        if written >= most:
            os.kill(os.getpid(), signal.SIGKILL)

    Database.write = write
    await SnapshotSync(chain, Peers({"a": Peer(source.chain)}), source.trust(), pause=0.01).run()

trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.mark.parametrize("writes", [2, 6, 12, 19])
async def test_a_sigkill_is_survived(tmp_path: Path, writes: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SYNCING, str(tmp_path), str(writes)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    source = await make_source(tmp_path / "source")
    chain = open_chain(tmp_path / "fresh")
    peers = Peers({"a": Peer(source.chain)})
    await sync(chain, peers, source).run()
    assert_whole(chain, source)
    chain.close()
    source.chain.close()
