"""One request on its way through the engine. Knows no tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference.request import Request


@dataclass(slots=True, eq=False)
class Sequence:
    """The ids of a request and how many of their positions the cache holds."""

    id: int
    request: Request
    outputs: list[int] = field(default_factory=list)
    computed: int = 0
    blocks: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """Number of ids so far."""
        return len(self.request.prompt_ids) + len(self.outputs)

    @property
    def most(self) -> int:
        """Number of positions that the cache may have to hold."""
        return len(self.request.prompt_ids) + self.request.max_tokens - 1

    @property
    def full(self) -> bool:
        """Whether no further id may be drawn."""
        return len(self.outputs) >= self.request.max_tokens

    def ids(self, start: int, count: int) -> list[int]:
        """Copy `count` ids from position `start`."""
        prompt = self.request.prompt_ids
        end = start + count
        tail = self.outputs[max(0, start - len(prompt)) : max(0, end - len(prompt))]
        return [*prompt[start:end], *tail]
