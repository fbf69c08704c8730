"""Cut the pieces of a step into chunks of frozen shapes. Integers only.

A prompt's positions and an output's positions are two classes of rows with bits of their own:
prompts are computed in products of many rows, outputs in products of a decode step, whatever way
they come: drawn one by one, recomputed after a preemption, or replayed by a verifier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.executor import Piece


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive rows of one piece: `count` tokens from index `first` of its tokens."""

    piece: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are computed together, all of one class."""

    prompt: bool
    spans: tuple[Span, ...]

    @property
    def rows(self) -> int:
        """Number of real rows."""
        return sum(span.count for span in self.spans)


def chunks_of(pieces: Sequence[Piece], prompt_rows: int, decode_rows: int) -> list[Chunk]:
    """Lay out all prompt positions, then all output positions, in the order of the pieces."""
    prompts, outputs = [], []
    for index, piece in enumerate(pieces):
        inside = min(max(piece.prompt - piece.start, 0), len(piece.tokens))
        if inside:
            prompts.append(Span(index, 0, inside))
        if inside < len(piece.tokens):
            outputs.append(Span(index, inside, len(piece.tokens) - inside))
    return [
        *(Chunk(True, spans) for spans in _filled(prompts, prompt_rows)),
        *(Chunk(False, spans) for spans in _filled(outputs, decode_rows)),
    ]


def _filled(spans: Iterable[Span], rows: int) -> list[tuple[Span, ...]]:
    filled: list[tuple[Span, ...]] = []
    current: list[Span] = []
    left = rows
    for span in spans:
        first, count = span.first, span.count
        while count:
            taken = min(count, left)
            current.append(Span(span.piece, first, taken))
            first, count, left = first + taken, count - taken, left - taken
            if not left:
                filled.append(tuple(current))
                current, left = [], rows
    return [*filled, tuple(current)] if current else filled
