"""A killed process or a full disk: the last finalised block is whole, and nothing else is there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node.chain import Chain
from node.errors import StorageClosed, StorageFailure, WrongDatabase
from node.storage.layout import FINALIZED_KEY, NODE, SCHEMA_KEY, STATE
from node.storage.leveldb import Database
from node.storage.pruning import Pruning
from runtime.state.trie import build
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime

ROOT = Path(__file__).parents[2]


def check_whole(path: Path) -> tuple[int, str]:
    """Rebuild the trie of the flat table and of each kept state; return the finalised head."""
    chain = Chain.open(path, TinyGenesis(), TinyRuntime(), Pruning(3))
    head = chain.finalized()
    header = chain.header(head.hash)
    assert header is not None
    flat = {key[1:]: value for key, value in chain._db.iterate(STATE)}
    assert build(flat).root == header.state_root
    nodes: set[bytes] = set()
    for number in range(max(0, head.number - 2), head.number + 1):
        block_hash = chain.block_hash(number)
        assert block_hash is not None and chain.block(block_hash) is not None
        state = dict(chain.state_at(block_hash).iterate(b""))
        rebuilt = build(state)
        kept = chain.header(block_hash)
        assert kept is not None and rebuilt.root == kept.state_root
        nodes |= set(rebuilt.inserted)
    assert {key[1:] for key, _ in chain._db.iterate(NODE)} == nodes
    chain.close()
    return head.number, head.hash.hex()


@pytest.mark.slow
def test_killing_the_process_at_any_moment_keeps_the_last_finalised_block(tmp_path: Path) -> None:
    rng = random.Random(3)
    number = 0
    for seed in range(8):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.node.finalising_process", str(tmp_path), str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        told = [process.stdout.readline().rstrip("\n") for _ in range(seed % 4)]
        time.sleep(rng.uniform(0.01, 0.25))
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split("\n")[:-1]
        process.wait()
        process.stdout.close()
        before, (number, head) = number, check_whole(tmp_path)
        if told:
            last, last_hash = told[-1].split()
            assert number in (int(last), int(last) + 1)
            assert number != int(last) or head == last_hash
        else:
            assert number in (before, before + 1)
    assert number > 8


FULL_DISK = """
import random, resource, signal, sys
from pathlib import Path
import trio
from node.chain import Chain
from node.errors import StorageError, StorageFull
from node.storage.pruning import Pruning
from tests.node.finalising_process import grow
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime

async def main(path):
    chain = Chain.open(path, TinyGenesis(), TinyRuntime(), Pruning(3))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        while True:
            await grow(chain, random.Random(chain.best().number))
    except StorageFull as error:
        sys.stdout.write(f"full: {error}\\n")
    head = chain.finalized()
    try:
        await grow(chain, random.Random(1))
    except StorageError as error:
        sys.stdout.write(f"stopped: {error}\\n")
    sys.stdout.write(f"{head.number} {head.hash.hex()}\\n")
    chain.close()

trio.run(main, Path(sys.argv[1]))
"""


def test_a_full_disk_stops_the_writing_and_spoils_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.strip().split("\n")
    full, stopped, last = lines[-3:]
    assert full.startswith("full: no space left for the database")
    assert stopped.startswith("stopped: writing stopped after an earlier failure")
    assert int(last.split()[0]) > 3
    assert " ".join(map(str, check_whole(tmp_path))) == last


EXECUTING = """
import os, random, signal, sys
from pathlib import Path
import trio
from node.chain import Chain
from node.storage.pruning import Pruning
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime, put

async def main(path):
    chain = Chain.open(path, TinyGenesis(), TinyRuntime(), Pruning(3))
    parents = [chain.genesis_hash]
    for n in range(1, 9):
        built = await chain.build(
            parents[max(0, len(parents) - 1 - n % 2)], timestamp=n, digest=(),
            candidates=[put(b"k", b"%d" % n)], full=lambda: False,
        )
        parents.append((await chain.execute(built.block)).hash)
        sys.stdout.write(parents[-1].hex() + "\\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)

trio.run(main, Path(sys.argv[1]))
"""


async def test_a_killed_node_does_not_execute_its_unfinalised_blocks_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXECUTING, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    hashes = [bytes.fromhex(line) for line in done.stdout.split()]
    assert len(hashes) == 8
    runtime = TinyRuntime()
    chain = Chain.open(tmp_path, TinyGenesis(), runtime, Pruning(3))
    for block_hash in hashes:
        block = chain.block(block_hash)
        assert block is not None
        await chain.execute(block)
        assert build(dict(chain.state_at(block_hash).iterate(b""))).root == block.header.state_root
    assert runtime.applied == 0
    await chain.finalize(hashes[-1], b"proof")
    chain.close()
    check_whole(tmp_path)


def test_a_closed_database_takes_no_writes(tmp_path: Path) -> None:
    db = Database(tmp_path)
    db.write([(b"k", b"v")])
    db.close()
    with pytest.raises(StorageClosed):
        db.write([(b"k", b"w")])
    db = Database(tmp_path)
    assert db.get(b"k") == b"v"
    db.close()


def test_a_database_of_another_schema_is_refused(tmp_path: Path) -> None:
    Chain.open(tmp_path, TinyGenesis(), TinyRuntime()).close()
    db = Database(tmp_path)
    db.write([(SCHEMA_KEY, (99).to_bytes(4, "little"))])
    db.close()
    with pytest.raises(WrongDatabase, match="schema version 99"):
        Chain.open(tmp_path, TinyGenesis(), TinyRuntime())


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    db = Database(tmp_path)
    db.write([(b"something", b"else")])
    db.close()
    with pytest.raises(WrongDatabase, match="not a chain"):
        Chain.open(tmp_path, TinyGenesis(), TinyRuntime())


def test_a_damaged_head_is_refused(tmp_path: Path) -> None:
    Chain.open(tmp_path, TinyGenesis(), TinyRuntime()).close()
    db = Database(tmp_path)
    db.write([(FINALIZED_KEY, b"\1" * 32)])
    db.close()
    with pytest.raises(StorageFailure, match="damaged"):
        Chain.open(tmp_path, TinyGenesis(), TinyRuntime())
