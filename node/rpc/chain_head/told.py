"""What followers are told, in order: the chain's events with the blocks they speak of."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from node.rpc.chain_head.blocks import HeadBlock
from node.rpc.params import to_hex

STOP = orjson.dumps({"event": "stop"})


@dataclass(frozen=True, slots=True)
class Announced:
    """A block whose parent was announced before, or is the last finalised one."""

    block: HeadBlock
    parent: HeadBlock


@dataclass(frozen=True, slots=True)
class Best:
    """An announced block, or the last finalised one, is the tip now; `line` is the event."""

    line: bytes


@dataclass(frozen=True, slots=True)
class Retired:
    """Announced blocks became final, and others dead with them; `line` is the event."""

    blocks: tuple[HeadBlock, ...]
    line: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """There is a gap in the story: what was told before leads to nothing."""


Told = Announced | Best | Retired | Lost


def best(block_hash: bytes) -> Best:
    """Tell of a new tip."""
    event = {"event": "bestBlockChanged", "bestBlockHash": to_hex(block_hash)}
    return Best(orjson.dumps(event))


def retired(final: list[HeadBlock], dead: list[HeadBlock]) -> Retired:
    """Tell of blocks that are final now, oldest first, and of those that can never be."""
    event = {
        "event": "finalized",
        "finalizedBlockHashes": [to_hex(block.hash) for block in final],
        "prunedBlockHashes": [to_hex(block.hash) for block in dead],
    }
    return Retired((*final, *dead), orjson.dumps(event))
