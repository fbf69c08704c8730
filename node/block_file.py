"""Finalised blocks in a file, to be carried to another node.

magic ++ genesis hash[32], then for each block: length u32 (little-endian) ++ SCALE(Carried)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from node.chain import Chain
from node.errors import NodeError
from runtime.primitives.header import Block
from runtime.primitives.scale import DecodeError, decode, encode

MAGIC = b"openledger-blocks-v1\n"
MAX_RECORD_BYTES = 64 << 20


class BlockFileError(NodeError):
    """The file cannot be used; what was imported before the fault stays."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A block, and the finality proof that was given for exactly this one."""

    block: Block
    proof: bytes | None


def write_head(file: IO[bytes], genesis_hash: bytes) -> None:
    """Begin a file."""
    file.write(MAGIC + genesis_hash)


def write_block(file: IO[bytes], chain: Chain, number: int) -> None:
    """Write a finalised block."""
    block_hash = chain.block_hash(number)
    block = None if block_hash is None else chain.block(block_hash)
    if block_hash is None or block is None:
        raise BlockFileError(f"block {number} is not here")
    record = encode(Carried, Carried(block, chain.justification(block_hash)))
    file.write(len(record).to_bytes(4, "little") + record)


def read_blocks(file: IO[bytes], genesis_hash: bytes) -> Iterator[Carried]:
    """Read a file, block by block; raises BlockFileError."""
    if file.read(len(MAGIC)) != MAGIC:
        raise BlockFileError("this is not a file of exported blocks")
    if file.read(32) != genesis_hash:
        raise BlockFileError("the blocks in the file belong to a chain with another genesis")
    while head := file.read(4):
        length = int.from_bytes(head, "little")
        record = file.read(length) if length <= MAX_RECORD_BYTES else b""
        if len(head) != 4 or len(record) != length:
            raise BlockFileError("the file ends within a block")
        try:
            carried = decode(Carried, record)
        except DecodeError as error:
            raise BlockFileError(f"the file holds a damaged block: {error}") from error
        if isinstance(carried, Carried):
            yield carried
