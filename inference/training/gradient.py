"""Loss and gradient of a batch, on all cores, with the same bits on any number of them.

A batch is always cut into the same shards. Each is computed on one thread, and the results are
added in the order of the shards; so the number of workers decides when a shard is computed, never
what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.backbone.lora import LoraPairs
from inference.backbone.model import Backbone
from inference.training.loss import head_loss

SHARDS = 2


@dataclass(frozen=True, slots=True)
class Rows:
    """Records of one shard, padded on the right: ids int64 [records, length]."""

    ids: Tensor
    predicting: Tensor
    """int64 [tokens]: flat positions that have a next token."""
    targets: Tensor
    """int64 [tokens]: those next tokens."""


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep products on their calling thread for the length of a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class GradientPool:
    """Computes batches for one set of trained factors."""

    def __init__(self, backbone: Backbone, pairs: LoraPairs, workers: int) -> None:
        self._backbone = backbone
        self._pairs = pairs
        self._parameters = tuple(t for pair in pairs.values() for t in (pair.a, pair.b))
        self._workers = ThreadPoolExecutor(
            workers, initializer=torch.set_num_threads, initargs=(1,)
        )

    def close(self) -> None:
        """Stop the workers."""
        self._workers.shutdown()

    def loss(self, records: Sequence[Sequence[int]]) -> tuple[float, int]:
        """Sum the losses of a batch without gradients; also count the predicted tokens."""
        parts = list(self._workers.map(self._measure, _shards(records)))
        return sum(loss for loss, _ in parts), sum(count for _, count in parts)

    def gradients(self, records: Sequence[Sequence[int]]) -> tuple[float, int, list[Tensor]]:
        """Sum losses and gradients of a batch; gradients in the order of the factors."""
        parts = list(self._workers.map(self._differentiate, _shards(records)))
        gradients = list(parts[0][2])
        for _, _, more in parts[1:]:
            for total, gradient in zip(gradients, more, strict=True):
                total += gradient
        return sum(p[0] for p in parts), sum(p[1] for p in parts), gradients

    def _measure(self, rows: Rows) -> tuple[float, int]:
        with torch.no_grad():
            return self._summed(rows).item(), int(rows.targets.numel())

    def _differentiate(self, rows: Rows) -> tuple[float, int, tuple[Tensor, ...]]:
        loss = self._summed(rows)
        gradients = torch.autograd.grad(loss, self._parameters)
        return loss.detach().item(), int(rows.targets.numel()), gradients

    def _summed(self, rows: Rows) -> Tensor:
        hidden = self._backbone.hidden(rows.ids, self._pairs).flatten(0, 1)
        return head_loss(hidden[rows.predicting], self._backbone.decoder.head, rows.targets)


def _shards(records: Sequence[Sequence[int]]) -> list[Rows]:
    size = -(-len(records) // SHARDS)
    return [_rows(records[i : i + size]) for i in range(0, len(records), size)]


def _rows(records: Sequence[Sequence[int]]) -> Rows:
    length = max(map(len, records))
    ids = torch.tensor([[*record, *[0] * (length - len(record))] for record in records])
    predicting = [
        row * length + at for row, record in enumerate(records) for at in range(len(record) - 1)
    ]
    targets = [token for record in records for token in record[1:]]
    return Rows(ids, torch.tensor(predicting), torch.tensor(targets))
