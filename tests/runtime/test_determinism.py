"""The same blocks give the same roots in processes that order their hash tables differently."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dev_chain import OPEN, DevChain, account, keys, seated

from runtime.construct import CALLS
from runtime.pallets.datanets.types import Policy
from runtime.pallets.models.types import DatanetVersion
from runtime.primitives.types import Id

REPLAY = """
import sys
from dev_chain import DevChain, seated
from runtime import executive
from runtime.primitives.header import Block

chain = DevChain(session=seated("Alice", "Bob", "Charlie", epoch_length=3))
print(chain.genesis_hash.hex())
for line in sys.stdin:
    block = Block.decode(bytes.fromhex(line))
    outcome = executive.apply_block(chain.head, chain.state, block)
    chain.state.apply(outcome.changes)
    chain.head = outcome.header
    print(chain.state.root.hex(), list(outcome.changes) == sorted(outcome.changes))
"""


def history(chain: DevChain) -> list[bytes]:
    """Return blocks in which many pallets do what orders things."""
    blocks = []

    def block(*extrinsics: bytes) -> None:
        made = chain.make_block(*extrinsics)
        assert made.refused == ()
        blocks.append(made.block.encode())

    policy = Policy(True, 0, OPEN)
    block(
        chain.sign(
            keys("Dave"), "Datanets", "create", name=b"poems", schema=(b"text",), policy=policy
        ),
        *(
            chain.sign(
                keys(who),
                "Balances",
                "transfer_allow_death",
                dest=Id(bytes([i + 1]) * 32),
                value=OPEN,
            )
            for i, who in enumerate(("Alice", "Bob", "Charlie"))
        ),
    )
    for index, licence in enumerate((b"MIT", b"CC0-1.0", b"CC-BY-4.0", b"Apache-2.0")):
        submit = {
            "datanet": 0,
            "sub_root": bytes([index]) * 32,
            "count": 3,
            "bytes_": 100,
            "blob": bytes([100 + index]) * 32,
            "licence": licence,
            "bond": OPEN,
        }
        block(chain.sign(keys("Bob"), "Datanets", "submit_batch", **submit))
        block(chain.sign(keys("Dave"), "Datanets", "accept", datanet=0, batch=index))
    block(chain.sign(keys("Dave"), "Datanets", "publish_version", datanet=0))
    propose = {
        "name": b"poet",
        "base": 0,
        "parent": None,
        "royalty": 10,
        "datanets": (DatanetVersion(0, 0),),
        "stake": 10 * OPEN,
    }
    block(chain.sign(keys("Eve"), "Models", "propose", **propose))
    block(
        *(
            chain.sign(keys(who), "Models", "back", model=0, amount=OPEN)
            for who in ("Alice", "Bob", "Charlie", "Ferdie")
        )
    )
    calls = tuple(
        CALLS.make("Balances", "transfer_keep_alive", dest=Id(account(who)), value=1)
        for who in ("Bob", "Charlie", "Dave")
    )
    block(chain.sign(keys("Alice"), "Utility", "force_batch", calls=calls))
    return blocks


@pytest.fixture(scope="module")
def replayed() -> tuple[DevChain, list[bytes]]:
    chain = DevChain(session=seated("Alice", "Bob", "Charlie", epoch_length=3))
    return chain, history(chain)


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_blocks_replay_to_the_same_roots_under_any_hash_seed(
    replayed: tuple[DevChain, list[bytes]], seed: str
) -> None:
    chain, blocks = replayed
    tests = Path(__file__).resolve().parent.parent
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}",
    }
    done = subprocess.run(
        [sys.executable, "-c", REPLAY],
        input="\n".join(block.hex() for block in blocks),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    genesis, *roots = done.stdout.splitlines()
    assert genesis == chain.genesis_hash.hex()
    assert len(roots) == len(blocks)
    assert roots[-1] == f"{chain.state.root.hex()} True"
