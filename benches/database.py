"""Measure the database: a synced batch of a block's size, and whole blocks into LevelDB.

    python -m benches.database [--transfers 500] [--blocks 4]

A block's import here is all that a node does with one from outside: signatures, execution, both
roots, and one synced LevelDB batch with its state, trie nodes, body and index. The floor is one
sr25519 check, three blake2b-256 hashes and the raw synced batch of the same keys per transfer.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

import plyvel
import sr25519
import trio

from benches.blocks import Imported, prepare
from node.chain import Chain
from node.native_runtime import NativeRuntime


class _Spec:
    """A genesis that exists already."""

    def __init__(self, entries: dict[bytes, bytes]) -> None:
        self._entries = entries

    def genesis_entries(self) -> dict[bytes, bytes]:
        return self._entries


def raw_batch(folder: Path, keys: int, rounds: int = 20) -> float:
    """Return seconds for one synced batch of `keys` entries of 80 bytes, the best of `rounds`."""
    database = plyvel.DB(str(folder), create_if_missing=True)
    best = float("inf")
    for turn in range(rounds):
        entries = [
            (blake2b(b"%d.%d" % (turn, i), digest_size=32).digest(), b"x" * 80) for i in range(keys)
        ]
        start = time.perf_counter()
        with database.write_batch(sync=True) as batch:
            for key, value in entries:
                batch.put(key, value)
        best = min(best, time.perf_counter() - start)
    database.close()
    return best


async def import_blocks(
    folder: Path, prepared: list[Imported], entries: dict[bytes, bytes]
) -> float:
    """Return the best seconds in which one block was executed and made final on the disk."""
    best = float("inf")
    for number, one in enumerate(prepared):
        chain = Chain.open(folder / str(number), _Spec(entries), NativeRuntime())
        start = time.perf_counter()
        ref = await chain.execute(one.block)
        chain.set_best(ref.hash)
        await chain.finalize(ref.hash, b"")
        best = min(best, time.perf_counter() - start)
        chain.close()
    return best


def floor(transfers: int) -> float:
    """Return seconds of signature checks and hashes per transfer."""
    pair = sr25519.pair_from_seed(bytes(32))
    message = b"m" * 150
    signature = sr25519.sign(pair, message)
    start = time.perf_counter()
    for _ in range(transfers):
        sr25519.verify(signature, message, pair[0])
        for _ in range(3):
            blake2b(message, digest_size=32).digest()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--transfers", type=int, default=500)
    parser.add_argument("--blocks", type=int, default=4)
    arguments = parser.parse_args()
    prepared = prepare(arguments.transfers, 2 * arguments.transfers)
    entries = dict(prepared.state.iterate(b""))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batch = raw_batch(folder / "raw", 12 * arguments.transfers)
        took = trio.run(import_blocks, folder, [prepared] * arguments.blocks, entries)
    transfers = arguments.transfers
    least = floor(transfers) + batch
    rows = (
        ("synced LevelDB batch, 12 keys a transfer", batch / transfers * 1e6, "µs per transfer"),
        (f"import to disk of a {transfers}-transfer block", transfers / took, "transfers/s"),
        ("floor: signature, hashes, synced batch", transfers / least, "transfers/s"),
    )
    for name, figure, unit in rows:
        print(f"{name:<44} {figure:10.1f} {unit}")


if __name__ == "__main__":
    main()
