"""Open the database of one chain, or make it with the genesis block in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from consensus.interface import BlockRef
from node.errors import StorageFailure, WrongDatabase
from node.runtime_interface import RuntimeInterface
from node.storage.blocks import read_canonical, read_header, read_kept
from node.storage.commit import FinalBlock, commit
from node.storage.layout import (
    FINALIZED_KEY,
    GENESIS_KEY,
    PRUNING_KEY,
    SCHEMA_KEY,
    SCHEMA_VERSION,
    STAGED,
)
from node.storage.leveldb import Database
from node.storage.nodes import read_node
from node.storage.pruning import Kept, Pruning
from node.storage.staging import clear
from node.storage.switching import finish_switch
from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import encode
from runtime.state.trie import EMPTY_ROOT, build


@dataclass(frozen=True, slots=True)
class Heads:
    """What a database starts with: its genesis, its last finalised block, and what it keeps.

    pruned_with: the pruning of the process before, in words, where it was another one.
    """

    genesis_hash: bytes
    finalized: BlockRef
    state_root: bytes
    kept: Kept
    pruned_with: str | None = None


def load_heads(
    db: Database, genesis: Mapping[bytes, bytes], runtime: RuntimeInterface, pruning: Pruning
) -> Heads:
    """Read the heads, after writing the genesis block where the database is empty.

    A switch to a fetched state that a kill cut short is completed first.

    Raises WrongDatabase where the database is of another genesis or schema.
    """
    digest = _digest(genesis)
    if db.get(SCHEMA_KEY) is None:
        if next(db.iterate(b""), None) is not None:
            raise WrongDatabase("the database folder holds something that is not a chain")
        _write_genesis(db, genesis, runtime, pruning, digest)
    _check(db, digest)
    finish_switch(db)
    before = (db.get(PRUNING_KEY) or b"").decode()
    if before != pruning.text:
        db.write([(PRUNING_KEY, pruning.text.encode())])
    heads = read_heads(db)
    if heads.finalized.number:
        clear(db, (STAGED,))  # what a fetch of a state left behind that ended or was given up
    return heads if before == pruning.text else replace(heads, pruned_with=before)


def read_heads(db: Database) -> Heads:
    """Read the heads of a database that has a genesis block; raises StorageFailure."""
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
        kept=read_kept(db),
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
    meta: dict[bytes, bytes | None] = {
        SCHEMA_KEY: SCHEMA_VERSION.to_bytes(4, "little"),
        GENESIS_KEY: digest,
        PRUNING_KEY: pruning.text.encode(),
    }
    commit(db, [block], pruning, Kept(), meta)


def _check(db: Database, digest: bytes) -> None:
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
