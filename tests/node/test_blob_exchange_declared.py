"""What the chain declares is seen once it is final, without reading everything each time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain import Chain
from node.declarations import (
    BLOB_MAPS,
    Declaration,
    DeclaredBlobs,
    declared_slice,
    newly_declared,
)
from runtime.primitives.scale import U64, encode
from runtime.state.store import MemoryState
from tests.node.tiny_runtime import TinyGenesis, TinyRuntime, put
from tests.patience import PATIENCE

Sizes = dict[bytes, int]


def name(seed: int) -> bytes:
    return hashlib.blake2b(seed.to_bytes(4, "big"), digest_size=32).digest()


def entries(sizes: Sizes) -> dict[bytes, bytes]:
    """Spread declarations over the maps, among other entries."""
    found = {BLOB_MAPS[blob[0] % 2].key(blob): encode(U64, size) for blob, size in sizes.items()}
    for item in BLOB_MAPS:
        found[item.prefix[:16] + b"\0other"] = b"x" * 40
        found[item.prefix[:-1] + bytes([item.prefix[-1] ^ 1])] = b"beside"
    return found


sizes = st.dictionaries(st.integers(0, 400).map(name), st.integers(1, 2**64 - 1), max_size=60)


@settings(max_examples=60)
@given(sizes, st.integers(1, 20))
def test_slices_hold_every_declaration_once(told: Sizes, most: int) -> None:
    state = MemoryState(entries(told))
    found: list[Declaration] = []
    cursor: bytes | None = None
    while True:
        part, cursor = declared_slice(state, cursor, most)
        assert len(part) <= most
        found += part
        if cursor is None:
            break
    assert len(found) == len(told)
    assert {d.blob: d.size for d in found} == told


@settings(max_examples=100)
@given(sizes, sizes, st.booleans())
def test_new_declarations_are_those_that_the_states_differ_in(
    before: Sizes, added: Sizes, grows: bool
) -> None:
    after = before | added if grows else added
    found = list(newly_declared(MemoryState(entries(before)), MemoryState(entries(after))))
    new = {blob: size for blob, size in after.items() if before.get(blob) != size}
    assert {d.blob: d.size for d in found} == new
    assert len(found) == len(new)


class CountingState(MemoryState):
    reads = 0

    def node(self, node_hash: bytes) -> bytes:
        self.reads += 1
        return super().node(node_hash)


def test_a_new_declaration_among_thousands_is_found_by_a_few_reads() -> None:
    told = {name(i): i + 1 for i in range(5000)}
    before = CountingState(entries(told))
    after = CountingState(entries(told | {name(9999): 7}))
    before.reads = after.reads = 0
    found = list(newly_declared(before, after))
    assert found == [Declaration(name(9999), 7)]
    assert before.reads + after.reads < 60
    assert list(newly_declared(after, after)) == []
    assert len(list(newly_declared(MemoryState({}), after))) == 5001


def declare(declaration: Declaration) -> bytes:
    return put(BLOB_MAPS[0].key(declaration.blob), encode(U64, declaration.size))


async def test_a_chains_declarations_are_followed_from_the_finalised_state(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    first, second, third = (Declaration(name(i), 10 + i) for i in range(3))
    found: list[Declaration] = []
    chain = Chain.open(tmp_path, TinyGenesis(), TinyRuntime())

    async def grow(*extrinsics: bytes) -> bytes:
        built = await chain.build(
            chain.best().hash,
            timestamp=chain.best().number + 1,
            digest=(),
            candidates=extrinsics,
            full=lambda: False,
        )
        grown = await chain.execute(built.block)
        chain.set_best(grown.hash)
        return grown.hash

    async def take(part: list[Declaration]) -> None:
        found.extend(part)

    async def hear(count: int) -> None:
        with trio.fail_after(PATIENCE):
            while len(found) < count:
                await trio.sleep(0.01)

    await chain.finalize(await grow(declare(first)), b"proof")
    nursery.start_soon(DeclaredBlobs(chain).follow, take)
    await hear(1)
    await grow(declare(second))
    await trio.sleep(0.1)
    assert found == [first]
    await chain.finalize(await grow(declare(third)), b"proof")
    await hear(3)
    await chain.finalize(await grow(put(b"something", b"else")), b"proof")
    await trio.sleep(0.1)
    assert found[0] == first
    assert sorted(found[1:], key=lambda d: d.size) == [second, third]
    assert DeclaredBlobs(chain)(second.blob) == second.size
    chain.close()
