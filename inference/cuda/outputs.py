"""What one step leaves for the sampler: small summaries at once, whole rows on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inference.cuda.draws import Threshold, draw_rows, threshold_of
from inference.cuda.kernel_set import KernelSet
from inference.digest import Steps
from inference.executor import Draw
from inference.fingerprint import Hidden
from inference.sampling import Logits, SamplingParams


@dataclass(frozen=True, slots=True)
class Summaries:
    """Of each wanted row, in host memory.

    Attributes:
        values: float32 [rows, k], the greatest logits, largest first, ties by id.
        ids: int32 [rows, k]; −1 behind the end of a small vocabulary.
        log_sums: float64 [rows], the log of the sum of the exponentials of all logits.
        steps: int32 [rows, 16], the greatest after rounding to sixteenths, ties by id.
        step_ids: int32 [rows, 16], their ids.
    """

    values: NDArray[np.float32]
    ids: NDArray[np.int32]
    log_sums: NDArray[np.float64]
    steps: NDArray[np.int32]
    step_ids: NDArray[np.int32]

    @classmethod
    def joined(cls, parts: Sequence[Summaries]) -> Summaries:
        """Put the rows of several together."""
        return cls(
            values=np.concatenate([part.values for part in parts]),
            ids=np.concatenate([part.ids for part in parts]),
            log_sums=np.concatenate([part.log_sums for part in parts]),
            steps=np.concatenate([part.steps for part in parts]),
            step_ids=np.concatenate([part.step_ids for part in parts]),
        )


class DeviceRows:
    """The wanted rows of one step; valid until the next step.

    `places` says, for each row in the caller's order, where it lies in the tensors.
    """

    def __init__(
        self,
        logits: Tensor,
        hidden: Tensor,
        summaries: Summaries,
        places: Sequence[int],
        kernels: KernelSet,
    ) -> None:
        self._places = places
        self._logits = logits
        self._hidden = hidden
        self._summaries = summaries
        self._kernels = kernels
        self._whole: dict[int, Logits] = {}

    def __len__(self) -> int:
        return len(self._places)

    def logits(self, row: int) -> Logits:
        """Copy a whole row, float32 [vocabulary]."""
        known = self._whole.get(row)
        if known is None:
            known = self._whole[row] = self._logits[self._places[row]].float().cpu().numpy()
        return known

    def hidden(self, row: int) -> Hidden:
        """Copy the normalised last hidden state, float32 [hidden size]."""
        state: Hidden = self._hidden[self._places[row]].float().cpu().numpy()
        return state

    def greedy(self, row: int) -> int:
        """Return the id of the largest logit, the lowest of equals."""
        return int(self._summaries.ids[self._places[row], 0])

    def draw_all(self, draws: Sequence[Draw]) -> list[int]:
        """Draw ids, as `inference.sampling.choose` does, with one launch for all."""
        return draw_rows(self, self._logits, self._places, draws, self._kernels)

    def top(self, row: int, count: int) -> tuple[list[int], list[float]]:
        """Return the ids and logits of the `count` largest (all, if fewer), equals by id."""
        count = min(count, int(self._logits.shape[1]))
        if count <= self._summaries.ids.shape[1]:
            ids, values = (
                self._summaries.ids[self._places[row], :count],
                self._summaries.values[self._places[row], :count],
            )
            return ids.tolist(), values.tolist()
        logits = self.logits(row)
        best = np.argsort(-logits, kind="stable")[:count]
        return best.tolist(), logits[best].tolist()

    def logprob(self, row: int, token: int) -> float:
        """Return the natural log probability of an id at temperature 1."""
        known = np.flatnonzero(self._summaries.ids[self._places[row]] == token)
        if len(known):
            logit = float(self._summaries.values[self._places[row], known[0]])
        else:
            logit = float(self._logits[self._places[row], token])
        return logit - self.log_sum(row)

    def log_sum(self, row: int) -> float:
        """Return the log of the sum of all exponentials."""
        return float(self._summaries.log_sums[self._places[row]])

    def sixteenths(self, row: int) -> tuple[Steps, Steps]:
        """Return the ids and rounded logits that a digest takes."""
        ids = self._summaries.step_ids[self._places[row]].astype(np.int64)
        kept = ids >= 0
        return ids[kept], self._summaries.steps[self._places[row]].astype(np.int64)[kept]

    def threshold(self, row: int, params: SamplingParams) -> Threshold | None:
        """Say what a draw's filters keep; None where the greatest logits do not tell."""
        ids = self._summaries.ids[self._places[row]]
        count = int((ids >= 0).sum())
        values = self._summaries.values[self._places[row], :count]
        return threshold_of(
            values,
            ids,
            len(self._logits[self._places[row]]),
            params,
            lambda: self._mass(row, params),
        )

    def _mass(self, row: int, params: SamplingParams) -> float:
        # One row at a time, so that the order of the sum depends on the vocabulary alone.
        scores = self._logits[self._places[row]].double() / params.temperature
        return float((scores - scores.max()).exp().sum())
