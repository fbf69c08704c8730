"""Open the database of one chain, or make it with the genesis block in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consensus.interface import BlockRef
from node.errors import StorageFailure, WrongDatabase
from node.runtime_interface import RuntimeInterface
from node.storage.blocks import FinalBlock, commit, read_canonical, read_header, read_oldest_state
from node.storage.layout import (
    FINALIZED_KEY,
    GENESIS_KEY,
    PRUNING_KEY,
    SCHEMA_KEY,
    SCHEMA_VERSION,
)
from node.storage.leveldb import Database
from node.storage.nodes import read_node
from node.storage.pruning import Pruning
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import encode
from runtime.state.trie import EMPTY_ROOT, build


@dataclass(frozen=True, slots=True)
class Heads:
    """What a database starts with: its genesis, its last finalised block, its oldest kept state."""

    genesis_hash: bytes
    finalized: BlockRef
    state_root: bytes
    oldest_state: int


def load_heads(
    db: Database, genesis: Mapping[bytes, bytes], runtime: RuntimeInterface, pruning: Pruning
) -> Heads:
    """Read the heads, after writing the genesis block where the database is empty.

    Raises WrongDatabase where the database is of another genesis, schema or pruning mode.
    """
    digest = _digest(genesis)
    if db.get(SCHEMA_KEY) is None:
        if next(db.iterate(b""), None) is not None:
            raise WrongDatabase("the database folder holds something that is not a chain")
        _write_genesis(db, genesis, runtime, pruning, digest)
    _check(db, digest, pruning)
    final_hash = db.get(FINALIZED_KEY) or b""
    header = read_header(db, final_hash)
    if header is None or read_canonical(db, header.number) != final_hash:
        raise StorageFailure("the last finalised block is damaged; purge the chain and sync again")
    if header.state_root != EMPTY_ROOT and read_node(db, header.state_root) is None:
        raise StorageFailure("the last finalised state is damaged; purge the chain and sync again")
    return Heads(
        genesis_hash=read_canonical(db, 0) or b"",
        finalized=BlockRef(final_hash, header.number),
        state_root=header.state_root,
        oldest_state=read_oldest_state(db),
    )


def _digest(genesis: Mapping[bytes, bytes]) -> bytes:
    return blake2_256(encode(tuple[tuple[bytes, bytes], ...], tuple(sorted(genesis.items()))))


def _write_genesis(
    db: Database,
    genesis: Mapping[bytes, bytes],
    runtime: RuntimeInterface,
    pruning: Pruning,
    digest: bytes,
) -> None:
    update = build(genesis)
    header = runtime.genesis_header(update.root)
    block = FinalBlock(header.hash(), header, (), None, dict(genesis), update)
    meta = {
        SCHEMA_KEY: SCHEMA_VERSION.to_bytes(4, "little"),
        GENESIS_KEY: digest,
        PRUNING_KEY: pruning.mode,
    }
    commit(db, [block], pruning, 0, meta)


def _check(db: Database, digest: bytes, pruning: Pruning) -> None:
    schema = int.from_bytes(db.get(SCHEMA_KEY) or b"", "little")
    if schema != SCHEMA_VERSION:
        raise WrongDatabase(
            f"the database has schema version {schema}, this node writes {SCHEMA_VERSION}; "
            "purge the chain and sync again, or run the version that wrote it"
        )
    if db.get(GENESIS_KEY) != digest:
        raise WrongDatabase(
            "the database belongs to a chain with another genesis; choose another --base-path, "
            "or run `openledger purge-chain`"
        )
    mode = db.get(PRUNING_KEY)
    if mode != pruning.mode:
        kept = "archive" if mode == b"archive" else "a number of blocks"
        raise WrongDatabase(
            f"the database was made with --state-pruning {kept}; start with that, or purge it"
        )
