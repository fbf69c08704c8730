"""Which sequences have a claim on their adapters: taken ahead, kept while they run."""

from __future__ import annotations

from collections.abc import Iterable

from inference.adapters.lease import Lease
from inference.adapters.pool import AdapterPool
from inference.adapters.resident import Resident
from inference.adapters.state import AdapterState
from inference.scheduler import Scheduler
from inference.sequence import Sequence


class Leasing:
    """Keeps leases in step with the scheduler; for the thread of the steps.

    A sequence that waits has a parked lease: its adapter is loaded ahead, and gives way to one
    that all others make room for. While it runs the lease is pinned.
    """

    def __init__(self, pool: AdapterPool, scheduler: Scheduler, ahead: int) -> None:
        """Start without leases.

        Args:
            pool: where adapters come from.
            scheduler: knows who runs, who is next, and whom all make room for.
            ahead: so many waiting sequences have their adapters loaded.
        """
        self._pool = pool
        self._scheduler = scheduler
        self._ahead = ahead
        self._held: dict[int, tuple[Sequence, Lease]] = {}
        self._target: Sequence | None = None

    def __len__(self) -> int:
        """Count the leases."""
        return len(self._held)

    def adopt(self, sequence: Sequence, lease: Lease) -> None:
        """Take over a lease that was taken when the request arrived."""
        self._held[sequence.id] = sequence, lease

    def drop(self, sequence: Sequence) -> None:
        """End the lease of a sequence, if it has one."""
        held = self._held.pop(sequence.id, None)
        if held is not None:
            self._pool.release(held[1])

    def resident(self, sequence: Sequence) -> Resident | None:
        """Return where the adapter of a running sequence lies."""
        held = self._held.get(sequence.id)
        return None if held is None else held[1].resident

    def refresh(self) -> list[tuple[Sequence, Lease]]:
        """Before a step is scheduled: take leases and tell the sequences how their adapters do.

        Returns:
            those whose adapters failed; the caller removes them.
        """
        self._pool.pump()
        for sequence in self._scheduler.upcoming(self._ahead):
            if sequence.id not in self._held and self._target in (None, sequence):
                self._take(sequence)
        failed = []
        for sequence, lease in self._held.values():
            sequence.adapter_state = lease.state
            if lease.state is AdapterState.FAILED:
                failed.append((sequence, lease))
        return failed

    def follow(self, running: Iterable[Sequence], preempted: Iterable[Sequence]) -> bool:
        """After a step was scheduled: pin those who run, park the others, make room if asked to.

        Returns:
            whether for whom room is made has changed, so that another look is worth while.
        """
        runs = set()
        for sequence in running:
            runs.add(sequence.id)
            held = self._held.get(sequence.id)
            if held is not None and held[1].parked and not self._pool.pin(held[1]):
                raise RuntimeError("a sequence was admitted without its adapter")
        for sequence in preempted:
            held = self._held.get(sequence.id)
            if held is not None and not held[1].parked:
                self._pool.park(held[1])
        target = self._scheduler.draining
        if target is self._target:
            return False
        self._target = target
        if target is not None:
            self._make_room(target, runs)
        return True

    def _make_room(self, target: Sequence, runs: set[int]) -> None:
        for sequence, _ in list(self._held.values()):
            if sequence is not target and sequence.id not in runs:
                self.drop(sequence)
                sequence.adapter_state = AdapterState.LOADING
        if target.request.adapter is None or target.id in runs:
            return
        if target.id not in self._held:
            self._take(target)
        self._pool.urge(self._held[target.id][1])

    def _take(self, sequence: Sequence) -> None:
        if sequence.request.adapter is not None:
            lease = self._pool.lease(sequence.request.adapter, parked=True)
            self._held[sequence.id] = sequence, lease
