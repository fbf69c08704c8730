"""Changes a random part of whatever it says, and answers requests with something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from consensus.core.messages import (
    Blocks,
    Certificates,
    Finality,
    Headers,
    Message,
    Request,
    Response,
    decode_message,
    encode_message,
)
from runtime.primitives.scale import DecodeError
from tests.simulation.actors.actor import Actor
from tests.simulation.node import Node


class MutatingDisrupter(Actor):
    """Everything goes out twice: as it should, and bent."""

    def transmit(self, message: Message, to: Sequence[Node]) -> None:
        if self.rng.random() < 0.7:
            self.post(message, to)
        bent = self._flipped(message) if self.rng.random() < 0.5 else self._changed(message)
        if bent is not None:
            self.post(bent, self.some(to))

    def _flipped(self, message: Message) -> Message | None:
        data = bytearray(encode_message(message))
        for _ in range(self.rng.choice((1, 1, 2, 8))):
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
        try:
            return decode_message(bytes(data))
        except DecodeError:
            return None

    def _changed(self, message: Message) -> Message | None:
        field = self.rng.choice(fields(message))
        value = self._other(getattr(message, field.name))
        changes: dict[str, Any] = {field.name: value}
        bent: Message = replace(message, **changes)
        try:
            return decode_message(encode_message(bent))
        except ValueError:
            return None

    def _other(self, value: object) -> object:
        rng = self.rng
        if isinstance(value, int):
            return rng.choice((0, value + 1, max(0, value - 1), rng.getrandbits(16)))
        if isinstance(value, bytes):
            return rng.randbytes(len(value))
        if isinstance(value, tuple):
            return value[1:] if value and rng.random() < 0.5 else value * 2
        return value

    def answer(self, request: Request) -> Response | None:
        right = super().answer(request)
        choice = self.rng.randrange(6)
        if choice == 0 and isinstance(right, Headers):
            return Headers(right.headers[1:])
        if choice == 1 and isinstance(right, Blocks):
            return Blocks((*right.blocks, self.world.chain.genesis))
        if choice == 2 and isinstance(right, Certificates):
            bent = tuple(replace(c, block_hash=self.rng.randbytes(32)) for c in right.certificates)
            return Certificates(bent)
        if choice == 3:
            return Finality(None)
        return right
