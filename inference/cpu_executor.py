"""Steps on the processor: one memory for cache pages and adapter images, float32 throughout."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.adapters.image_layout import Packing
from inference.adapters.packed_image import PackedImage, plain_buffer
from inference.arena import CacheShape, Extent, Move
from inference.backbone.batch import shape_of_cache
from inference.backbone.incremental import IncrementalPass
from inference.backbone.model import Backbone
from inference.digest import Steps, sixteenths
from inference.executor import Draw, Piece, finish
from inference.fingerprint import Hidden
from inference.sampling import Logits, choose

ON_THE_WAY = 64 << 20
"""Bytes of images between disk and memory; what waits longer lies better in the memory itself."""

PACKING = Packing(dtype=torch.float32, tile=None, name="cpu-float32")


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A copy that has ended."""

    ready: bool = True
    done: bool = True


class HeldRows:
    """Rows in the processor's memory: logits float32 [rows, vocabulary], hidden [rows, hidden]."""

    def __init__(self, logits: Logits, hidden: Hidden) -> None:
        self._logits = logits
        self._hidden = hidden

    def __len__(self) -> int:
        return len(self._logits)

    def logits(self, row: int) -> Logits:
        """Return a whole row."""
        whole: Logits = self._logits[row]
        return whole

    def hidden(self, row: int) -> Hidden:
        """Return the normalised last hidden state."""
        state: Hidden = self._hidden[row]
        return state

    def greedy(self, row: int) -> int:
        """Return the id of the largest logit, the lowest of equals."""
        return int(np.argmax(self._logits[row]))

    def draw_all(self, draws: Sequence[Draw]) -> list[int]:
        """Draw ids, each from its whole row."""
        return [choose(self._logits[draw.row], draw.params, draw.index) for draw in draws]

    def top(self, row: int, count: int) -> tuple[list[int], list[float]]:
        """Return the ids and logits of the `count` largest, equals by id."""
        logits = self._logits[row]
        count = min(count, len(logits))
        if not count:
            return [], []
        threshold = np.partition(logits, -count)[-count]
        kept = np.flatnonzero(logits >= threshold)
        kept = kept[np.argsort(-logits[kept], kind="stable")][:count]
        return kept.tolist(), logits[kept].tolist()

    def logprob(self, row: int, token: int) -> float:
        """Return the natural log probability of an id at temperature 1."""
        return float(self._logits[row, token]) - self.log_sum(row)

    def log_sum(self, row: int) -> float:
        """Return the log of the sum of all exponentials."""
        wide = self._logits[row].astype(np.float64)
        most = float(wide.max())
        return most + math.log(float(np.exp(wide - most).sum()))

    def sixteenths(self, row: int) -> tuple[Steps, Steps]:
        """Return the ids and rounded logits that a digest takes."""
        return sixteenths(self._logits[row])


class CpuExecutor:
    """Computes steps with torch; the bits of a row depend on its own sequence only."""

    def __init__(self, backbone: Backbone, pages: int, threads: int = 1) -> None:
        """Reserve the memory.

        Args:
            backbone: the base model.
            pages: of memory, for cache and adapters together.
            threads: per matrix product; more than one pays for models of hundreds of millions of
                parameters only.
        """
        self.config = backbone.config
        self.shape: CacheShape = shape_of_cache(backbone.config)
        self.pages = pages
        self.memory = torch.zeros(pages * self.shape.page_bytes, dtype=torch.uint8)
        self._threads = threads
        use_threads(threads)
        self._pass = IncrementalPass(backbone.decoder, self.memory)

    @property
    def device(self) -> CpuExecutor:
        """Takes adapter images into the same memory."""
        return self

    @property
    def packing(self) -> Packing:
        """How images are laid out here."""
        return PACKING

    @property
    def host_bytes(self) -> int:
        """Of memory, for images on their way into it."""
        return ON_THE_WAY

    def host_buffer(self, size: int) -> Tensor:
        """Allocate uint8 [size] in ordinary memory."""
        return plain_buffer(size)

    def close(self) -> None:
        """Leave the memory to its last user."""

    def upload(self, image: PackedImage, extent: Extent) -> Uploaded:
        """Copy an image into an extent."""
        self.memory[extent.start : extent.start + image.layout.size] = image.data
        return Uploaded()

    def move(self, move: Move) -> None:
        """Copy within the memory; source and target may overlap."""
        source, target = move.source, move.target
        data = self.memory[source.start : source.end].clone()
        self.memory[target.start : target.end] = data

    def step(self, pieces: Sequence[Piece]) -> HeldRows:
        """Compute the pieces and extend the cache."""
        return finish(self.parts(pieces))

    def parts(self, pieces: Sequence[Piece]) -> Generator[None, None, HeldRows]:
        """Do the same, yielding behind every layer."""
        use_threads(self._threads)
        logits, hidden = yield from self._pass.parts(pieces)
        return HeldRows(logits.numpy(), hidden.numpy())


def use_threads(count: int) -> None:
    """Set how many threads a product uses; affects speed, never bits."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
