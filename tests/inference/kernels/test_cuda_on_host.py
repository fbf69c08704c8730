"""The shim that runs CUDA sources on a CPU finds the mistakes that it is there to find."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.kernels.launch import Launch
from tests.inference.kernels.on_host import HEADERS, HostRunner, KernelFault, needs_compiler

pytestmark = needs_compiler

SEEDS = range(4)


def result_of(kernel: str, seed: int = 0, blocks: int = 1) -> list[int]:
    out = torch.zeros(32, dtype=torch.int32)
    launch(kernel, seed, out, blocks=blocks)
    return out.tolist()


def launch(kernel: str, seed: int, *tensors: Tensor, blocks: int = 1) -> None:
    runner = HostRunner(seed, HEADERS / "faulty")
    runner([Launch("faulty", kernel, (blocks, 1, 1), 64, tensors)])


def test_a_kernel_without_races_gives_one_result_in_every_order() -> None:
    assert {tuple(result_of("in_order", seed)) for seed in SEEDS} == {tuple(range(32))}


def test_a_race_shows_as_results_that_differ_between_orders() -> None:
    assert len({tuple(result_of("race", seed)) for seed in SEEDS}) > 1


@pytest.mark.parametrize(
    ("kernel", "finding"),
    [
        ("divergent_barrier", "divergent barriers"),
        ("missing_lane", "waits for lane 5, which returned"),
        ("mixed_collectives", "meets"),
        ("past_the_end", "access outside of the tensors"),
        ("misaligned", "misaligned"),
        ("outside_of_shared", "bounds"),
    ],
)
def test_a_mistake_is_reported(kernel: str, finding: str) -> None:
    with pytest.raises(KernelFault, match=finding):
        result_of(kernel)
    assert result_of("in_order") == list(range(32))  # and the next launch works


def test_shared_memory_is_poisoned_before_each_block() -> None:
    assert result_of("unwritten_shared", blocks=3) == [-1] * 32


def test_a_copy_arrives_when_it_is_waited_for_and_not_before() -> None:
    source, out = torch.arange(7, 11, dtype=torch.int32), torch.zeros(4, dtype=torch.int32)
    launch("copy_waited_for", 0, source, out)
    assert out[0] == 7
    launch("copy_not_waited_for", 0, source, out)
    assert out[0] == -1


def test_arguments_of_another_size_than_the_kernels_are_refused() -> None:
    number = Launch("faulty", "in_order", (1, 1, 1), 64, (np.int32(1),))
    with pytest.raises(KernelFault, match=r"takes arguments of \[8\] bytes, not of \[4\]"):
        HostRunner(0, HEADERS / "faulty")([number])
