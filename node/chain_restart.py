"""Executed blocks that are not final, to the disk and back, so that a restart finds them again."""

from __future__ import annotations

from node.fork_tree import Executed, ForkTree, layer
from node.log import Log
from node.storage.layout import unfinalised_key
from node.storage.leveldb import Database
from node.storage.unfinalised import encode_unfinalised, stored_unfinalised

_log = Log("chain")


def store_unfinalised(db: Database, executed: Executed) -> None:
    """Write an executed block; unsynced, since losing it costs an execution only."""
    record = encode_unfinalised(executed.block, executed.changes, executed.update)
    db.write([(unfinalised_key(executed.number, executed.hash), record)], sync=False)


def load_unfinalised(db: Database, tree: ForkTree) -> None:
    """Put the stored blocks that still connect to the root into its tree, and delete the others."""
    lost: list[tuple[bytes, None]] = []
    for key, record in stored_unfinalised(db):
        parent = None if record is None else tree.state_of(record.block.header.parent_hash)
        if record is None or parent is None:
            lost.append((key, None))
            continue
        block_hash = record.block.header.hash()
        state = layer(parent, record.changes, record.update)
        tree.add(Executed(block_hash, record.block, record.changes, record.update, state))
    if lost:
        db.write(lost, sync=False)
    if len(tree):
        _log.info("executed blocks loaded", blocks=len(tree), above=tree.root.number)
