"""Who watches which extrinsic, and the bounded memory of why extrinsics left the pool."""

from __future__ import annotations

from collections import OrderedDict

import trio

from node.pool_types import Drop, TxStatus

BUFFERED_STATUSES = 32
WATCHERS_PER_EXTRINSIC = 64


class Watchers:
    """Bounded channels of statuses; a reader that falls behind finds its channel closed."""

    def __init__(self) -> None:
        self._channels: dict[bytes, list[trio.MemorySendChannel[TxStatus]]] = {}

    def add(
        self, extrinsic_hash: bytes, status: TxStatus | None
    ) -> trio.MemoryReceiveChannel[TxStatus]:
        """Open a channel that starts with the present status; closed at once if that is final."""
        send, receive = trio.open_memory_channel[TxStatus](BUFFERED_STATUSES)
        channels = self._channels.setdefault(extrinsic_hash, [])
        channels[:] = [kept for kept in channels if kept.statistics().open_receive_channels]
        if status is not None:
            send.send_nowait(status)
        if status is None or status.kind.final or len(channels) >= WATCHERS_PER_EXTRINSIC:
            send.close()
        else:
            channels.append(send)
        if not channels:
            del self._channels[extrinsic_hash]
        return receive

    def tell(self, extrinsic_hash: bytes, status: TxStatus) -> None:
        """Send a status to everybody who watches the extrinsic."""
        channels = self._channels.pop(extrinsic_hash, [])
        kept = []
        for channel in channels:
            try:
                channel.send_nowait(status)
            except (trio.WouldBlock, trio.BrokenResourceError):
                channel.close()
                continue
            if status.kind.final:
                channel.close()
            else:
                kept.append(channel)
        if kept:
            self._channels[extrinsic_hash] = kept

    def close(self) -> None:
        """End all channels."""
        for channels in self._channels.values():
            for channel in channels:
                channel.close()
        self._channels = {}


class History:
    """The last drops, oldest forgotten first, and who is banned until when."""

    def __init__(self, length: int, banned: int) -> None:
        self._length = length
        self._banned_length = banned
        self._drops: OrderedDict[bytes, Drop] = OrderedDict()
        self._banned: OrderedDict[bytes, float] = OrderedDict()

    def note(self, extrinsic_hash: bytes, drop: Drop) -> None:
        """Remember why an extrinsic is not in the pool."""
        self._drops[extrinsic_hash] = drop
        self._drops.move_to_end(extrinsic_hash)
        while len(self._drops) > self._length:
            self._drops.popitem(last=False)

    def forget(self, extrinsic_hash: bytes) -> None:
        """Drop what is remembered of an extrinsic that is in the pool again."""
        self._drops.pop(extrinsic_hash, None)
        self._banned.pop(extrinsic_hash, None)

    def why(self, extrinsic_hash: bytes) -> Drop | None:
        """Recall why an extrinsic is not in the pool."""
        return self._drops.get(extrinsic_hash)

    def ban(self, extrinsic_hash: bytes, until: float) -> None:
        """Refuse an extrinsic for a while."""
        self._banned[extrinsic_hash] = until
        self._banned.move_to_end(extrinsic_hash)
        while len(self._banned) > self._banned_length:
            self._banned.popitem(last=False)

    def banned(self, extrinsic_hash: bytes, now: float) -> bool:
        """Tell whether an extrinsic is refused now."""
        until = self._banned.get(extrinsic_hash)
        if until is not None and until <= now:
            del self._banned[extrinsic_hash]
        return until is not None and until > now
