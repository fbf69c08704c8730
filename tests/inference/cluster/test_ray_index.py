"""An index whose parts two Ray nodes compute is the index that one process computes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray_world import two_nodes
from tiny_models import tiny_adapter, tiny_backbone

from inference.attribution.curvature import FitOptions
from inference.attribution.gradients import Passage, TracedModel, traced_model
from inference.attribution.index import IndexedRecord, build_index
from inference.attribution.storage import index_bytes
from inference.cluster.errors import ClusterReason, ClusterRefused
from inference.cluster.index_parts import RayParts
from runtime.primitives.hashing import blake2_256
from runtime.protocols.ids import RecordId
from tests.patience import PATIENCE

pytestmark = pytest.mark.e2e
OPTIONS = FitOptions(coordinates=256, passages=40, batch_tokens=200)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    # The workers of a test cannot import its file.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        with two_nodes():
            yield
    finally:
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def model() -> TracedModel:
    backbone = tiny_backbone()
    return traced_model(backbone, tiny_adapter(backbone, 4).pairs)


def records(count: int) -> list[IndexedRecord]:
    rng = np.random.default_rng(5)
    found = []
    for number in range(count):
        tokens = tuple(int(token) for token in rng.integers(0, 256, int(rng.integers(4, 40))))
        passage = Passage(tokens, (False,) + (True,) * (len(tokens) - 1))
        digest = blake2_256(bytes(tokens))
        found.append(IndexedRecord(RecordId(1, number), digest, passage, (0,) * len(tokens)))
    return found


class Where:
    """A part that waits for one on another machine and says which machine computed it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, model: TracedModel, passages: Sequence[Passage], group: Sequence[int]
    ) -> tuple[list[int], str]:
        node = ray.get_runtime_context().get_node_id()
        (self.folder / node).touch()
        deadline = time.monotonic() + PATIENCE
        while len(list(self.folder.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return list(group), node


def test_an_index_built_on_two_nodes_has_the_bytes_and_roots_of_one_built_here(
    model: TracedModel,
) -> None:
    indexed = records(60)
    stages: list[tuple[str, int, int]] = []
    here = build_index(model, indexed, OPTIONS)
    afar = build_index(model, indexed, OPTIONS, lambda *told: stages.append(told), RayParts())
    assert index_bytes(afar) == index_bytes(here)
    assert afar.index_root() == here.index_root()
    assert afar.curvature_root() == here.curvature_root()
    assert afar.coordinates_root() == here.coordinates_root()
    ends = [stage for stage, done, total in stages if done == total]
    assert ends == ["factors", "eigenvalues", "energy", "codes"]
    assert len(stages) > 20


def test_parts_come_in_the_order_of_their_groups_from_both_nodes(
    model: TracedModel, tmp_path: Path
) -> None:
    passages = [record.passage for record in records(40)]
    groups = [[at] for at in range(40)]
    found = list(RayParts().each(model, passages, groups, Where(tmp_path)))
    assert [group for group, _ in found] == groups
    assert len({node for _, node in found}) == 2


class Fails:
    def __call__(self, *given: Any) -> None:
        raise ValueError("no gradient here")


def test_a_part_that_fails_ends_the_building_with_its_reason(model: TracedModel) -> None:
    passages = [record.passage for record in records(3)]
    with pytest.raises(ClusterRefused, match="no gradient here") as refused:
        list(RayParts().each(model, passages, [[0], [1]], Fails()))
    assert refused.value.reason is ClusterReason.TASK_FAILED
