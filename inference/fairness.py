"""Who is admitted next: a virtual token counter per tenant, however many adapters it has.

Sheng et al., "Fairness in Serving Large Language Models" (arXiv 2401.00588): a tenant is charged
for the prompts that are admitted and the ids that are drawn, and the tenant with the least counter
is next. A tenant that becomes active is lifted to those who are, so nobody saves up credit by being
away. Here a tenant is active while it has a request that could be admitted: one whose adapter is
ready; requests of the tenant whose adapter is not are passed over.

The bound. Let P be the longest prompt, O the most output ids, R = `Limits.places`, and
D = 2·INPUT_COST·P + OUTPUT_COST·(R+1)·O. Whoever is admitted has the least counter of all active
tenants, or nothing that runs and a counter below that of one who does; after that it is charged for
this prompt and at most for the outputs of R running requests. So the counters of active tenants of
weight 1 never differ by more than D, and what two tenants that stay active receive in any interval,
in costs, differs by at most 2·D. Weights w divide both: the bound of received / w is 2·D / (the
least weight), plus rounding of one part in UNIT per charge.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from inference.request import Limits, RequestReason, RequestRefused
from inference.sequence import Sequence

INPUT_COST = 1
"""Charge for a prompt id, cached or not."""

OUTPUT_COST = 2
"""Charge for a drawn id."""

UNIT = 1 << 20
"""Counter per cost for a tenant of weight 1."""

LONGEST_RETRY = 60
"""Seconds."""


@dataclass(slots=True, eq=False)
class _Tenant:
    weight: int
    counter: int = 0
    waiting: deque[Sequence] = field(default_factory=deque)
    active: bool = False
    candidate: Sequence | None = None
    """Its oldest request that could be admitted, as of the last look."""

    def prompt_charge(self, sequence: Sequence) -> int:
        """Compute what admitting a sequence costs, in UNITs."""
        return INPUT_COST * sequence.prompt_length * UNIT // self.weight

    def look(self) -> None:
        """Find the candidate."""
        self.candidate = next((one for one in self.waiting if one.ready), None)
        self.active = self.active and self.candidate is not None


class FairQueue:
    """The requests that were never admitted, bounded per tenant and in all."""

    def __init__(
        self, limits: Limits, weights: Mapping[str, int] | None = None, known: int = 1024
    ) -> None:
        """Start empty.

        Args:
            limits: `waiting` and `waiting_per_tenant` bound the queue.
            weights: shares of tenants; a tenant that is not named has 1.
            known: tenants without waiting requests whose counters are remembered, at least; of
                more than twice as many the least charged are forgotten.
        """
        self._limits = limits
        self._weights = dict(weights or {})
        if any(weight < 1 for weight in self._weights.values()):
            raise ValueError("a tenant's weight must be at least 1")
        self._known = known
        self._tenants: dict[str, _Tenant] = {}
        self._waiting: dict[str, _Tenant] = {}
        self._count = 0
        self._floor = 0
        self.pace = 1.0
        """Seconds between two admissions lately, set by the runner; scales `retry_after`."""

    def __len__(self) -> int:
        """Count the waiting requests."""
        return self._count

    def __iter__(self) -> Iterator[Sequence]:
        """Iterate over all waiting sequences, those of one tenant in order of arrival."""
        for tenant in self._waiting.values():
            yield from tenant.waiting

    @property
    def tenants(self) -> int:
        """Number of tenants whose counters are remembered."""
        return len(self._tenants)

    def counter(self, tenant: str) -> int:
        """Tell a tenant's counter, in UNITs; 0 if it is not known."""
        known = self._tenants.get(tenant)
        return 0 if known is None else known.counter

    def check(self, tenant: str) -> None:
        """Refuse a request that has no place: QUEUE_FULL, TENANT_QUEUE_FULL; changes nothing.

        A tenant may have no more requests waiting than there are free places, so that tenants who
        fill their queues leave a place to those who have none yet (Choudhury and Hahne, "Dynamic
        queue length thresholds for shared-memory packet switches", 1998).
        """
        free = self._limits.waiting - self._count
        if free <= 0:
            raise RequestRefused(
                RequestReason.QUEUE_FULL,
                f"{self._count} requests wait; retry later",
                self._retry_after(self._count),
            )
        own = len(self._waiting[tenant].waiting) if tenant in self._waiting else 0
        if own >= min(free, self._limits.waiting_per_tenant):
            raise RequestRefused(
                RequestReason.TENANT_QUEUE_FULL,
                f"{own} requests of this tenant wait; retry when some are answered",
                self._retry_after(min(own * len(self._waiting), self._count)),
            )

    def push(self, sequence: Sequence) -> None:
        """Queue a sequence; raises RequestRefused as `check` does."""
        name = sequence.request.tenant
        self.check(name)
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = _Tenant(self._weights.get(name, 1))
        tenant.waiting.append(sequence)
        self._waiting[name] = tenant
        self._count += 1
        tenant.look()
        if tenant.candidate is not None and not tenant.active:
            self._activate([tenant])

    def remove(self, sequence: Sequence) -> None:
        """Take out a sequence; raises ValueError if it does not wait."""
        name = sequence.request.tenant
        if name not in self._waiting:
            raise ValueError(f"sequence {sequence.id} does not wait")
        tenant = self._waiting[name]
        tenant.waiting.remove(sequence)
        self._count -= 1
        tenant.look()
        if not tenant.waiting:
            del self._waiting[name]
            self._forget()

    def refresh(self) -> None:
        """Look again which tenants have an admissible request."""
        for tenant in self._waiting.values():
            tenant.look()
        self._activate(
            [t for t in self._waiting.values() if t.candidate is not None and not t.active]
        )

    def first(self, without: Collection[str] = ()) -> Sequence | None:
        """Return who is admitted next, of equals who arrived first; the queue is unchanged.

        Tenants `without`, those who run, are left out, and whoever was charged more than all of
        these: it has to wait for its turn.
        """
        most = max((self.counter(name) for name in without), default=None)
        least: tuple[int, int] | None = None
        first: Sequence | None = None
        for name, tenant in self._waiting.items():
            candidate = tenant.candidate
            if candidate is None or name in without:
                continue
            if most is None or tenant.counter <= most:
                key = tenant.counter, candidate.id
                if least is None or key < least:
                    least, first = key, candidate
        return first

    def upcoming(self, count: int) -> list[Sequence]:
        """List who is likely next, ready or not: those whose adapters are worth fetching."""
        heap = [
            (max(tenant.counter, self._floor), tenant.waiting[0].id, 0, tenant)
            for tenant in self._waiting.values()
        ]
        heapq.heapify(heap)
        likely: list[Sequence] = []
        while heap and len(likely) < count:
            counter, _, index, tenant = heapq.heappop(heap)
            likely.append(tenant.waiting[index])
            if index + 1 < len(tenant.waiting):
                counter += tenant.prompt_charge(likely[-1])
                following = tenant.waiting[index + 1]
                heapq.heappush(heap, (counter, following.id, index + 1, tenant))
        return likely

    def admit(self, sequence: Sequence) -> None:
        """Take out a sequence that is admitted and charge its prompt."""
        tenant = self._tenants[sequence.request.tenant]
        self._floor = max(self._floor, tenant.counter)
        tenant.counter += tenant.prompt_charge(sequence)
        self.remove(sequence)

    def charge(self, tenant: str, outputs: int) -> None:
        """Charge drawn ids."""
        known = self._tenants.get(tenant)
        if known is not None:
            known.counter += OUTPUT_COST * outputs * UNIT // known.weight

    def _activate(self, tenants: list[_Tenant]) -> None:
        if not tenants:
            return
        counters = [tenant.counter for tenant in self._waiting.values() if tenant.active]
        entry = self._floor
        if counters:
            # A little above the least: a stream of tenants that never came before would otherwise
            # all enter in front of one that was served, and it would wait for ever.
            least = min(counters)
            entry = least - (least - max(counters)) // 16
        for tenant in tenants:
            tenant.counter = max(tenant.counter, entry)
            tenant.active = True

    def _forget(self) -> None:
        away = len(self._tenants) - len(self._waiting)
        if away <= 2 * self._known:
            return
        names = [name for name in self._tenants if name not in self._waiting]
        names.sort(key=lambda name: self._tenants[name].counter)
        for name in names[: away - self._known]:
            del self._tenants[name]

    def _retry_after(self, ahead: int) -> int:
        """Guess the seconds until half of so many requests are admitted."""
        return min(LONGEST_RETRY, max(1, math.ceil(self.pace * ahead / 2)))
