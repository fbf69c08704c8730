"""What a node asks another about states; all SCALE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from runtime.primitives.scale import U32, Variants, decode, encode, variant
from runtime.primitives.types import Hash

RANGE_BYTES = 960 << 10
"""Trie nodes in one answer; with their lengths they stay below 1 MiB."""


@dataclass(frozen=True, slots=True)
class StateRequest:
    """A finalised block's state from a key (inclusive) on, as much as one answer holds."""

    block_hash: Hash
    start: bytes


@variant(index=0, positional=True)
@dataclass(frozen=True, slots=True)
class StateRange:
    """A proof by `runtime.state.ranges`."""

    nodes: tuple[bytes, ...]


@variant(index=1)
@dataclass(frozen=True, slots=True)
class StateGone:
    """The state is not here, pruned or never held; the oldest that is there is that of a block."""

    oldest: U32


StateResponse = Annotated[StateRange | StateGone, Variants("openledger::StateResponse")]


def encode_state_request(request: StateRequest) -> bytes:
    """Return the bytes on the wire."""
    return encode(StateRequest, request)


def decode_state_request(data: bytes) -> StateRequest:
    """Decode a whole request; raises DecodeError."""
    request: StateRequest = decode(StateRequest, data)
    return request


def encode_state_response(response: StateResponse) -> bytes:
    """Return the bytes on the wire."""
    return encode(StateResponse, response)


def decode_state_response(data: bytes) -> StateResponse:
    """Decode a whole response; raises DecodeError."""
    response: StateResponse = decode(StateResponse, data)
    return response
