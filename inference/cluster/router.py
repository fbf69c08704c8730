"""Which replica computes a request: one that holds its adapter, else the one with least to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Place:
    resident: set[bytes] = field(default_factory=set)
    requests: set[int] = field(default_factory=set)

    @property
    def load(self) -> int:
        return len(self.requests)


class Router:
    """Knows what every replica has under way and which adapters it holds.

    A request goes to the least loaded of the replicas that hold its adapter, as long as that one
    has room to run it at once; else to the least loaded of all, which then holds the adapter too.
    Among equals it goes to one that holds the adapter, then to the one with fewest adapters, then
    to the lowest name.
    """

    def __init__(self, room: int) -> None:
        """`room` is how many requests a replica runs at once."""
        self._room = room
        self._places: dict[int, _Place] = {}
        self._where: dict[int, int] = {}

    @property
    def replicas(self) -> tuple[int, ...]:
        """List the replicas, oldest first."""
        return tuple(self._places)

    def load(self, replica: int) -> int:
        """Count the requests that a replica has."""
        return self._places[replica].load

    def resident(self, replica: int) -> frozenset[bytes]:
        """Return the adapters that a replica is thought to hold."""
        return frozenset(self._places[replica].resident)

    def where(self, request: int) -> int | None:
        """Return the replica that has a request."""
        return self._where.get(request)

    def add(self, replica: int) -> None:
        """Take a replica that holds nothing yet."""
        if replica in self._places:
            raise ValueError(f"replica {replica} is known already: give each a name of its own")
        self._places[replica] = _Place()

    def remove(self, replica: int) -> list[int]:
        """Forget a replica; returns the requests that it had, oldest first."""
        requests = sorted(self._places.pop(replica).requests)
        for request in requests:
            del self._where[request]
        return requests

    def route(self, request: int, adapter: bytes | None) -> int | None:
        """Choose a replica for a request and count it there; None while there is none."""
        if request in self._where:
            raise ValueError(f"request {request} is under way: end it before it is routed again")
        if not self._places:
            return None
        chosen = self._choose(adapter)
        place = self._places[chosen]
        place.requests.add(request)
        if adapter is not None:
            place.resident.add(adapter)
        self._where[request] = chosen
        return chosen

    def ended(self, request: int) -> None:
        """Count a request no longer."""
        replica = self._where.pop(request, None)
        if replica is not None:
            self._places[replica].requests.discard(request)

    def holds(self, replica: int, adapters: Iterable[bytes], asked: Iterable[bytes]) -> None:
        """Learn what a replica reports to hold; `asked` are those it was just sent or waits for."""
        self._places[replica].resident = {*adapters, *asked}

    def _choose(self, adapter: bytes | None) -> int:
        def order(name: int) -> tuple[int, bool, int, int]:
            place = self._places[name]
            return place.load, adapter not in place.resident, len(place.resident), name

        if adapter is not None:
            holders = [name for name, place in self._places.items() if adapter in place.resident]
            if holders:
                best = min(holders, key=order)
                if self._places[best].load < self._room:
                    return best
        return min(self._places, key=order)
