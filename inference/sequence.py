"""One request on its way through the engine. Knows no tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference.adapters.state import AdapterState
from inference.request import Request


@dataclass(slots=True, eq=False)
class Sequence:
    """The ids of a request and what the cache holds of them.

    Attributes:
        id: its number, unique in an engine.
        request: what is asked.
        outputs: ids drawn so far; the runner appends. They survive a preemption.
        computed: leading positions whose keys and values are in the cache.
        blocks: the pages of its positions, in order; the block manager alone changes them.
        adapter_state: set by the runner before each `Scheduler.schedule()`; a request without an
            adapter is READY from the start.
        cached: prompt positions that were found in the prefix cache instead of being computed.
        keys: prefix keys of its full prompt blocks, as far as they were needed.
        registered: leading blocks that are in the prefix cache, or whose twin is.
        turn: its place in the order of first admissions; None before.
        passed: `schedule()` calls that found no room for its adapter.
        preempted: how often its pages were taken for an older sequence.
        prompt_length: number of prompt ids.
    """

    id: int
    request: Request
    outputs: list[int] = field(default_factory=list)
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    adapter_state: AdapterState = AdapterState.LOADING
    cached: int = 0
    keys: list[bytes] = field(default_factory=list)
    registered: int = 0
    turn: int | None = None
    passed: int = 0
    preempted: int = 0
    prompt_length: int = field(init=False)

    def __post_init__(self) -> None:
        self.prompt_length = len(self.request.prompt_ids)
        if self.request.adapter is None:
            self.adapter_state = AdapterState.READY

    @property
    def length(self) -> int:
        """Number of ids so far."""
        return self.prompt_length + len(self.outputs)

    @property
    def most(self) -> int:
        """Number of positions that the cache may have to hold."""
        return self.prompt_length + self.request.max_tokens - 1

    @property
    def full(self) -> bool:
        """Whether no further id may be drawn."""
        return len(self.outputs) >= self.request.max_tokens

    @property
    def decodes(self) -> bool:
        """Whether only the newest output is missing in the cache."""
        prompt, computed = self.prompt_length, self.computed
        return computed >= prompt and computed == prompt + len(self.outputs) - 1

    @property
    def ready(self) -> bool:
        """Whether its adapter lets it run."""
        return self.adapter_state is AdapterState.READY

    def ids(self, start: int, count: int) -> list[int]:
        """Copy `count` ids from position `start`."""
        prompt = self.request.prompt_ids
        end = start + count
        tail = self.outputs[max(0, start - len(prompt)) : max(0, end - len(prompt))]
        return [*prompt[start:end], *tail]
