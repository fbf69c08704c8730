"""What JSON-RPC shows of the network, and changes in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Peer:
    """A connected peer, as `system_peers` shows it."""

    peer_id: str
    roles: str
    best_hash: bytes
    best_number: int


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection to a peer; score: 0 is spotless, at 100 it is banned."""

    peer_id: str
    address: str
    dialed: bool
    agent: str
    seconds: float
    reserved: bool
    score: int


class PeerView(Protocol):
    """What JSON-RPC shows of the network."""

    def local_id(self) -> str:
        """Name this node's peer id."""

    def addresses(self) -> Sequence[str]:
        """List the multiaddresses at which peers reach this node."""

    def peers(self) -> Sequence[Peer]:
        """List the connected peers."""

    def is_syncing(self) -> bool:
        """Tell whether the node is behind its peers."""

    def reserved(self) -> Sequence[str]:
        """List the peers that are always called."""

    def reserve(self, address: str) -> None:
        """Always call a peer from now on; raises ValueError where that cannot be done."""

    def unreserve(self, peer: str) -> bool:
        """Treat a peer like all others; says whether it was reserved."""

    def connections(self) -> Sequence[Connection]:
        """Describe the connections to peers."""

    def traffic(self) -> tuple[int, int]:
        """Count the bytes of all channels since the start: in, out."""


class NoPeers:
    """The view of a node that runs without a network."""

    def local_id(self) -> str:
        """Return no name."""
        return ""

    def addresses(self) -> Sequence[str]:
        """Return none."""
        return ()

    def peers(self) -> Sequence[Peer]:
        """Return none."""
        return ()

    def is_syncing(self) -> bool:
        """Return False: there is nobody to be behind of."""
        return False

    def reserved(self) -> Sequence[str]:
        """Return none."""
        return ()

    def reserve(self, address: str) -> None:
        """Raise ValueError."""
        raise ValueError("this node runs without a network; start it without --no-network")

    def unreserve(self, peer: str) -> bool:
        """Return False."""
        return False

    def connections(self) -> Sequence[Connection]:
        """Return none."""
        return ()

    def traffic(self) -> tuple[int, int]:
        """Return nothing, nothing."""
        return 0, 0
