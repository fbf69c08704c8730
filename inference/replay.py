"""Recompute a committed answer, many positions at once, and judge it.

An executor gives an output position the same bits whether it is decoded alone or computed with its
neighbours, so on a like machine the trace is equal. On an unlike one, each committed token must
still win, or nearly win, the draw that its seed defines, and the hidden states must nearly be those
of the fingerprint.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from inference.adapters.packed_image import PackedImage
from inference.adapters.resident import Resident
from inference.arena import Arena, CacheShape
from inference.blocks import blocks_for
from inference.executor import Executor, Piece
from inference.fingerprint import Hidden, deviations
from inference.request import Request, RequestReason, RequestRefused, check_request
from inference.sampling import SamplingParams, margin
from inference.trace import Trace, Tracer

CHUNK = 256
TOP = 16


@dataclass(frozen=True, slots=True, order=True)
class Bounds:
    """How far an honest answer of an unlike machine may be from its repetition.

    Attributes:
        margin: logits by which any of its tokens may lose its draw.
        deviation: mean over its positions of `fingerprint.deviations`.
    """

    margin: float
    deviation: float


FP32 = Bounds(margin=0.01, deviation=0.002)
BF16 = Bounds(margin=0.25, deviation=0.0065)
BOUNDS = {"fp32": FP32, "bf16": BF16}
"""By the wider numeric class of the two machines; error rates: `benches/replay_variance.py`."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What the replay saw.

    Attributes:
        trace: of the repetition.
        margins: per output id, by how many logits it lost its draw (0: it won).
        hidden: per output id, the normalised last hidden state, float32 [hidden size].
        tops: per output id, the likeliest ids there and their logits, largest first.
    """

    trace: Trace
    margins: tuple[float, ...]
    hidden: tuple[Hidden, ...] = ()
    tops: tuple[tuple[tuple[int, float], ...], ...] = ()

    def agrees(self, committed: Trace, bounds: Bounds = FP32) -> bool:
        """Whether the answer stands: equal bits and every draw won, or all within the bounds."""
        if committed == self.trace:
            return not any(self.margins)
        if any(lost > bounds.margin for lost in self.margins):
            return False
        found = deviations(committed.fingerprint, self.hidden)
        return found is not None and (not len(found) or float(found.mean()) <= bounds.deviation)


def pages_for(shape: CacheShape, image: PackedImage | None, positions: int) -> int:
    """Count the pages of memory that the replay of a sequence of so many positions needs."""
    image_bytes = 0 if image is None else image.size_bytes
    return blocks_for(positions, shape.positions) + -(-image_bytes // shape.page_bytes)


def replay(
    executor: Executor,
    image: PackedImage | None,
    prompt_ids: Sequence[int],
    output_ids: Sequence[int],
    sampling: SamplingParams,
) -> Replay:
    """Replay an answer teacher-forced; raises RequestRefused for ids that no answer can have.

    Args:
        executor: at rest, and with nothing of others in its memory.
        image: the adapter, packed for the executor's device; None for the base model.
        prompt_ids: the whole prompt.
        output_ids: the committed answer.
        sampling: how it was drawn.
    """
    ids = (*prompt_ids, *output_ids)
    _check(executor, ids, len(prompt_ids))
    arena = Arena(executor.pages, executor.shape.page_bytes)
    resident = None if image is None else _upload(executor, arena, image)
    pages = [arena.take_page() for _ in range(blocks_for(len(ids), executor.shape.positions))]
    blocks = [page for page in pages if page is not None]
    if len(blocks) < len(pages):
        raise _no_room(executor)
    tracer = Tracer()
    margins: list[float] = []
    hidden: list[Hidden] = []
    tops: list[tuple[tuple[int, float], ...]] = []
    for piece in _pieces(ids, len(prompt_ids), blocks, resident):
        rows = executor.step([piece])
        for row in range(len(rows)):
            index = len(margins)
            hidden.append(rows.hidden(row).copy())
            tracer.add(*rows.sixteenths(row), hidden[-1])
            margins.append(margin(rows.logits(row), sampling, index, output_ids[index]))
            tops.append(tuple(zip(*rows.top(row, TOP), strict=True)))
    return Replay(tracer.trace(), tuple(margins), tuple(hidden), tuple(tops))


def _check(executor: Executor, ids: tuple[int, ...], prompt: int) -> None:
    config = executor.config
    check_request(
        Request(ids[:prompt], max(1, len(ids) - prompt)),
        context=config.max_position_embeddings,
        vocabulary=config.vocab_size,
        cache=executor.pages * executor.shape.positions,
    )
    check_request(
        Request(ids, 1),
        context=len(ids) + 1,
        vocabulary=config.vocab_size,
        cache=len(ids) + 1,
    )


def _upload(executor: Executor, arena: Arena, image: PackedImage) -> Resident:
    extent = arena.place(image.size_bytes)
    if extent is None:
        raise _no_room(executor)
    upload = executor.device.upload(image, extent)
    while not upload.done:
        time.sleep(0.0001)
    return Resident(image.content_hash, image.layout, extent)


def _no_room(executor: Executor) -> RequestRefused:
    text = f"the sequence and its adapter do not fit {executor.pages} pages of memory"
    return RequestRefused(RequestReason.ADAPTER_TOO_LARGE, text)


def _pieces(
    ids: tuple[int, ...], prompt: int, blocks: Sequence[int], adapter: Resident | None
) -> list[Piece]:
    """Cut a sequence into prompt pieces, then output pieces; logits from the last prompt id on.

    The last output id is drawn from the position before it, so it is not computed itself.
    """
    pieces = []
    start, end = 0, len(ids) - 1
    while start < end:
        stop = min(start + CHUNK, prompt if start < prompt else end, end)
        wanted = min(max(prompt - 1 - start, 0), stop - start)
        pieces.append(Piece(ids[start:stop], start, blocks, adapter, wanted, prompt))
        start = stop
    return pieces
