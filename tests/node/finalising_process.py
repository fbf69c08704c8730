"""A process that finalises blocks on a chain as fast as it can, until it is killed."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import trio

from node.chain import Chain
from node.storage.pruning import Pruning
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime, put


async def main(path: Path, seed: int) -> None:
    chain = Chain.open(path, TinyGenesis(), TinyRuntime(), Pruning(3))
    rng = random.Random(seed)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        await grow(chain, rng)


async def grow(chain: Chain, rng: random.Random) -> None:
    parent = chain.best()
    writes = [
        put(b"key%d" % rng.randrange(300), rng.choice([None, rng.randbytes(rng.randrange(1, 90))]))
        for _ in range(40)
    ]
    built = await chain.build(
        parent.hash,
        timestamp=parent.number + 1,
        digest=(),
        candidates=writes,
        full=lambda: False,
    )
    ref = await chain.execute(built.block)
    chain.set_best(ref.hash)
    await chain.finalize(ref.hash, b"proof")
    sys.stdout.write(f"{ref.number} {ref.hash.hex()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
