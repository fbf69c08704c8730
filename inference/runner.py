"""The engine without its surroundings: sequences in, events out, one step at a time, one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from inference.adapters.errors import AdapterRefused
from inference.adapters.lease import Lease
from inference.adapters.pool import AdapterPool
from inference.adapters.store import AdapterStore
from inference.answering import Job, Listener
from inference.arena import Arena
from inference.backbone.tokenizer import IncrementalDecoder, Tokenizer
from inference.blocks import BlockManager, blocks_for
from inference.executor import Draw, Executor, Piece, Rows
from inference.fairness import FairQueue
from inference.figures import EngineFigures, Recorder
from inference.leasing import Leasing
from inference.request import (
    Finish,
    Limits,
    Request,
    RequestReason,
    RequestRefused,
    check_request,
)
from inference.scheduler import Scheduler, Work
from inference.sequence import Sequence


@dataclass(frozen=True, slots=True)
class _Step:
    """A step that has begun; one that began later has interrupted it."""

    works: list[Work]
    parts: Generator[None, None, Rows]


class Runner:
    """Continuous batching over one executor.

    Only `lease_ahead` and `figures` may be used from other threads than the one of the steps.
    """

    def __init__(
        self,
        executor: Executor,
        tokenizer: Tokenizer | None = None,
        store: AdapterStore | None = None,
        limits: Limits | None = None,
        *,
        changed: Callable[[], None] = lambda: None,
        hurry: Callable[[], bool] = lambda: False,
        weights: Mapping[str, int] | None = None,
        host_bytes: int | None = None,
    ) -> None:
        """Take an executor's whole memory.

        Args:
            executor: computes the steps.
            tokenizer: makes text of ids; None for ids alone.
            store: where adapters come from; None serves the base model only.
            limits: what is admitted at once; `pages` is the executor's affair.
            changed: called from any thread when a step is due though no request has come.
            hurry: asked in the midst of a step whether requests have come, to interrupt it.
            weights: shares of tenants; one that is not named has 1.
            host_bytes: memory for adapters that are loaded but not on the device; None for what
                the executor says.
        """
        limits = limits or Limits()
        self._executor = executor
        self._limits = limits
        self._tokenizer = tokenizer
        self._arena = Arena(executor.pages, executor.shape.page_bytes)
        self.pool: AdapterPool | None = None
        if store is not None:
            self.pool = AdapterPool(
                store,
                self._arena,
                executor.device,
                host_bytes=executor.host_bytes if host_bytes is None else host_bytes,
                reclaim=lambda: self.blocks.reclaim(),
                reclaim_spare=lambda: self.blocks.reclaim_spare(),
                changed=changed,
                host_buffer=executor.host_buffer,
            )
        pages = self._arena if self.pool is None else self.pool
        self.blocks = BlockManager(pages, executor.shape.positions, kept=executor.pages // 4)
        self.scheduler = Scheduler(limits, self.blocks, FairQueue(limits, weights))
        self._ahead = 4 * limits.running
        self._leasing = (
            None if self.pool is None else Leasing(self.pool, self.scheduler, self._ahead)
        )
        self._hurry = hurry
        self._steps: list[_Step] = []
        self._cancelled: list[int] = []
        self._jobs: dict[int, Job] = {}
        self._next_id = 0
        self._admitted = 0
        self._admitted_at = time.perf_counter()
        self._recorder = Recorder()

    def check(self, request: Request) -> None:
        """Refuse what could never be computed here; raises RequestRefused."""
        if request.stop and self._tokenizer is None:
            raise RequestRefused(RequestReason.NO_TOKENIZER, "stop texts need a tokenizer")
        config = self._executor.config
        check_request(
            request,
            context=config.max_position_embeddings,
            vocabulary=config.vocab_size,
            cache=self._executor.pages * self._executor.shape.positions,
        )
        if request.adapter is not None and self.pool is None:
            raise RequestRefused(RequestReason.NO_ADAPTERS, "this engine has no adapter store")

    def lease_ahead(self, request: Request) -> Lease | None:
        """Begin to load the adapter of a request that is about to be submitted, if it is soon due.

        Raises AdapterRefused once the pool is closed.
        """
        if request.adapter is None or self.pool is None or self.scheduler.waiting >= self._ahead:
            return None
        return self.pool.lease(request.adapter, parked=True)

    def submit(
        self,
        request: Request,
        listener: Listener,
        lease: Lease | None = None,
        arrived: float | None = None,
    ) -> int:
        """Queue a checked request, with its lease if there is one; returns its number.

        Raises:
            RequestRefused: TENANT_QUEUE_FULL, QUEUE_FULL; the lease is then released.
        """
        sequence = Sequence(self._next_id, request)
        try:
            self.scheduler.add(sequence)
        except RequestRefused:
            if lease is not None and self.pool is not None:
                self.pool.release(lease)
            raise
        self._next_id += 1
        if lease is not None and self._leasing is not None:
            self._leasing.adopt(sequence, lease)
        decoder = None if self._tokenizer is None else IncrementalDecoder(self._tokenizer)
        self._jobs[sequence.id] = Job(
            sequence=sequence,
            listener=listener,
            decoder=decoder,
            stop_ids=self._executor.config.eos_token_ids,
            arrived=time.perf_counter() if arrived is None else arrived,
        )
        return sequence.id

    @property
    def has_room(self) -> bool:
        """Whether more sequences could run than do."""
        return len(self.scheduler.running) < self._limits.places

    def cancel(self, number: int) -> None:
        """End a request early; one that is done already is left alone.

        What an interrupted step computes ends with it.
        """
        if self._steps:
            self._cancelled.append(number)
        elif number in self._jobs:
            self._finish(self._jobs[number], Finish.CANCELLED)

    def step(self) -> bool:
        """Compute one batch, or a part of it, or first tokens in the midst of the one before.

        A step is interrupted if a request or an adapter has come.

        Returns:
            whether another step is due at once.
        """
        self._fail_those_without_adapter()
        if self._steps:
            works = self.scheduler.interject([step.works for step in self._steps])
        else:
            works = self.scheduler.schedule()
        moved = self._follow()
        if works:
            self._begin(works)
        elif not self._steps:
            return moved
        self._go_on()
        return True

    def _begin(self, works: list[Work]) -> None:
        self._note_admissions(works)
        parts = self._executor.parts([self._piece(work) for work in works])
        self._steps.append(_Step(works, parts))

    def _go_on(self) -> None:
        """Compute the step that began last to its end, or until something has come."""
        step = self._steps[-1]
        while True:
            try:
                next(step.parts)
            except StopIteration as end:
                self._steps.pop()
                self._end(step, end.value)
                break
            if self._hurry() or (self.pool is not None and self.pool.has_news):
                break
        if self.pool is not None:
            self.pool.stand_still(bool(self._steps))
        while self._cancelled and not self._steps:
            self.cancel(self._cancelled.pop())

    def _end(self, step: _Step, rows: Rows) -> None:
        self.scheduler.finished_step(step.works)
        self._recorder.steps += 1
        self._draw([self._jobs[work.sequence.id] for work in step.works if work.draws], rows)

    @property
    def busy(self) -> bool:
        """Whether copies to the device are under way, so that a step is due again soon."""
        return self.pool is not None and self.pool.uploading

    @property
    def figures(self) -> EngineFigures:
        """What was done, and what is held now."""
        held, idle = len(self.blocks.holders), len(self.blocks.idle)
        return EngineFigures(
            running=len(self.scheduler.running),
            waiting=self.scheduler.waiting,
            preempted=self.scheduler.preemptions,
            pages=self._executor.pages,
            pages_free=self._arena.free_pages,
            pages_held=held,
            pages_cached=idle,
            adapters=0 if self.pool is None else len(self.pool.resident),
            pool=None if self.pool is None else self.pool.figures,
            recorder=self._recorder,
        )

    def close(self) -> None:
        """Stop loading adapters."""
        if self.pool is not None:
            self.pool.close()

    def _piece(self, work: Work) -> Piece:
        sequence = work.sequence
        adapter = None
        if self._leasing is not None and sequence.request.adapter is not None:
            adapter = self._leasing.resident(sequence)
        return Piece(
            tokens=sequence.ids(work.start, work.count),
            start=work.start,
            blocks=sequence.blocks,
            adapter=adapter,
            logits_from=work.count - 1 if work.draws else work.count,
            prompt=sequence.prompt_length,
        )

    def _fail_those_without_adapter(self) -> None:
        if self._leasing is None:
            return
        for sequence, lease in self._leasing.refresh():
            failure = lease.failure
            if failure is not None:
                self._fail(self._jobs[sequence.id], failure)

    def _follow(self) -> bool:
        if self._leasing is None:
            return False
        moved = self._leasing.follow(self.scheduler.running, self.scheduler.preempted)
        target = self.scheduler.draining
        if target is not None:
            self._refuse_if_too_large(self._jobs[target.id])
        return moved

    def _refuse_if_too_large(self, job: Job) -> None:
        """Refuse whom no emptying of the memory helps."""
        resident = None if self._leasing is None else self._leasing.resident(job.sequence)
        if resident is None:
            return
        shape, pages = self._executor.shape, self._executor.pages
        needed = blocks_for(job.sequence.most, shape.positions)
        needed += -(-resident.size_bytes // shape.page_bytes)
        if needed > pages:
            text = f"adapter and cache need {needed} pages of memory, there are {pages}"
            self._fail(job, RequestRefused(RequestReason.ADAPTER_TOO_LARGE, text))

    def _note_admissions(self, works: list[Work]) -> None:
        """Measure the queue's pace, from which callers learn when to retry."""
        new = 0
        for work in works:
            sequence = work.sequence
            if sequence.turn is not None and sequence.turn >= self._admitted:
                new += 1
                self._recorder.prompt_tokens += sequence.prompt_length
                self._recorder.cached_tokens += sequence.cached
        if new:
            now = time.perf_counter()
            queue = self.scheduler.queue
            queue.pace += 0.1 * ((now - self._admitted_at) / new - queue.pace)
            self._admitted += new
            self._admitted_at = now

    def _draw(self, jobs: list[Job], rows: Rows) -> None:
        draws = [
            Draw(row, job.sequence.request.sampling, len(job.sequence.outputs))
            for row, job in enumerate(jobs)
        ]
        for row, (job, token) in enumerate(zip(jobs, rows.draw_all(draws), strict=True)):
            sequence = job.sequence
            first = not sequence.outputs
            self._recorder.drew(sequence.request.tenant, job.pause(), first=first)
            try:
                finish = job.take(token, rows, row)
            except RequestRefused as refusal:
                self._fail(job, refusal)
                continue
            if finish is not None:
                self._finish(job, finish)

    def _finish(self, job: Job, finish: Finish) -> None:
        self._leave(job)
        self._recorder.finished[finish] += 1
        job.listener.done(job.answer(finish))

    def _fail(self, job: Job, error: RequestRefused | AdapterRefused) -> None:
        self._leave(job)
        self._recorder.failed += 1
        job.listener.failed(error)

    def _leave(self, job: Job) -> None:
        self.scheduler.remove(job.sequence)
        del self._jobs[job.sequence.id]
        if self._leasing is not None:
            self._leasing.drop(job.sequence)
