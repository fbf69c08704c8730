"""Which requests for committee material a node carries: only those that the chain bears out.

A node that did not execute the answer can still tell who may ask, and whose answer is genuine, so
strangers can make the network carry nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from consensus.interface import BlockRef
from node.client.material import (
    MaterialReason,
    MaterialRefusal,
    MaterialRequest,
    check_request,
    decode_request,
    open_answer,
    request_hash,
)
from runtime.construct import storage_item
from runtime.state.store import StateReader


class FinalChain(Protocol):
    """What the gate reads of the chain; `node.chain.Chain` is one."""

    genesis_hash: bytes

    def finalized(self) -> BlockRef:
        """Name the last finalised block."""

    def state_at(self, block_hash: bytes) -> StateReader:
        """Give the state behind a block."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be carried, and the worker's key that alone can answer it."""

    name: bytes
    request: MaterialRequest
    executor: bytes

    @property
    def subject(self) -> tuple[bytes, int, int]:
        """Return who asks for what: tries of the same are counted together."""
        return self.request.worker, self.request.batch, self.request.receipt


class CommitteeGate:
    """Admits drawn members and genuine answers, by the finalised state.

    On a fork a batch's number may stand for another batch, and an honest peer would look like a
    forger.
    """

    def __init__(self, chain: FinalChain) -> None:
        self._chain = chain

    @property
    def genesis(self) -> bytes:
        """The chain's genesis hash."""
        return self._chain.genesis_hash

    def admit(self, data: bytes) -> Asked:
        """Decode and check a request; raises MaterialRefusal."""
        signed = decode_request(data)
        request = signed.request
        final = self._chain.finalized()
        state, height = self._chain.state_at(final.hash), final.number
        duty = _read(state, "Attribution", "Duties", request.batch)
        worker = _read(state, "Inference", "Workers", request.worker)
        check_request(signed, self.genesis, height, duty, worker)
        batch = _read(state, "Inference", "Batches", request.batch)
        if batch is None:
            raise MaterialRefusal(MaterialReason.NO_DUTY)
        return Asked(request_hash(request), request, batch.executor)

    def is_genuine(self, asked: Asked, answer: bytes) -> bool:
        """Tell whether the executor gave this answer to this request."""
        try:
            open_answer(answer, asked.request, asked.executor)
        except MaterialRefusal:
            return False
        return True

    def is_worker(self, key: bytes) -> bool:
        """Tell whether a key is registered for a worker."""
        state = self._chain.state_at(self._chain.finalized().hash)
        return _read(state, "Inference", "Workers", key) is not None


def _read(state: StateReader, pallet: str, item: str, *keys: Any) -> Any:
    """Read an entry; None where there is none."""
    declared = storage_item(pallet, item)
    raw = state.get(declared.key(*keys))
    return None if raw is None else declared.decode_value(raw)
