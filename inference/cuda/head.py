"""Logits of the wanted rows, in products of one frozen size, and what the sampler needs of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from inference.cuda.decoder_pass import ChunkRows, DecoderPass
from inference.cuda.graphs import Graphs
from inference.cuda.kernel_set import KernelSet
from inference.cuda.outputs import DeviceRows, Summaries
from inference.cuda.weights import DeviceWeights

KEPT = 32
"""Greatest logits of a row that are copied to the host with every step."""
DIGESTED = 16
"""Rounded logits of a row that a digest takes."""


Finished = tuple[Tensor, Tensor, Summaries]
"""Logits, hidden states and summaries of some rows."""


class _Results:
    """Summaries of up to so many rows in one flat buffer, so that one copy fetches them."""

    def __init__(self, rows: int, device: torch.device, pin: bool = False) -> None:
        widths = (
            (torch.float64, 1),
            (torch.float32, KEPT),
            (torch.int32, KEPT),
            (torch.int32, DIGESTED),
            (torch.int32, DIGESTED),
        )
        size = sum(rows * width * dtype.itemsize for dtype, width in widths)
        self.flat = torch.zeros(size, dtype=torch.uint8, device=device, pin_memory=pin)
        views, at = [], 0
        for dtype, width in widths:
            end = at + rows * width * dtype.itemsize
            views.append(self.flat[at:end].view(dtype).view(rows, width))
            at = end
        self.log_sums, self.values, self.ids, self.steps, self.step_ids = views

    def arrays(self, count: int) -> Summaries:
        """Copy the first rows out of host memory."""
        return Summaries(
            values=self.values[:count].numpy().copy(),
            ids=self.ids[:count].numpy().copy(),
            log_sums=self.log_sums[:count, 0].numpy().copy(),
            steps=self.steps[:count].numpy().copy(),
            step_ids=self.step_ids[:count].numpy().copy(),
        )


class Head:
    """Finishes up to `rows` wanted rows at a time."""

    def __init__(
        self,
        rows: int,
        weights: DeviceWeights,
        decoder: DecoderPass,
        kernels: KernelSet,
    ) -> None:
        device, dtype = weights.embedding.device, weights.embedding.dtype
        hidden, vocabulary = weights.config.hidden_size, weights.config.vocab_size
        self._rows = rows
        self._decoder = decoder
        self._kernels = kernels
        self._x = torch.zeros((rows, hidden), dtype=dtype, device=device)
        self._delta = torch.zeros_like(self._x)
        self._hidden = torch.zeros_like(self._x)
        self._logits = torch.zeros((rows, vocabulary), dtype=torch.float32, device=device)
        scratch = kernels.sampler_scratch(rows, vocabulary)
        self._scratch = torch.zeros(scratch, dtype=torch.uint8, device=device)
        self._results = _Results(rows, device)
        self._host = _Results(rows, torch.device("cpu"), pin=device.type == "cuda")
        self._captured: Callable[[], None] | None = None

    def capture(self, graphs: Graphs) -> None:
        """Make one launch of what follows the gathering of rows."""
        if graphs.enabled:
            self._captured = graphs.capture(self._compute)

    def begin(self, total: int) -> Collected:
        """Make room for the wanted rows of a step."""
        return Collected(total, (self._logits[:0], self._hidden[:0], self._host.arrays(0)))

    def collect(self, chunk: ChunkRows, wanted: int, collected: Collected) -> None:
        """Finish the wanted rows of a chunk that has run through the layers."""
        for start in range(0, wanted, self._rows):
            some = chunk.inputs.wanted[start : start + self._rows]
            torch.index_select(chunk.buffers.x, 0, some, out=self._x)
            torch.index_select(chunk.buffers.delta, 0, some, out=self._delta)
            (self._captured or self._compute)()
            self._host.flat.copy_(self._results.flat, non_blocking=True)
            if self._host.flat.is_pinned():
                torch.cuda.current_stream(self._x.device).synchronize()
            count = min(wanted - start, self._rows)
            summaries = self._host.arrays(count)
            collected.add(self._logits[:count], self._hidden[:count], summaries)

    def _compute(self) -> None:
        results = self._results
        self._decoder.head(self._x, self._delta, self._hidden, self._logits)
        self._kernels.greatest(
            self._logits, self._scratch, results.values, results.ids, results.log_sums[:, 0]
        )
        self._kernels.greatest_steps(self._logits, self._scratch, results.steps, results.step_ids)


class Collected:
    """The finished rows of one step, chunk by chunk; `total` rows in all."""

    def __init__(self, total: int, empty: Finished) -> None:
        self._total = total
        self._empty = empty
        self._parts: list[Finished] = []

    def add(self, logits: Tensor, hidden: Tensor, summaries: Summaries) -> None:
        """Keep some rows; copied unless they are all there will be, as the next ones overwrite."""
        if len(logits) < self._total:
            logits, hidden = logits.clone(), hidden.clone()
        self._parts.append((logits, hidden, summaries))

    def rows(self, order: Sequence[int], kernels: KernelSet) -> DeviceRows:
        """Give the rows out; `order` has, for each row as collected, its number for the caller."""
        places = np.empty(len(order), dtype=np.int64)
        places[list(order)] = np.arange(len(order))
        if len(self._parts) < 2:
            logits, hidden, summaries = self._parts[0] if self._parts else self._empty
        else:
            logits = torch.cat([part[0] for part in self._parts])
            hidden = torch.cat([part[1] for part in self._parts])
            summaries = Summaries.joined([part[2] for part in self._parts])
        return DeviceRows(logits, hidden, summaries, places.tolist(), kernels)
