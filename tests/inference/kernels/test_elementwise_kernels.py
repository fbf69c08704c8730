"""Norms, rotation with the write to the pages, and gated activation: kernels against twins."""

from __future__ import annotations

import pytest
import torch

from inference.kernels import elementwise, elementwise_twin
from inference.kernels.launch import ArgumentsRefused
from tests.inference.kernels.elementwise_cases import EPSILON, Rotation, assert_near, draw
from tests.inference.kernels.on_host import HostRunner, assert_same_bits, needs_compiler
from tests.inference.kernels.paged_case import make_layout

pytestmark = needs_compiler
NAN = float("nan")
RUN = HostRunner()


@pytest.mark.parametrize("hidden", [8, 24, 2048, 2056, 4096, 5000, 16384])
@pytest.mark.parametrize("rows", [1, 3])
def test_norms_agree_with_the_twin(rows: int, hidden: int) -> None:
    x, y, weight = draw(rows, hidden), draw(rows, hidden, seed=1), draw(hidden, seed=2)
    truth, ours = torch.empty_like(x), torch.full_like(x, NAN)
    elementwise_twin.rms_norm(x, weight, EPSILON, truth)
    HostRunner()(elementwise.norm_launches(x, None, weight, EPSILON, ours))
    assert_near(ours, truth)
    summed, ours = x.clone(), torch.full_like(x, NAN)
    HostRunner()(elementwise.norm_launches(summed, y, weight, EPSILON, ours))
    elementwise_twin.add_rms_norm(x, y, weight, EPSILON, truth)
    assert_same_bits(summed, x)
    assert_near(ours, truth)


@pytest.mark.parametrize("seed", [0, 7])
def test_a_norm_does_not_depend_on_other_rows_or_the_order_of_threads(seed: int) -> None:
    x, weight = draw(5, 2600), draw(2600, seed=1)
    together, alone = torch.empty_like(x), torch.empty_like(x[:1])
    HostRunner(seed)(elementwise.norm_launches(x, None, weight, EPSILON, together))
    HostRunner()(elementwise.norm_launches(x[3:4].clone(), None, weight, EPSILON, alone))
    assert_same_bits(alone[0], together[3])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize(
    ("head_dim", "heads", "kv_heads"), [(16, 1, 1), (64, 6, 2), (80, 3, 3), (96, 4, 1), (256, 2, 1)]
)
def test_rotation_agrees_with_the_twin(
    head_dim: int, heads: int, kv_heads: int, bias: bool, norms: bool
) -> None:
    rotation = Rotation(make_layout(kv_heads, head_dim), heads, [0, 33, -1, 15, 16])
    qkv, memory = rotation.by_kernel(RUN, bias=bias, norms=norms)
    true_qkv, true_memory = rotation.by_twin(bias=bias, norms=norms)
    assert_near(qkv, true_qkv)
    assert_same_bits(qkv[2], rotation.qkv[2])
    untouched = (true_memory == rotation.memory).view(-1, 2).all(1).repeat_interleave(2)
    assert_same_bits(memory[untouched], true_memory[untouched])
    assert_near(memory.view(torch.bfloat16), true_memory.view(torch.bfloat16))


def test_keys_and_values_of_the_qkv_rows_are_kept() -> None:
    rotation = Rotation(make_layout(2, 32), 2, [5, 6])
    qkv, _ = rotation.by_kernel(RUN, bias=True, norms=True)
    assert_same_bits(qkv[:, 64:], rotation.qkv[:, 64:])


def test_a_rotation_does_not_depend_on_other_rows_or_the_order_of_threads() -> None:
    rotation = Rotation(make_layout(2, 64), 4, [3, 8, 21])
    qkv, memory = rotation.by_kernel(RUN, bias=True, norms=True)
    shuffled, memory_too = rotation.by_kernel(HostRunner(9), bias=True, norms=True)
    assert_same_bits(shuffled, qkv)
    assert_same_bits(memory_too, memory)
    rotation.cache_rows.positions[:2] = -1
    alone, _ = rotation.by_kernel(RUN, bias=True, norms=True)
    assert_same_bits(alone[2], qkv[2])


@pytest.mark.parametrize(("rows", "width"), [(1, 8), (3, 2048), (2, 2056), (4, 72)])
def test_the_activation_agrees_with_the_twin(rows: int, width: int) -> None:
    gate_up = draw(rows, 2 * width) * 4
    gate_up[0, :4] = torch.tensor([-200.0, 200.0, 0.0, -0.0])
    truth, ours = torch.empty(rows, width).bfloat16(), torch.full((rows, width), NAN).bfloat16()
    elementwise_twin.silu_multiply(gate_up, truth)
    HostRunner(5)(elementwise.silu_launches(gate_up, ours))
    assert_near(ours, truth)
    alone = torch.empty_like(ours[:1])
    HostRunner()(elementwise.silu_launches(gate_up[-1:].clone(), alone))
    assert_same_bits(alone[0], ours[-1])


def test_no_rows_take_no_launch() -> None:
    none = draw(0, 16)
    assert not list(elementwise.norm_launches(none, None, draw(16), EPSILON, none))
    assert not list(elementwise.silu_launches(draw(0, 32), none))


def test_what_the_kernels_cannot_read_is_refused() -> None:
    with pytest.raises(ArgumentsRefused, match="multiples of 8"):
        list(elementwise.norm_launches(draw(1, 12), None, draw(12), EPSILON, draw(1, 12)))
    with pytest.raises(ArgumentsRefused, match="bfloat16"):
        list(elementwise.silu_launches(torch.zeros(1, 32), draw(1, 16)))
    with pytest.raises(ArgumentsRefused, match="aligned"):
        list(elementwise.silu_launches(draw(66)[1:33].view(1, 32), draw(1, 16)))
