"""Measure the state: microseconds per key of an update, beside the floor, and of overlay calls.

    python benches/state.py [--accounts 1000 100000]

The floor is the time to hash, once each, what an update has to hash: the new nodes and the new
values. What is above it is reading, decoding, encoding and counting nodes.
"""

from __future__ import annotations

import argparse
import gc
import platform
import random
import time
from collections.abc import Callable
from datetime import date
from hashlib import blake2b
from pathlib import Path

from runtime.state import MemoryState, Overlay, TrieUpdate, trie

BATCHES = (1, 100, 1000)
VALUE_LENGTH = 80
PREFIX = blake2b(b"System Account", digest_size=32).digest()


def storage_key(number: int) -> bytes:
    """Return a key in the shape of an account's: pallet, item, blake2-128 of the id, the id."""
    account = blake2b(number.to_bytes(8, "little"), digest_size=32).digest()
    return PREFIX + blake2b(account, digest_size=16).digest() + account


def best(measure: Callable[[], float], rounds: int) -> float:
    gc.collect()
    return min(measure() for _ in range(rounds))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def hash_all(update: TrieUpdate) -> None:
    for data, _ in update.inserted.values():
        blake2b(data, digest_size=32).digest()


def update_rows(state: MemoryState, keys: list[bytes], rng: random.Random) -> None:
    for size in BATCHES:
        updates: list[TrieUpdate] = []

        def one(size: int = size, updates: list[TrieUpdate] = updates) -> float:
            changes: dict[bytes, bytes | None] = {
                key: rng.randbytes(VALUE_LENGTH) for key in rng.sample(keys, size)
            }
            start = time.perf_counter()
            updates.append(trie.update(state.node, state.root, changes))
            return time.perf_counter() - start

        def floor(updates: list[TrieUpdate] = updates) -> float:
            return seconds(lambda: hash_all(updates[-1]))

        rounds = max(5, 200 // size)
        took = best(one, rounds) / size * 1e6
        least = best(floor, rounds) / size * 1e6
        dirty = len(updates[-1].inserted) / size
        print(f"{len(keys):>9} {size:>6} {took:>11.1f} {least:>9.1f} {dirty:>14.2f}")


def overlay_rows(state: MemoryState, keys: list[bytes]) -> None:
    sample = keys[:1000]

    def read(overlay: Overlay) -> None:
        for key in sample:
            overlay.get(key)

    def write(overlay: Overlay) -> None:
        for key in sample:
            overlay.put(key, b"value")

    def write_in_transactions(overlay: Overlay) -> None:
        for key in sample:
            overlay.begin()
            overlay.put(key, b"value")
            overlay.commit()

    def per_key(work: Callable[[Overlay], None]) -> float:
        def once() -> float:
            overlay = Overlay(state)
            read(overlay)
            return seconds(lambda: work(overlay))

        return best(once, 20) / len(sample) * 1e6

    print(f"\noverlay get, known key       {per_key(read):.2f} us")
    print(f"overlay put                  {per_key(write):.2f} us")
    print(f"overlay begin, put, commit   {per_key(write_in_transactions):.2f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="+", default=[1_000, 100_000])
    arguments = parser.parse_args()
    print(f"{processor()}, Python {platform.python_version()}, {date.today().isoformat()}")
    print(
        f"{VALUE_LENGTH}-byte values, keys of {len(storage_key(0))} bytes, best of several rounds\n"
    )
    print(f"{'accounts':>9} {'batch':>6} {'us per key':>11} {'floor us':>9} {'hashes per key':>14}")
    rng = random.Random(1)
    for count in arguments.accounts:
        keys = [storage_key(i) for i in range(count)]
        entries = {key: rng.randbytes(VALUE_LENGTH) for key in keys}
        start = time.perf_counter()
        state = MemoryState(entries)
        built = (time.perf_counter() - start) / count * 1e6
        update_rows(state, keys, rng)
        print(f"{count:>9} {'whole':>6} {built:>11.1f}")
        if count == arguments.accounts[-1]:
            overlay_rows(state, keys)


if __name__ == "__main__":
    main()
