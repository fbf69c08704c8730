"""What a block read and wrote, in order: found by executing it again on its parent's state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from runtime.block import BlockExecution
from runtime.primitives.header import Block, Header
from runtime.state.overlay import Overlay
from runtime.state.store import State, StateReader

READ = "Get"
WRITE = "Put"


class TraceTooLong(Exception):
    """The block does more than the caller wants to hear; nothing is told of it."""


@dataclass(frozen=True, slots=True)
class Access:
    """One value read or written; `value` is None where there is none, or where it was deleted."""

    span: int
    method: str
    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the block's execution: its number from 1 on, its name, the part it belongs to."""

    number: int
    name: str
    parent: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be told: keys with one of these beginnings (all if none), these methods."""

    prefixes: tuple[bytes, ...] = ()
    methods: tuple[str, ...] = (READ, WRITE)
    most_accesses: int = 20_000
    most_bytes: int = 4 << 20
    """Keys and values together."""

    def wants(self, method: str, key: bytes) -> bool:
        """Tell whether an access is to be told."""
        return method in self.methods and (not self.prefixes or key.startswith(self.prefixes))


@dataclass(slots=True)
class Trace:
    """The parts of a block's execution and, in order, what was read and written in them."""

    wanted: Wanted
    spans: list[Span] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)
    size: int = 0

    def begin(self, name: str) -> None:
        """Begin a part; all but the first belong to the first."""
        self.spans.append(Span(len(self.spans) + 1, name, 1 if self.spans else None))

    def note(self, method: str, key: bytes, value: bytes | None) -> None:
        """Note an access in the part that began last; raises TraceTooLong."""
        wanted = self.wanted
        if not wanted.wants(method, key):
            return
        self.size += len(key) + len(value or b"")
        if self.size > wanted.most_bytes or len(self.accesses) >= wanted.most_accesses:
            raise TraceTooLong
        self.accesses.append(Access(len(self.spans), method, key, value))


class TracedOverlay(Overlay):
    """An overlay that notes what is read through it and written to it, rolled back or not."""

    __slots__ = ("_trace",)

    def __init__(self, reader: StateReader, trace: Trace) -> None:
        super().__init__(reader)
        self._trace = trace

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`."""
        value = super().get(key)
        self._trace.note(READ, key, value)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Write a value."""
        self._trace.note(WRITE, key, value)
        super().put(key, value)

    def delete(self, key: bytes) -> None:
        """Remove a value; an absent one stays absent."""
        self._trace.note(WRITE, key, None)
        super().delete(key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Return the entries under `prefix`, noting each that is drawn."""
        for key, value in super().iterate(prefix, after):
            self._trace.note(READ, key, value)
            yield key, value


def trace_block(parent: Header, state: State, block: Block, wanted: Wanted) -> Trace:
    """Execute a block that the chain holds once more, and note what it reads and writes.

    Raises TraceTooLong; InvalidBlock or InvalidTransaction for a block that does not fit the
    state.
    """
    trace = Trace(wanted)
    trace.begin("execute_block")
    trace.begin("initialize_block")
    overlay = TracedOverlay(state, trace)
    execution = BlockExecution(parent, state, block.header.digest[:1], overlay)
    for extrinsic in block.extrinsics:
        trace.begin("apply_extrinsic")
        execution.apply(extrinsic)
    trace.begin("finalize_block")
    execution.close()
    return trace
