"""What happens to the chain, told to whoever subscribed, without ever waiting for a slow reader."""

from __future__ import annotations

from dataclasses import dataclass

import trio

BUFFERED_EVENTS = 512


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block was executed; it may be one of several on its parent."""

    hash: bytes
    parent: bytes


@dataclass(frozen=True, slots=True)
class BestChanged:
    """Another block became the tip."""

    hash: bytes


@dataclass(frozen=True, slots=True)
class Finalized:
    """Blocks became final, oldest first; the blocks of dead forks are pruned.

    Each was told of as `NewBlock` and stands on the one before, unless a fetched state took the
    chain's place: then its block comes alone, behind a `BestChanged` to it.
    """

    hashes: tuple[bytes, ...]
    pruned: tuple[bytes, ...]


ChainEvent = NewBlock | BestChanged | Finalized


class Events:
    """Bounded channels: a reader whose buffer is full finds its channel closed."""

    def __init__(self) -> None:
        self._channels: list[trio.MemorySendChannel[ChainEvent]] = []

    def subscribe(self, buffered: int = BUFFERED_EVENTS) -> trio.MemoryReceiveChannel[ChainEvent]:
        """Open a channel that gets every event from now on."""
        send, receive = trio.open_memory_channel[ChainEvent](buffered)
        self._channels.append(send)
        return receive

    def publish(self, event: ChainEvent) -> None:
        """Tell everybody; call from the loop's thread."""
        kept = []
        for channel in self._channels:
            try:
                channel.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                channel.close()
            else:
                kept.append(channel)
        self._channels = kept

    def close(self) -> None:
        """End all channels."""
        for channel in self._channels:
            channel.close()
        self._channels = []
