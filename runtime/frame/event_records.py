"""Events of a block: encoded for storage when it is closed, decoded by who reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.frame import pallet as declared
from runtime.frame.pallet import EventInfo, Pallet
from runtime.primitives.scale import (
    Codec,
    DecodeError,
    codec,
    compact_decode,
    compact_encode,
    decode_at,
)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event: the extrinsic it belongs to (None: the block itself), its pallet and itself."""

    extrinsic: int | None
    pallet: str
    name: str
    event: Any


class EventTable:
    """All events of a runtime."""

    def __init__(self, pallets: Sequence[type[Pallet]]) -> None:
        self._pallets = {p.INDEX: p.NAME for p in pallets}
        self._infos: dict[tuple[int, int], tuple[EventInfo, Codec]] = {}
        self._encoders: dict[type, tuple[bytes, Any]] = {}
        for cls in pallets:
            for info in declared.events(cls).values():
                own = codec(info.cls)
                self._infos[cls.INDEX, info.index] = (info, own)
                self._encoders[info.cls] = (bytes((cls.INDEX, info.index)), own.encode)

    def encode(self, records: Sequence[tuple[bytes, int, object]]) -> bytes:
        """Encode ``Vec<EventRecord>`` from (phase, pallet, event); topics are empty."""
        parts = [compact_encode(len(records))]
        for phase, _, record in records:
            prefix, encode_fields = self._encoders[type(record)]
            parts.append(phase + prefix + encode_fields(record) + b"\x00")
        return b"".join(parts)

    def decode(self, data: bytes) -> tuple[EventRecord, ...]:
        """Decode ``Vec<EventRecord>``; raises DecodeError."""
        records, end = decode_at(Codec(self._encode_nothing, self._decode_all), data, 0)
        if end != len(data):
            raise DecodeError(f"{len(data) - end} bytes left over after the events")
        return tuple(records)

    @staticmethod
    def _encode_nothing(value: Any) -> bytes:
        raise DecodeError("event records are encoded from what a block deposited")

    def _decode_all(self, data: bytes, offset: int) -> tuple[list[EventRecord], int]:
        count, offset = compact_decode(data, offset)
        records = []
        for _ in range(count):
            extrinsic = None
            if data[offset] == 0:
                extrinsic = int.from_bytes(data[offset + 1 : offset + 5], "little")
                offset += 4
            offset += 1
            info, own = self._infos[data[offset], data[offset + 1]]
            pallet = self._pallets[data[offset]]
            event, offset = own.decode_at(data, offset + 2)
            topics, offset = compact_decode(data, offset)
            offset += 32 * topics
            records.append(EventRecord(extrinsic, pallet, info.name, event))
        return records, offset
