"""A device without arithmetic: real scheduler, real arena; positions remember what was written.

What a position holds is the adapter and all ids up to it, which is all that real keys and values
depend on. So a sequence that reads another one's page wrongly is found out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from inference.adapters.state import AdapterState
from inference.arena import Arena, Extent, Move
from inference.blocks import BlockManager, blocks_for
from inference.fairness import FairQueue
from inference.request import Limits, Request, RequestRefused
from inference.scheduler import MORE_FOR_STRANGERS, SHORT_STEPS, Scheduler, Work
from inference.sequence import Sequence

PAGE_BYTES = 1024
TENANTS = 3
"""Most tenants of a simulation whose prompts share the rows of a step."""
POSITIONS = 4


@dataclass(eq=False)
class SimulatedAdapter:
    """An image of `size` bytes that takes `delay` cycles to come."""

    size: int
    delay: int
    left: int = 0
    extent: Extent | None = None
    users: set[int] = field(default_factory=set)

    def request(self, user: int) -> None:
        if not self.users and self.extent is None:
            self.left = self.delay
        self.users.add(user)


class SharedMemory:
    """Pages and adapter images in one arena; idle images are evicted for pages, oldest first."""

    def __init__(self, pages: int, adapters: dict[bytes, SimulatedAdapter]) -> None:
        self.arena = Arena(pages, PAGE_BYTES)
        self.adapters = adapters
        self.written: dict[tuple[int, int], object] = {}
        self.held: set[int] = set()
        self.still = False

    def movable(self, extent: Extent) -> bool:
        return not self.still

    @property
    def free_pages(self) -> int:
        return self.arena.free_pages

    def take_page(self) -> int | None:
        while (page := self.arena.take_page()) is None:
            moves = self.arena.page_compaction(self.movable)
            if not self.move(moves) and not self.evict_idle():
                return None
        self.held.add(page)
        return page

    def give_page(self, page: int) -> None:
        self.held.remove(page)
        self.arena.give_page(page)
        for offset in range(POSITIONS):
            self.written.pop((page, offset), None)

    def evict_idle(self) -> bool:
        for adapter in self.adapters.values():
            if adapter.extent is not None and not adapter.users:
                self.arena.remove(adapter.extent)
                adapter.extent = None
                return True
        return False

    def place(self, adapter: SimulatedAdapter, blocks: BlockManager) -> bool:
        while adapter.extent is None:
            adapter.extent = self.arena.place(adapter.size)
            if adapter.extent is None and not (
                self.move(self.arena.compaction(adapter.size, self.movable))
                or blocks.reclaim_spare()
                or self.evict_idle()
                or blocks.reclaim()
            ):
                return False
        return True

    def move(self, moves: list[Move]) -> bool:
        for move in moves:
            (moved,) = (one for one in self.adapters.values() if one.extent == move.source)
            self.arena.apply(move)
            moved.extent = move.target
        return bool(moves)

    def assert_conserved(self, blocks: BlockManager, sequences: list[Sequence]) -> None:
        """Every page is free, under an image, idle or held, by exactly those who list it."""
        listed = Counter(page for one in sequences for page in one.blocks)
        assert dict(blocks.holders) == listed
        assert self.held == set(listed) | set(blocks.idle)
        assert not set(listed) & set(blocks.idle)
        assert len(set(blocks.idle)) == len(blocks.idle)
        assert len(set(blocks.remembered.values())) == len(blocks.remembered)
        assert set(blocks.idle) <= set(blocks.remembered.values()) <= self.held
        extents = sum(extent.size for extent in self.arena.extents)
        assert self.arena.free_bytes + extents + len(self.held) * PAGE_BYTES == self.arena.size
        for one in sequences:
            assert len(set(one.blocks)) == len(one.blocks)
            for index, page in enumerate(one.blocks):
                if page in blocks.remembered.values():
                    assert (index + 1) * POSITIONS <= min(one.computed, one.prompt_length)
                else:
                    assert listed[page] == 1

    def write(self, sequence: Sequence, start: int, count: int, blocks: BlockManager) -> None:
        for position in range(start, start + count):
            page = sequence.blocks[position // POSITIONS]
            assert blocks.holders[page] == 1
            assert page not in blocks.remembered.values()
            self.written[page, position % POSITIONS] = self._content(sequence, position)

    def assert_readable(self, sequence: Sequence) -> None:
        for position in range(sequence.computed):
            page = sequence.blocks[position // POSITIONS]
            expected = self._content(sequence, position)
            assert self.written[page, position % POSITIONS] == expected

    def _content(self, sequence: Sequence, position: int) -> object:
        return sequence.request.adapter, tuple(sequence.ids(0, position + 1))


class SimulatedEngine:
    """Runs the scheduler as a runner does and checks all that must hold in every cycle."""

    def __init__(
        self,
        limits: Limits,
        adapters: dict[bytes, SimulatedAdapter] | None = None,
        *,
        weights: dict[str, int] | None = None,
        kept: int = 0,
        patience: int = 5,
        prefetch: int | None = None,
    ) -> None:
        self.limits = limits
        self.adapters = adapters or {}
        self.memory = SharedMemory(limits.pages, self.adapters)
        self.blocks = BlockManager(self.memory, POSITIONS, kept)
        self.queue = FairQueue(limits, weights)
        self.scheduler = Scheduler(limits, self.blocks, self.queue, patience)
        self.prefetch = limits.waiting if prefetch is None else prefetch
        self.live: dict[int, Sequence] = {}
        self.finished: list[Sequence] = []
        self.admitted: list[Sequence] = []
        self.cycles = 0
        self.bound = 0
        self.passed = 0
        self._next = 0

    def fits(self, request: Request) -> bool:
        """Whether the request and its adapter fit into the memory if they are alone."""
        pages = blocks_for(len(request.prompt_ids) + request.max_tokens - 1, POSITIONS)
        if request.adapter is not None:
            pages += -(-self.adapters[request.adapter].size // PAGE_BYTES)
        return pages <= self.limits.pages

    def submit(self, request: Request) -> Sequence:
        """Queue a request; raises RequestRefused."""
        assert self.fits(request)
        sequence = Sequence(self._next, request)
        self.scheduler.add(sequence)
        self._next += 1
        self.live[sequence.id] = sequence
        total = len(request.prompt_ids) + request.max_tokens
        delay = self.adapters[request.adapter].delay if request.adapter else 0
        # Its chunks while all tenants have prompts, its outputs, a round of draining for each of
        # its pages, its loading.
        full = -(-2 * total * TENANTS // self.limits.rows) + request.max_tokens + 1
        full += 2 * blocks_for(total, POSITIONS) + delay + 4
        self.bound += (1 + SHORT_STEPS + MORE_FOR_STRANGERS) * full
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        self.scheduler.remove(sequence)
        self._end(sequence)

    def cycle(self, arriving: Iterable[Request] = ()) -> list[Work]:
        """Load, schedule, compute, draw; what arrives interrupts the step."""
        self.cycles += 1
        self._load()
        works = self.scheduler.schedule()
        self._check(works)
        if works:
            self._compute([works], iter(arriving))
        self.memory.still = False
        return works

    def _compute(self, steps: list[list[Work]], arriving: Iterator[Request]) -> None:
        """Compute the latest step; what it reads and writes has to stay while others interrupt."""
        works = steps[-1]
        for number, request in enumerate(arriving):
            self.memory.still = True
            with suppress(RequestRefused):
                self.submit(request)
            self._load()
            before = [self._seen(one) for one in steps]
            hasty = self.scheduler.interject(steps)
            self._check_short(hasty, steps)
            if hasty:
                self._compute([*steps, hasty], islice(arriving, number % 2))
            assert [self._seen(one) for one in steps] == before
        for work in works:
            self.memory.write(work.sequence, work.start, work.count, self.blocks)
        self._finish(works)

    def _seen(self, works: list[Work]) -> list[object]:
        """List what a step depends on."""
        seen: list[object] = []
        for work in works:
            one = work.sequence
            assert one in self.scheduler.running
            adapter = None if one.request.adapter is None else self.adapters[one.request.adapter]
            extent = None if adapter is None else adapter.extent
            seen.append((one.id, tuple(one.blocks), one.computed, tuple(one.outputs), extent))
        return seen

    def _finish(self, works: list[Work]) -> None:
        self.scheduler.finished_step(works)
        for one in self.scheduler.running:
            self.memory.assert_readable(one)
        for work in works:
            if work.draws:
                sequence = work.sequence
                sequence.outputs.append((7 * sequence.id + len(sequence.outputs)) % 5)
                if sequence.full:
                    self.scheduler.remove(sequence)
                    self.finished.append(sequence)
                    self._end(sequence)
        self.memory.assert_conserved(self.blocks, list(self.live.values()))

    def run(self, cycles: int | None = None) -> None:
        """Cycle until nothing is left, within the bound of what was ever submitted."""
        start = self.cycles
        while not self.scheduler.idle:
            self.cycle()
            assert self.cycles - start <= (self.bound if cycles is None else cycles)

    def _end(self, sequence: Sequence) -> None:
        del self.live[sequence.id]
        if sequence.request.adapter is not None:
            self.adapters[sequence.request.adapter].users.discard(sequence.id)

    def _load(self) -> None:
        target = self.scheduler.draining
        running = {one.id for one in self.scheduler.running}
        wanted = {one.id for one in self.scheduler.upcoming(self.prefetch)}
        for sequence in self.live.values():
            if sequence.request.adapter is None:
                continue
            adapter = self.adapters[sequence.request.adapter]
            if target is None or sequence is target or sequence.id in running:
                if sequence.id in wanted | running or sequence is target:
                    adapter.request(sequence.id)
            else:
                adapter.users.discard(sequence.id)
                sequence.adapter_state = AdapterState.LOADING
        for adapter in self.adapters.values():
            if adapter.users and adapter.left:
                adapter.left -= 1
            elif adapter.users:
                self.memory.place(adapter, self.blocks)
        for sequence in self.live.values():
            if sequence.request.adapter is not None:
                sequence.adapter_state = self._state(sequence)

    def _state(self, sequence: Sequence) -> AdapterState:
        adapter = self.adapters[sequence.request.adapter or b""]
        if sequence.id not in adapter.users or adapter.left:
            return AdapterState.LOADING
        return AdapterState.NO_ROOM if adapter.extent is None else AdapterState.READY

    def _check(self, works: list[Work]) -> None:
        limits, running = self.limits, self.scheduler.running
        preempted = self.scheduler.preempted
        assert len(running) + len(preempted) <= limits.places
        turns = [one.turn for one in (*running, *preempted)]
        assert turns == sorted(turns, key=lambda turn: -1 if turn is None else turn)
        assert len(self.queue) <= limits.waiting
        waiting = Counter(one.request.tenant for one in self.queue)
        assert all(count <= limits.waiting_per_tenant for count in waiting.values())
        assert len({work.sequence.id for work in works}) == len(works)
        prompt_rows = 0
        for work in works:
            sequence = work.sequence
            assert sequence in running
            assert sequence.adapter_state is AdapterState.READY
            assert work.start == sequence.computed
            assert work.count >= 1
            assert work.draws == (work.start + work.count == sequence.length)
            if not sequence.decodes:
                prompt_rows += work.count
        assert prompt_rows <= limits.rows
        kinds = [work.sequence.decodes for work in works]
        assert kinds == sorted(kinds, reverse=True)
        passed = bool(works) and not works_on(running[0], works)
        if passed and self.scheduler.draining not in running:
            self._check_short(works, [])
        else:
            self.passed = 0
        self.admitted.extend(one for one in running if one not in self.admitted)
        self.memory.assert_conserved(self.blocks, list(self.live.values()))

    def _check_short(self, works: list[Work], interrupted: list[list[Work]]) -> None:
        """A short step is for first tokens, of strangers if there are any, and rare enough."""
        if not works:
            return
        self.passed += 1
        served = {one.request.tenant for one in self.scheduler.running if one.outputs}
        strangers = [work.sequence.request.tenant not in served for work in works]
        assert all(strangers) or not any(strangers)
        most = SHORT_STEPS + (MORE_FOR_STRANGERS if any(strangers) else 0)
        assert self.passed <= most, "the oldest is passed over too often"
        for work in works:
            assert not work.sequence.outputs
            assert not work.sequence.decodes
            assert not any(works_on(work.sequence, step) for step in interrupted)
        if interrupted and not any(work.sequence.outputs for work in interrupted[-1]):
            assert all(strangers), "others than strangers have interrupted a short step"
            tenants = {work.sequence.request.tenant for work in interrupted[-1]}
            assert tenants & served, "a stranger's step was interrupted"


def works_on(sequence: Sequence, works: list[Work]) -> bool:
    return any(work.sequence is sequence for work in works)
