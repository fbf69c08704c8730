"""Every key of the database: one leading byte per column, big-endian numbers so that they sort.

m <name>           meta: schema, genesis, pruning, heads, from which block on what is kept
s <key>            the state of the last finalised block, flat
n <hash>           trie node: occurrences u32 (little-endian) ++ node bytes
j <number u32>     occurrences of nodes that this finalised block removed (not yet subtracted)
h <hash>           header, SCALE
b <hash>           body: the extrinsics as on the wire, SCALE
f <hash>           finality proof, opaque
c <number u32>     hash of the finalised block of that number
e <epoch u64>      hash of the finalised block that ended that epoch
x <extrinsic>      place of a finalised extrinsic: block hash ++ index u32 (little-endian)
r <spec u32> <v>   rules that ran here: their version under "v", metadata under its version, u8
o <number u32> <hash>  an executed block that is not final, with what it changes
zs <key>, zn <hash>    a state that is being fetched, in the form of the columns s and n
zp <epoch u64>     the proof of an epoch's end that was checked on the way to it
zm <name>          what is being fetched and how far it is
"""

from __future__ import annotations

SCHEMA_VERSION = 2

STATE = b"s"
NODE = b"n"
JOURNAL = b"j"
HEADER = b"h"
BODY = b"b"
PROOF = b"f"
CANONICAL = b"c"
BOUNDARY = b"e"
EXTRINSIC = b"x"
RULES = b"r"
UNFINALISED = b"o"
STAGED = b"z"
STAGED_STATE = b"zs"
STAGED_NODE = b"zn"
STAGED_PROOF = b"zp"
STAGED_META = b"zm"

SCHEMA_KEY = b"mschema"
GENESIS_KEY = b"mgenesis"
PRUNING_KEY = b"mpruning"
FINALIZED_KEY = b"mfinalized"
PROVEN_KEY = b"mproven"
OLDEST_STATE_KEY = b"moldest"
OLDEST_BODY_KEY = b"mbodies"
OLDEST_HEADER_KEY = b"mheaders"
BACKFILL_KEY = b"mbackfill"
SWITCH_KEY = b"mswitch"


def numbered(column: bytes, number: int) -> bytes:
    """Build the key of a block number in a column."""
    return column + number.to_bytes(4, "big")


def of_epoch(column: bytes, epoch: int) -> bytes:
    """Build the key of an epoch in a column."""
    return column + epoch.to_bytes(8, "big")


def unfinalised_key(number: int, block_hash: bytes) -> bytes:
    """Build the key of an executed block that is not final; parents sort before children."""
    return numbered(UNFINALISED, number) + block_hash


def end_of(prefix: bytes) -> bytes | None:
    """Find the first key after every key that starts with `prefix`; None where there is none."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes([stripped[-1] + 1])
