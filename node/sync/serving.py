"""Answer other nodes that fetch a state."""

from __future__ import annotations

import trio

from node.chain_reads import ChainReads
from node.errors import StatePruned, StorageClosed, UnknownBlock
from node.sync.messages import (
    RANGE_BYTES,
    StateGone,
    StateRange,
    StateResponse,
    decode_state_request,
    encode_state_response,
)
from runtime.primitives.scale import DecodeError
from runtime.state.ranges import prove_range
from runtime.state.trie import MAX_KEY_LENGTH


class StateServer:
    """Answers peers one at a time in a worker thread, so that they share the node's slack."""

    def __init__(self, chain: ChainReads) -> None:
        self._chain = chain
        self._limiter = trio.CapacityLimiter(1)

    async def answer(self, peer: str, data: bytes) -> bytes | None:
        """Answer a StateRequest; None refuses what is malformed."""
        return await trio.to_thread.run_sync(answer_state, self._chain, data, limiter=self._limiter)


def answer_state(chain: ChainReads, data: bytes) -> bytes | None:
    """Answer a StateRequest in at most 1 MiB; None where it is malformed or the node is closing.

    Reads a snapshot of the database: call it in a worker thread. The limit is exceeded only by a
    single value that is larger.
    """
    try:
        request = decode_state_request(data)
    except DecodeError:
        return None
    if len(request.start) > MAX_KEY_LENGTH:
        return None
    try:
        return encode_state_response(_answer(chain, request.block_hash, request.start))
    except StorageClosed:
        return None


def _answer(chain: ChainReads, block_hash: bytes, start: bytes) -> StateResponse:
    if not chain.is_finalized(block_hash):
        return StateGone(chain.kept.states)
    try:
        state = chain.state_at(block_hash)
    except (StatePruned, UnknownBlock):
        return StateGone(chain.kept.states)
    return StateRange(prove_range(state.node, state.root, start, RANGE_BYTES).nodes)
