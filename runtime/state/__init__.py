"""State: entries under one root hash, written through an overlay, proved by trie nodes."""

from runtime.state.overlay import NoTransaction, Overlay
from runtime.state.proof import InvalidProof, ProofReason
from runtime.state.store import (
    LayeredState,
    MemoryState,
    MissingNode,
    State,
    StateReader,
    TrieState,
)
from runtime.state.trie import EMPTY_ROOT, KeyTooLong, TrieUpdate
from runtime.state.view import ReadOnly, View

__all__ = [
    "EMPTY_ROOT",
    "InvalidProof",
    "KeyTooLong",
    "LayeredState",
    "MemoryState",
    "MissingNode",
    "NoTransaction",
    "Overlay",
    "ProofReason",
    "ReadOnly",
    "State",
    "StateReader",
    "TrieState",
    "TrieUpdate",
    "View",
]
