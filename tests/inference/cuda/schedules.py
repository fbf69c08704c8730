"""Sequences that are fed given ids, computed alone and in random company."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from inference.adapters.resident import Resident
from inference.cuda.executor import DeviceExecutor
from inference.executor import Piece


@dataclass(eq=False)
class Job:
    """Ids that are fed whatever is drawn, so that every run sees the same ones.

    `logits` keeps the bits behind each position from the prompt's last one on; another run of the
    same position must give the same bits.
    """

    ids: list[int]
    prompt: int
    adapter: Resident | None
    computed: int = 0
    pages: list[int] = field(default_factory=list)
    logits: dict[int, bytes] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.computed == len(self.ids)

    def reset(self, pages: Sequence[int]) -> None:
        self.computed, self.pages = 0, list(pages)


def jobs_of(
    count: int, residents: Sequence[Resident | None], *, vocabulary: int = 256, longest: int = 140
) -> list[Job]:
    rng = random.Random(7)
    return [
        Job(
            ids=[rng.randrange(vocabulary) for _ in range(rng.randrange(20, longest))],
            prompt=rng.randrange(1, 20),
            adapter=residents[index % len(residents)],
        )
        for index in range(count)
    ]


def advance(executor: DeviceExecutor, work: Sequence[tuple[Job, int]]) -> None:
    """Compute the next positions of several jobs in one step and compare bits."""
    pieces, taken = [], []
    for job, count in work:
        start = job.computed
        tokens = job.ids[start : start + count]
        wanted = min(max(job.prompt - 1 - start, 0), len(tokens))
        pieces.append(Piece(tokens, start, list(job.pages), job.adapter, wanted, job.prompt))
        taken.append((job, range(start + wanted, start + len(tokens))))
        job.computed = start + len(tokens)
    rows = executor.step(pieces)
    at = 0
    for job, positions in taken:
        for position in positions:
            bits = rows.logits(at).tobytes()
            assert job.logits.setdefault(position, bits) == bits, f"position {position} differs"
            at += 1
    assert at == len(rows)


def run_alone(executor: DeviceExecutor, job: Job, pages: Sequence[int]) -> None:
    """Compute the prompt at once, then one position per step."""
    job.reset(pages)
    advance(executor, [(job, job.prompt)])
    while not job.done:
        advance(executor, [(job, 1)])


def run_together(
    executor: DeviceExecutor, jobs: Sequence[Job], pages: Sequence[int], seed: int
) -> None:
    """Compute jobs in random company, cuts, order and pages; now and then start one anew."""
    rng = random.Random(seed)
    free = rng.sample(list(pages), len(pages))
    for job in jobs:
        job.reset([free.pop() for _ in range(-(-len(job.ids) // executor.shape.positions))])
    while active := [job for job in jobs if not job.done]:
        chosen = rng.sample(active, rng.randrange(1, len(active) + 1))
        if rng.random() < 0.05:
            chosen[0].reset(chosen[0].pages[::-1])
        advance(executor, [(job, rng.choice((1, 1, 2, 7, 40))) for job in chosen])
