"""Launches of the sampler: the draw, and the greatest logits of each row.

Logits are contiguous float32 or bfloat16 [rows, vocabulary]. A row's results depend on that row
alone. Ties go to the lowest id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.kernels.launch import Launch, require, run

SOURCE = "sampler"
THREADS = 256
SEGMENT = 8192
MOST = 32
SUFFIX = {torch.float32: "float", torch.bfloat16: "bf16"}


@dataclass(frozen=True, slots=True)
class Draws:
    """How each row draws; tensors [rows] on the device.

    Attributes:
        temperature: float64; 0 takes the greatest logit, whatever the other fields say.
        key: int64 [rows, 2], the bits of the Philox key's two words, low word first.
        index: int64, the output position.
        floor: float32; a token is kept if its logit is greater than this,
        floor_id: int32, or equal with an id not above this. (−inf, 2^31 − 1) keeps all.
    """

    temperature: Tensor
    key: Tensor
    index: Tensor
    floor: Tensor
    floor_id: Tensor


def scratch_bytes(rows: int, vocabulary: int) -> int:
    """Count the bytes of scratch, uint8 and 8-byte aligned, that any function here needs."""
    return rows * _segments(vocabulary) * (MOST + 2) * 8


def draw(logits: Tensor, draws: Draws, scratch: Tensor, tokens: Tensor) -> None:
    """Draw a token per row into int32 [rows]; −1 where no number is kept.

    Gumbel-max as `inference.sampling.choose` defines it: a token's noise is its word of the Philox
    stream of (key, index); scores are float64.
    """
    run(draw_launches(logits, draws, scratch, tokens))


def greatest(logits: Tensor, scratch: Tensor, values: Tensor, ids: Tensor, log_sum: Tensor) -> None:
    """Find the greatest logits of each row, and the log of the sum of all exponentials.

    Args:
        logits: of the rows.
        scratch: uint8, `scratch_bytes`.
        values: float32 [rows, k], k ≤ MOST, descending; −inf where the vocabulary is smaller.
        ids: int32 [rows, k]; −1 there.
        log_sum: float64 [rows].
    """
    run(greatest_launches(logits, scratch, values, ids, log_sum))


def greatest_steps(logits: Tensor, scratch: Tensor, steps: Tensor, ids: Tensor) -> None:
    """Find the greatest logits after rounding to sixteenths (halves up), as a digest takes them.

    `steps` int32 [rows, k] are the sixteenths, descending, k ≤ MOST; `ids` int32 [rows, k], −1
    where the vocabulary is smaller.
    """
    run(steps_launches(logits, scratch, steps, ids))


def draw_launches(
    logits: Tensor, draws: Draws, scratch: Tensor, tokens: Tensor
) -> Iterator[Launch]:
    """Make the launches of `draw`."""
    rows, vocabulary = _check(logits, scratch)
    segments = _segments(vocabulary)
    ids = scratch[rows * segments * 8 :]
    if rows == 0:
        return
    yield Launch(
        source=SOURCE,
        kernel=f"draw_{SUFFIX[logits.dtype]}",
        grid=(rows, segments, 1),
        block=THREADS,
        arguments=(
            logits,
            np.int32(vocabulary),
            draws.temperature,
            draws.key,
            draws.index,
            draws.floor,
            draws.floor_id,
            scratch,
            ids,
        ),
    )
    yield Launch(
        source=SOURCE,
        kernel="finish_draw",
        grid=(rows, 1, 1),
        block=THREADS,
        arguments=(scratch, ids, np.int32(segments), tokens),
    )


def greatest_launches(
    logits: Tensor, scratch: Tensor, values: Tensor, ids: Tensor, log_sum: Tensor
) -> Iterator[Launch]:
    """Make the launches of `greatest`."""
    for name, sums in _survey(logits, scratch, "survey", ids):
        yield name
        yield Launch(
            source=SOURCE,
            kernel="finish_survey",
            grid=(len(logits), 1, 1),
            block=THREADS,
            arguments=(
                scratch,
                sums,
                np.int32(_segments(logits.shape[1])),
                np.int32(ids.shape[1]),
                values,
                ids,
                log_sum,
            ),
        )


def steps_launches(logits: Tensor, scratch: Tensor, steps: Tensor, ids: Tensor) -> Iterator[Launch]:
    """Make the launches of `greatest_steps`."""
    for name, _ in _survey(logits, scratch, "survey_steps", ids):
        yield name
        yield Launch(
            source=SOURCE,
            kernel="finish_steps",
            grid=(len(logits), 1, 1),
            block=THREADS,
            arguments=(
                scratch,
                np.int32(_segments(logits.shape[1])),
                np.int32(ids.shape[1]),
                steps,
                ids,
            ),
        )


def _survey(
    logits: Tensor, scratch: Tensor, kernel: str, ids: Tensor
) -> Iterator[tuple[Launch, Tensor]]:
    rows, vocabulary = _check(logits, scratch)
    require(ids.shape[1] <= MOST, f"at most {MOST} logits of a row")
    segments = _segments(vocabulary)
    sums = scratch[rows * segments * MOST * 8 :]
    if rows:
        yield (
            Launch(
                source=SOURCE,
                kernel=f"{kernel}_{SUFFIX[logits.dtype]}",
                grid=(rows, segments, 1),
                block=THREADS,
                arguments=(logits, np.int32(vocabulary), scratch, sums),
            ),
            sums,
        )


def _check(logits: Tensor, scratch: Tensor) -> tuple[int, int]:
    rows, vocabulary = logits.shape
    require(logits.dtype in SUFFIX and logits.is_contiguous(), "logits: contiguous float32 or bf16")
    require(logits.data_ptr() % 16 == 0, "logits must be 16-byte aligned")
    require(
        scratch.numel() >= scratch_bytes(rows, vocabulary) and scratch.data_ptr() % 8 == 0,
        "scratch is smaller than scratch_bytes, or not 8-byte aligned",
    )
    return rows, vocabulary


def _segments(vocabulary: int) -> int:
    return -(-vocabulary // SEGMENT)
