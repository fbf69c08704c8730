"""The row-wise kernels on a GPU: against their twins, and a row alone against a full batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("cupy", reason="cupy is not installed")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

from inference.kernels import elementwise, elementwise_twin
from inference.kernels.launch import run
from tests.inference.kernels.elementwise_cases import EPSILON, Rotation, assert_near, draw
from tests.inference.kernels.on_host import assert_same_bits
from tests.inference.kernels.paged_case import make_layout

pytestmark = pytest.mark.gpu


def poisoned(like: Tensor) -> Tensor:
    return torch.full_like(like, float("nan"))


@pytest.mark.parametrize("hidden", [8, 2048, 3072, 4096, 8192, 16384])
def test_norms_agree_with_the_twin_on_the_device(hidden: int) -> None:
    x, y = draw(65, hidden).cuda(), draw(65, hidden, seed=1).cuda()
    weight = draw(hidden, seed=2).cuda()
    truth, ours, alone = torch.empty_like(x), poisoned(x), poisoned(x[:1])
    summed, one = x.clone(), x[40:41].clone()
    elementwise.add_rms_norm(summed, y, weight, EPSILON, ours)
    elementwise.add_rms_norm(one, y[40:41].clone(), weight, EPSILON, alone)
    assert_same_bits(alone, ours[40:41])
    elementwise_twin.add_rms_norm(x, y, weight, EPSILON, truth)
    assert_same_bits(summed, x)
    assert_near(ours, truth)
    elementwise.rms_norm(x, weight, EPSILON, ours)
    elementwise_twin.rms_norm(x, weight, EPSILON, truth)
    assert_near(ours, truth)


@pytest.mark.parametrize("extras", [False, True])
@pytest.mark.parametrize(
    ("head_dim", "heads", "kv_heads"), [(64, 32, 8), (80, 6, 2), (128, 32, 8), (256, 8, 1)]
)
def test_rotation_agrees_with_the_twin_on_the_device(
    head_dim: int, heads: int, kv_heads: int, extras: bool
) -> None:
    positions = [*range(60, 123), -1]
    rotation = Rotation(make_layout(kv_heads, head_dim), heads, positions, "cuda")
    qkv, memory = rotation.by_kernel(run, bias=extras, norms=extras)
    true_qkv, true_memory = rotation.by_twin(bias=extras, norms=extras)
    assert_near(qkv, true_qkv)
    assert_near(memory.view(torch.bfloat16), true_memory.view(torch.bfloat16))
    assert_same_bits(qkv[63], rotation.qkv[63])


def test_the_activation_agrees_with_the_twin_on_the_device() -> None:
    gate_up = (draw(64, 2 * 14336) * 4).cuda()
    truth = torch.empty(64, 14336, dtype=torch.bfloat16, device="cuda")
    ours, alone = poisoned(truth), poisoned(truth[:1])
    elementwise.silu_multiply(gate_up, ours)
    elementwise.silu_multiply(gate_up[9:10].clone(), alone)
    elementwise_twin.silu_multiply(gate_up, truth)
    assert_near(ours, truth)
    assert_same_bits(alone, ours[9:10])
