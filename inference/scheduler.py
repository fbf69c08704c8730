"""Decide what the next step computes. Integers only; knows no tensors.

A full step takes one row of every sequence that decodes, then fills its prompt rows with chunks of
prompts, shared fairly among tenants. Between two of them, and in the midst of one, short steps
compute prompts alone of those who have no token yet, strangers first: so a first token comes nearly
as soon as on an idle engine, and the others wait for few short steps at most. Sequences are
admitted in the order of the fair queue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inference.adapters.state import AdapterState
from inference.blocks import BlockManager
from inference.fairness import FairQueue
from inference.request import Limits
from inference.sequence import Sequence

SHORT_STEPS, MORE_FOR_STRANGERS = 4, 2
"""Most short steps from one full step to the next."""


@dataclass(frozen=True, slots=True)
class Work:
    """Positions `start … start+count-1` of a sequence; `draws` if a token is drawn after them."""

    sequence: Sequence
    start: int
    count: int
    draws: bool


class Scheduler:
    """Holds the waiting, the preempted and the running sequences; for one thread.

    A loop around it, on the thread of the steps:

        add(...), remove(...)                  arrivals, cancellations
        set `adapter_state` of sequences       from their leases; FAILED ones are removed
        works = schedule()
        if draining changed: let go or take leases (see `draining`)
        compute the works
        finished_step(works)
        append drawn ids; remove(...) what is finished

    `schedule()` returns [] if all wait for adapters or for room; then the loop waits until a
    request arrives or is cancelled or a lease changes, unless `draining` has changed just now.

    While works are computed, `interject()` may choose others that are computed and finished before
    them; what is under way is not removed meanwhile.
    """

    def __init__(
        self, limits: Limits, blocks: BlockManager, queue: FairQueue, patience: int = 64
    ) -> None:
        """Start with nothing to do.

        Args:
            limits: `running` sequences at once and `guests` more, `rows` prompt rows per step.
            blocks: where pages come from.
            queue: who is next.
            patience: `schedule()` calls that find no room for an adapter before others yield.
        """
        self._limits = limits
        self._patience = patience
        self._running: dict[int, Sequence] = {}
        self._preempted: list[Sequence] = []
        self._draining: Sequence | None = None
        self._turns = 0
        self._undisturbed = 0
        self._short_steps = 0
        self.blocks = blocks
        self.queue = queue
        self.preemptions = 0

    @property
    def waiting(self) -> int:
        """Number of sequences that do not run: queued and preempted ones."""
        return len(self.queue) + len(self._preempted)

    @property
    def running(self) -> tuple[Sequence, ...]:
        """List the sequences that run, in order of their first admission."""
        return tuple(self._running.values())

    @property
    def preempted(self) -> tuple[Sequence, ...]:
        """List the sequences that ran and wait for pages, in order of their first admission."""
        return tuple(self._preempted)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._running and not self.waiting

    @property
    def draining(self) -> Sequence | None:
        """Whom all others make room for, or None; may change in `schedule()` and `remove()`.

        Nobody else is admitted meanwhile. The runner releases the adapter leases of all other
        sequences that do not run, sets their `adapter_state` to LOADING, and takes none for them
        until this changes. Set if an adapter found no room for long, if pages are lacking although
        nobody else runs, or if nobody runs and the first that was preempted waits for its adapter;
        may be a running sequence.
        """
        return self._draining

    def upcoming(self, count: int) -> list[Sequence]:
        """List who is likely to run next, ready or not: those whose adapters are worth fetching.

        Adapters of more requests than may soon run would only take the memory of those that do.
        """
        first = self._preempted[:count]
        return first + self.queue.upcoming(count - len(first))

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; raises RequestRefused: TENANT_QUEUE_FULL, QUEUE_FULL."""
        self.queue.push(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take out a finished, failed or cancelled sequence and free its pages, at any time."""
        if self._running.pop(sequence.id, None) is not None:
            self.blocks.release(sequence)
        elif sequence in self._preempted:
            self._preempted.remove(sequence)
        else:
            self.queue.remove(sequence)
        if self._draining is sequence:
            self._stop_draining()

    def schedule(self) -> list[Work]:
        """Choose the next step: at most one work per sequence, those that decode first."""
        self.queue.refresh()
        longest = self._count_roomless()
        self._settle(longest)
        works = self._decode()
        self._admit()
        if not self._running and self._draining is None:
            self._draining = longest or self._returning()
        short = self._short(self._running.values()) if works else []
        if short:
            return short
        self._short_steps = 0
        return works + self._prefill(self._running.values())

    def interject(self, interrupted: list[list[Work]]) -> list[Work]:
        """Choose a short step in the midst of others; [] if there is nothing to hurry for.

        Only strangers are computed in the midst of a short step, and nothing in the midst of
        theirs. Nothing is done to the sequences of interrupted works, and their pages stay.

        Args:
            interrupted: the works of each step that has begun, the latest last.
        """
        self.queue.refresh()
        self._admit()
        latest = [work.sequence for work in interrupted[-1]]
        short = not any(one.outputs for one in latest)
        if short and self._strangers(latest):
            return []
        busy = {work.sequence.id for works in interrupted for work in works}
        others = [one for one in self._running.values() if one.id not in busy]
        return self._short(self._strangers(others) if short else others)

    def _short(self, sequences: Iterable[Sequence]) -> list[Work]:
        """Choose prompts of sequences without a token, of strangers alone if there are any."""
        waiting = [one for one in sequences if not one.outputs]
        strangers = self._strangers(waiting)
        if self._short_steps >= SHORT_STEPS + (MORE_FOR_STRANGERS if strangers else 0):
            return []
        works = self._prefill(strangers or waiting)
        self._short_steps += bool(works)
        return works

    def _strangers(self, sequences: Iterable[Sequence]) -> list[Sequence]:
        """List the sequences of tenants none of whose running ones has a token yet."""
        served = {one.request.tenant for one in self._running.values() if one.outputs}
        return [one for one in sequences if one.request.tenant not in served]

    def finished_step(self, works: Iterable[Work]) -> None:
        """Note that works are computed: before their ids are appended or sequences removed.

        Works of sequences that were removed since are skipped.
        """
        for work in works:
            sequence = work.sequence
            if sequence.id not in self._running:
                continue
            sequence.computed += work.count
            self.blocks.register(sequence)
            if work.draws:
                self.queue.charge(sequence.request.tenant, 1)

    def _count_roomless(self) -> Sequence | None:
        """Count this call for those whose adapters find no room; returns who waits longest."""
        longest: Sequence | None = None
        # While some are preempted only the first of them can be admitted.
        for sequence in self._preempted[:1] or self.queue:
            if sequence.adapter_state is AdapterState.NO_ROOM:
                sequence.passed += 1
                if longest is None or (sequence.passed, -sequence.id) > (
                    longest.passed,
                    -longest.id,
                ):
                    longest = sequence
        return longest

    def _returning(self) -> Sequence | None:
        """Return the first that was preempted, if it waits for its adapter.

        Nobody else is admitted before it, so what others have loaded and cannot use might keep its
        adapter from being loaded for ever.
        """
        first = self._preempted[0] if self._preempted else None
        return None if first is None or first.ready else first

    def _settle(self, longest: Sequence | None) -> None:
        """End draining that is not needed any more; begin if an adapter waited too long."""
        target = self._draining
        if target is not None and not (
            target.adapter_state in (AdapterState.LOADING, AdapterState.NO_ROOM)
            and target in (self._preempted[:1] or self.queue)
        ):
            self._stop_draining()
        self._undisturbed += 1
        if (
            self._draining is None
            and longest is not None
            and min(longest.passed, self._undisturbed) > self._patience
        ):
            self._draining = longest

    def _stop_draining(self) -> None:
        self._draining = None
        self._undisturbed = 0

    def _decode(self) -> list[Work]:
        return [
            Work(sequence, sequence.computed, 1, True)
            for sequence in self.running
            if sequence.id in self._running and sequence.decodes and self._grow(sequence)
        ]

    def _grow(self, sequence: Sequence) -> bool:
        """Find the page for the next position, if need be by preempting the youngest."""
        while not self.blocks.reserve(sequence, sequence.length):
            youngest = next(reversed(self._running.values()))
            if len(self._running) == 1:
                self._draining = sequence
                return False
            self._preempt(youngest)
            if youngest is sequence:
                return False
        return True

    def _preempt(self, sequence: Sequence) -> None:
        """Take a sequence's pages; its ids are computed again when there is room.

        All others that were preempted are younger, for nobody new is admitted before they are
        back. So the oldest sequence is never preempted, finishes, and leaves the next one oldest.
        """
        del self._running[sequence.id]
        self.blocks.release(sequence)
        sequence.preempted += 1
        self.preemptions += 1
        self._preempted.insert(0, sequence)

    def _admit(self) -> None:
        while len(self._running) < self._limits.places:
            sequence = self._next()
            if sequence is None or not self._find_pages(sequence):
                return
            if self._preempted:
                self._preempted.pop(0)
            else:
                self.queue.admit(sequence)
                sequence.turn = self._turns
                self._turns += 1
            sequence.passed = 0
            self._running[sequence.id] = sequence

    def _next(self) -> Sequence | None:
        if self._preempted:
            return self._preempted[0] if self._preempted[0].ready else None
        if self._draining is not None:
            return None
        if len(self._running) < self._limits.running:
            return self.queue.first()
        return self.queue.first({one.request.tenant for one in self._running.values()})

    def _find_pages(self, sequence: Sequence) -> bool:
        """Reserve pages for all ids so far, if every running sequence could have one more."""
        won = self.blocks.attach(sequence)
        if not self.blocks.reserve(sequence, sequence.length, spare=len(self._running)):
            self.blocks.release(sequence)
            if not self._running:
                self._draining = sequence
            return False
        if not sequence.preempted:
            sequence.cached += won
        return True

    def _prefill(self, sequences: Iterable[Sequence]) -> list[Work]:
        """Share prompt rows among tenants; of one tenant's sequences the oldest comes first.

        A tenant gets what it wants or an equal share of what those who want less leave over
        (max-min fairness): many long prompts of one do not delay the first token of another.
        """
        wanting: dict[str, list[Sequence]] = {}
        for sequence in sequences:
            if sequence.decodes:
                continue
            won = self.blocks.attach(sequence)
            if not sequence.preempted:
                sequence.cached += won
            wanting.setdefault(sequence.request.tenant, []).append(sequence)
        works: list[Work] = []
        left = self._limits.rows
        tenants = list(wanting.values())
        if len(tenants) <= left:  # else the oldest sequence might be left out
            tenants.sort(key=_missing)
        for place, own in enumerate(tenants):
            share = -(-left // (len(tenants) - place))
            for sequence in own:
                missing = sequence.length - sequence.computed
                count = min(missing, share, left)
                if count:
                    works.append(Work(sequence, sequence.computed, count, count == missing))
                    share -= count
                    left -= count
        return works


def _missing(sequences: list[Sequence]) -> int:
    return sum(sequence.length - sequence.computed for sequence in sequences)
