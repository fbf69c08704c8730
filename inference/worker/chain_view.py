"""The chain as the worker sees it: finalised state, finalised events, blobs, its own extrinsics."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from node.client.signing import KeyPair
from runtime.frame.event_records import EventRecord
from runtime.primitives.errors import Refusal


class ChainReason(Enum):
    """Why the chain did not do what it was asked for."""

    REFUSED = "the node did not take the extrinsic"
    FAILED = "the call failed in its block"
    UNREACHABLE = "the node does not answer"
    NO_BLOB = "the node does not have these bytes"


class ChainError(Refusal):
    """An extrinsic or a question that came to nothing; `name` is what the node calls it."""

    def __init__(self, reason: ChainReason, detail: str, name: str = "") -> None:
        super().__init__(reason, detail)
        self.reason: ChainReason = reason
        self.name = name


@dataclass(frozen=True, slots=True)
class Head:
    """A finalised block: its number, its hash and its events."""

    number: int
    hash: bytes
    events: tuple[EventRecord, ...]


class ChainView(Protocol):
    """What the worker needs of a node; state is that of the last finalised block."""

    @property
    def genesis(self) -> bytes:
        """The chain's genesis hash."""

    @property
    def height(self) -> int:
        """Number of the last finalised block that was seen."""

    async def storage(self, pallet: str, item: str, *keys: Any) -> Any:
        """Return a value; None where there is none and the item has no default."""

    async def items(
        self, pallet: str, item: str, *prefix: Any
    ) -> Sequence[tuple[tuple[Any, ...], Any]]:
        """Return all entries of a map, or those under the first key of a double map."""

    async def blob(self, content_hash: bytes) -> bytes:
        """Return a blob's bytes, unchecked; raises ChainError NO_BLOB."""

    async def put_blob(self, data: bytes) -> None:
        """Hand a declared blob to the node."""

    async def submit(self, call: bytes, signer: KeyPair) -> tuple[EventRecord, ...]:
        """Sign and submit a call, wait until it is finalised, return its events.

        Raises ChainError REFUSED or FAILED.
        """

    def heads(self) -> AsyncGenerator[Head, None]:
        """Yield every finalised block from now on, without gaps; waits through reconnections."""


def event_named(records: Sequence[EventRecord], pallet: str, name: str) -> Any:
    """Return the first event of a name; raises ChainError FAILED where there is none."""
    for record in records:
        if (record.pallet, record.name) == (pallet, name):
            return record.event
    raise ChainError(ChainReason.FAILED, f"the call deposited no event {pallet}.{name}")
