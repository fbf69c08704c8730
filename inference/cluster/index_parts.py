"""The parts of an index as Ray tasks: any machine computes any batch, the driver adds them up.

A task that is lost with its machine is computed again by Ray: it depends on its arguments alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import ray
import ray.exceptions
import torch

from inference.attribution.gradients import Passage, TracedModel
from inference.attribution.parts import Part
from inference.cluster.errors import ClusterReason, ClusterRefused

AHEAD = 2
"""Batches on their way per CPU of the cluster, which bounds the memory of what waits to be added.
"""
RETRIES = 4
_held: dict[Any, Any] = {}
"""What this process fetched last: the model and the part of a stage serve many tasks."""


class RayParts:
    """Computes parts on the connected cluster (`connected`)."""

    def __init__(self, cpus: float = 1.0) -> None:
        """`cpus` is what Ray reserves for a task, which computes on as many threads."""
        self._cpus = cpus
        self._task = ray.remote(_compute).options(
            num_cpus=cpus, max_retries=RETRIES, scheduling_strategy="SPREAD"
        )
        self._model: tuple[TracedModel, Any] | None = None

    def each(
        self,
        model: TracedModel,
        passages: Sequence[Passage],
        groups: Sequence[Sequence[int]],
        part: Part,
    ) -> Iterator[Any]:
        """Yield the part of each group, in order; raises ClusterRefused TASK_FAILED."""
        shared = (self._put(model), ray.put(part), torch.get_num_threads())
        ahead = max(1, int(AHEAD * _cpus() / self._cpus))
        under_way: deque[Any] = deque()
        for group in groups:
            if len(under_way) == ahead:
                yield _result(under_way.popleft())
            chosen = [passages[at] for at in group]
            under_way.append(self._task.remote(shared, chosen, list(group)))
        while under_way:
            yield _result(under_way.popleft())

    def _put(self, model: TracedModel) -> Any:
        """Put a model into the object store once; its texts' machinery stays here."""
        if self._model is None or self._model[0] is not model:
            bare = replace(model, backbone=replace(model.backbone, tokenizer=None, template=None))
            self._model = model, ray.put(bare)
        return self._model[1]


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        told = str(error).strip().split("\n")[-1]
        raise ClusterRefused(ClusterReason.TASK_FAILED, told) from error


def _compute(
    shared: tuple[Any, Any, int], passages: Sequence[Passage], group: Sequence[int]
) -> Any:
    """Compute one part, on a worker of Ray's."""
    model, part, threads = shared
    for name in [name for name in _held if name not in (model, part)]:
        del _held[name]
    for name in (model, part):
        if name not in _held:
            _held[name] = ray.get(name)
    # The sums of a product may depend on its threads.
    torch.set_num_threads(threads)
    return _held[part](_held[model], passages, group)


def _cpus() -> float:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("CPU", 1.0)
