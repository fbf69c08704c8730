"""Blocks near the head, shared by all followers that hold them, and the runtime behind each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from node.errors import StorageError
from node.rpc.params import to_hex
from node.runtime_interface import RuntimeInterface
from runtime.frame.runtime_api import ApiArgumentError, OtherRules, UnknownApi
from runtime.primitives.header import Header
from runtime.primitives.scale import DecodeError, decode
from runtime.primitives.version import RuntimeVersion
from runtime.state.store import MissingNode, State

OVERHEAD = 4096
"""Bytes that a held block is taken to cost beside its body and its writes."""


@dataclass(slots=True, eq=False)
class HeadBlock:
    """A block and what can be read of it, for as long as somebody holds it.

    body: None where the database keeps it long enough. changes: what it wrote, until it is final;
    afterwards its state reads from a snapshot of the database. retired: the number of the finalised
    block with which it became final or dead. version: JSON of its runtime, once asked for.
    """

    hash: bytes
    header: Header
    state: State | None
    body: tuple[bytes, ...] | None = None
    changes: Mapping[bytes, bytes | None] | None = None
    pins: int = 0
    retired: int | None = None
    version: bytes | None = None
    plain_line: bytes | None = None
    runtime_line: bytes | None = None

    def weight(self) -> int:
        """Estimate the bytes that are held for this block alone."""
        weight = OVERHEAD + sum(map(len, self.body or ()))
        for key, value in (self.changes or {}).items():
            weight += len(key) + len(value or b"")
        return weight

    def announcement(self) -> bytes:
        """Encode its `newBlock` event for those who do not ask for runtimes, once."""
        if self.plain_line is None:
            self.plain_line = orjson.dumps(self._members())
        return self.plain_line

    def announcement_with(self, new_runtime: bytes | None) -> bytes:
        """Encode its `newBlock` event with the runtime, None for that of its parent, once."""
        if self.runtime_line is None:
            runtime = None if new_runtime is None else orjson.Fragment(new_runtime)
            self.runtime_line = orjson.dumps(self._members() | {"newRuntime": runtime})
        return self.runtime_line

    def _members(self) -> dict[str, object]:
        return {
            "event": "newBlock",
            "blockHash": to_hex(self.hash),
            "parentBlockHash": to_hex(self.header.parent_hash),
        }


UNREADABLE = (UnknownApi, ApiArgumentError, OtherRules, DecodeError, MissingNode, StorageError)
"""Why the version of the rules behind a block cannot be told."""


class Runtimes:
    """The runtimes behind blocks, as followers are told of them; each is asked for once."""

    def __init__(self, runtime: RuntimeInterface) -> None:
        self._runtime = runtime

    def of(self, block: HeadBlock) -> bytes:
        """Encode the runtime behind a block, `invalid` where it cannot be read."""
        if block.version is None:
            block.version = orjson.dumps(self._shape(block))
        return block.version

    def line(self, block: HeadBlock, parent: HeadBlock) -> bytes:
        """Encode the `newBlock` event of a block, its runtime where it is not its parent's."""
        if block.runtime_line is not None:
            return block.runtime_line
        version = self.of(block)
        return block.announcement_with(None if version == self.of(parent) else version)

    def _shape(self, block: HeadBlock) -> dict[str, object]:
        if block.state is None:
            return _invalid("the state behind the block is pruned")
        try:
            data = self._runtime.call_api(block.state, block.header, "Core_version", b"")
            return {"type": "valid", "spec": _spec(decode(RuntimeVersion, data))}
        except UNREADABLE as fault:
            return _invalid(str(fault))


def _invalid(why: str) -> dict[str, object]:
    return {"type": "invalid", "error": why}


def _spec(version: RuntimeVersion) -> dict[str, object]:
    return {
        "specName": version.spec_name,
        "implName": version.impl_name,
        "specVersion": version.spec_version,
        "implVersion": version.impl_version,
        "transactionVersion": version.transaction_version,
        "apis": {to_hex(name): number for name, number in version.apis},
    }
