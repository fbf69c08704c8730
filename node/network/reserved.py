"""The peers that are always called, never banned and always let in: named at the start or later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from node.network.addresses import Address

MOST_RESERVED = 256


class Reserved:
    """Reserved peers and where they are; changed by the operator while the node runs."""

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        """Read addresses with peer ids; raises ValueError for a bad one."""
        self._places = by_peer(addresses)
        self.changed: Callable[[str, bool], None] = lambda peer, reserved: None
        """Told of every peer that becomes reserved, or is no longer."""

    def __contains__(self, peer: object) -> bool:
        return peer in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._places))

    def places(self, peer: str) -> tuple[Address, ...]:
        """Return where a reserved peer is; nothing for others."""
        return self._places.get(peer, ())

    def add(self, address: str) -> str:
        """Reserve a peer and return its id; raises ValueError for an address without one."""
        ((peer, places),) = by_peer((address,)).items()
        if len(self._places) >= MOST_RESERVED and peer not in self._places:
            raise ValueError(f"{MOST_RESERVED} peers are reserved already; remove one first")
        self._places[peer] = tuple(dict.fromkeys((*places, *self.places(peer))))
        self.changed(peer, True)
        return peer

    def remove(self, peer: str) -> bool:
        """Treat a peer like all others again; says whether it was reserved."""
        if self._places.pop(peer, None) is None:
            return False
        self.changed(peer, False)
        return True


def by_peer(texts: Iterable[str]) -> dict[str, tuple[Address, ...]]:
    """Sort addresses by peer; raises ValueError for one without a peer id."""
    found: dict[str, tuple[Address, ...]] = {}
    for text in texts:
        address = Address.parse(text)
        if address.peer is None:
            raise ValueError(f"{text!r} lacks the peer id; write {text}/p2p/<peer id>")
        found[address.peer] = (*found.get(address.peer, ()), address)
    return found
