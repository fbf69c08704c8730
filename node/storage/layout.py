"""Every key of the database: one leading byte per column, big-endian numbers so that they sort.

m <name>          meta: schema, genesis, pruning mode, finalised head, oldest kept state
s <key>           the state of the last finalised block, flat
n <hash>          trie node: occurrences u32 (little-endian) ++ node bytes
j <number u32>    occurrences of nodes that this finalised block removed (not yet subtracted)
h <hash>          header, SCALE
b <hash>          body: the extrinsics as on the wire, SCALE
f <hash>          finality proof, opaque
c <number u32>    hash of the finalised block of that number
x <extrinsic>     place of a finalised extrinsic: block hash ++ index u32 (little-endian)
"""

from __future__ import annotations

SCHEMA_VERSION = 1

STATE = b"s"
NODE = b"n"
JOURNAL = b"j"
HEADER = b"h"
BODY = b"b"
PROOF = b"f"
CANONICAL = b"c"
EXTRINSIC = b"x"

SCHEMA_KEY = b"mschema"
GENESIS_KEY = b"mgenesis"
PRUNING_KEY = b"mpruning"
FINALIZED_KEY = b"mfinalized"
OLDEST_STATE_KEY = b"moldest"


def numbered(column: bytes, number: int) -> bytes:
    """Build the key of a block number in a column."""
    return column + number.to_bytes(4, "big")


def end_of(prefix: bytes) -> bytes | None:
    """Find the first key after every key that starts with `prefix`; None where there is none."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes([stripped[-1] + 1])
