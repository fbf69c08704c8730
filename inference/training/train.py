"""Train a LoRA adapter on records. The same inputs give the same bytes."""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from inference.adapters.adapter import LoraAdapter, make_adapter, tensor_name
from inference.backbone.lora import LoraPair, LoraPairs
from inference.backbone.model import Backbone
from inference.backbone.sites import LoraSite, site_shape
from inference.training.adamw import FlatAdamW, flatten
from inference.training.config import TrainingConfig
from inference.training.errors import TrainingReason, TrainingRefused
from inference.training.gradient import GradientPool, one_torch_thread
from inference.training.order import Split, epoch_batches, order_hash, split_records
from inference.training.receipt import CODE_VERSION, TrainingReceipt
from inference.training.text import TEMPLATE, encode_record


@dataclass(frozen=True, slots=True)
class Progress:
    """State after a step; `held_out` is the latest measured loss, None if nothing is held out."""

    step: int
    steps: int
    epoch: int
    loss: float
    held_out: float | None


def train(
    backbone: Backbone,
    records: Sequence[Sequence[str]],
    config: TrainingConfig,
    progress: Callable[[Progress], None] | None = None,
    *,
    dataset_root: bytes = b"",
    workers: int | None = None,
) -> tuple[LoraAdapter, TrainingReceipt]:
    """Fine-tune on the records of one Datanet version.

    Args:
        backbone: the base model; stays as it is.
        records: fields in the order of the schema.
        config: hyper-parameters.
        progress: called after every step.
        dataset_root: the version's root, kept in the receipt.
        workers: threads to use (all cores if None); changes the speed only.

    Raises:
        TrainingRefused: NO_TOKENIZER, NO_RECORDS, DIVERGED.
    """
    encoded = [encode_record(backbone, record).ids for record in records]
    if not encoded or min(map(len, encoded)) < 2:
        raise TrainingRefused(
            TrainingReason.NO_RECORDS, "every record needs at least two tokens to learn from"
        )
    split = split_records(len(encoded), config.held_out, config.seed)
    lengths = [len(ids) for ids in encoded]
    epochs = [
        epoch_batches(split.trained, lengths, config.batch_records, config.seed, epoch)
        for epoch in range(config.epochs)
    ]
    run = _Run(backbone, config, encoded, split, progress, workers or os.cpu_count() or 1)
    run.train(epochs)
    adapter = run.adapter()
    receipt = TrainingReceipt(
        code_version=CODE_VERSION,
        template=TEMPLATE,
        base_hash=backbone.content_hash,
        dataset_root=dataset_root,
        records_hash=_records_hash(encoded),
        order_hash=order_hash(split, epochs),
        config=asdict(config),
        losses=tuple(run.losses),
        held_out_losses=tuple(run.held_out_losses),
        tokens=sum(lengths[i] - 1 for i in split.trained),
        adapter_hash=adapter.content_hash,
        versions={
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    )
    return adapter, receipt


class _Run:
    """The moving parts of one run."""

    def __init__(
        self,
        backbone: Backbone,
        config: TrainingConfig,
        encoded: Sequence[Sequence[int]],
        split: Split,
        progress: Callable[[Progress], None] | None,
        workers: int,
    ) -> None:
        self._backbone = backbone
        self._config = config
        self._encoded = encoded
        self._split = split
        self._progress = progress
        self._pairs, vector = trainable(initial_pairs(backbone, config))
        self._optimizer = FlatAdamW(vector, config.weight_decay, config.clip)
        self._pool = GradientPool(backbone, self._pairs, workers)
        self.losses: list[float] = []
        self.held_out_losses: list[float] = []

    def train(self, epochs: Sequence[Sequence[Sequence[int]]]) -> None:
        """Run all epochs."""
        steps = sum(map(len, epochs))
        step = 0
        try:
            with one_torch_thread():
                self._measure()
                for epoch, batches in enumerate(epochs):
                    step = self._epoch(epoch, batches, step, steps)
        finally:
            self._pool.close()

    def adapter(self) -> LoraAdapter:
        """Check and name the result."""
        tensors = {}
        for site, pair in self._pairs.items():
            tensors[tensor_name(site, "A")] = pair.a.detach()
            tensors[tensor_name(site, "B")] = pair.b.detach()
        return make_adapter(self._config.spec, tensors, self._backbone)

    def _epoch(self, epoch: int, batches: Sequence[Sequence[int]], step: int, steps: int) -> int:
        total, tokens = 0.0, 0
        for batch in batches:
            loss, count = self._step(batch, self._config.rate(step, steps))
            step += 1
            total, tokens = total + loss, tokens + count
            if self._progress is not None:
                held = self.held_out_losses[-1] if self.held_out_losses else None
                self._progress(Progress(step, steps, epoch, loss / max(1, count), held))
        self.losses.append(total / max(1, tokens))
        self._measure()
        return step

    def _step(self, batch: Sequence[int], rate: float) -> tuple[float, int]:
        loss, count, gradients = self._pool.gradients([self._encoded[i] for i in batch])
        if not math.isfinite(loss):
            raise TrainingRefused(
                TrainingReason.DIVERGED, "the loss is not finite; lower the learning rate"
            )
        self._optimizer.step(gradients, count, rate)
        return loss, count

    def _measure(self) -> None:
        held = self._split.held_out
        if not held:
            return
        total, tokens = 0.0, 0
        size = self._config.batch_records
        for start in range(0, len(held), size):
            loss, count = self._pool.loss([self._encoded[i] for i in held[start : start + size]])
            total, tokens = total + loss, tokens + count
        self.held_out_losses.append(total / max(1, tokens))


def trainable(pairs: LoraPairs) -> tuple[dict[LoraSite, LoraPair], Tensor]:
    """Put all factors into one vector; return the factors as leaves in it, and the vector."""
    vector, leaves = flatten([side for pair in pairs.values() for side in (pair.a, pair.b)])
    sides = iter(leaves)
    moved = {site: LoraPair(next(sides), next(sides), pair.scale) for site, pair in pairs.items()}
    return moved, vector


def initial_pairs(backbone: Backbone, config: TrainingConfig) -> dict[LoraSite, LoraPair]:
    """Draw A uniformly in ±1/√inputs and set B to zero, so training starts at the base model."""
    spec = config.spec
    pairs = {}
    for number, site in enumerate(spec.sites(backbone.config)):
        outputs, inputs = site_shape(backbone.config, site)
        generator = np.random.Philox(key=config.seed, counter=[0, 0, number, 1])
        words = generator.random_raw(spec.rank_of(site) * inputs) >> np.uint64(40)
        unit = words.astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
        a = torch.from_numpy(unit * np.float32(inputs**-0.5)).view(-1, inputs)
        b = torch.zeros(outputs, spec.rank_of(site))
        pairs[site] = LoraPair(a, b, spec.scale_of(site))
    return pairs


def _records_hash(encoded: Sequence[Sequence[int]]) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for ids in encoded:
        digest.update(len(ids).to_bytes(4, "little") + np.asarray(ids, dtype="<u4").tobytes())
    return digest.digest()
