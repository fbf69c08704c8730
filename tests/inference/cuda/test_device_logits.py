from __future__ import annotations

import pytest
import torch

from inference.backbone.model import Backbone
from tests.inference.cuda.device_world import cpu_executor, piece, place, whole
from tests.inference.tiny_models import tiny_adapter, tiny_backbone

QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": False}
QWEN3 = {"architectures": ["Qwen3ForCausalLM"], "head_dim": 16, "use_sliding_window": False}


def ids_of(count: int, seed: int = 3) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count,), generator=generator).tolist()


def relative(got: torch.Tensor, truth: torch.Tensor) -> float:
    return float((got - truth).norm() / truth.norm())


@pytest.mark.parametrize("changes", [{}, QWEN2, QWEN3, {"tie_word_embeddings": False}])
def test_float32_logits_are_those_of_the_whole_sequence_pass(changes: dict[str, object]) -> None:
    backbone = tiny_backbone(**changes, num_key_value_heads=2)
    ids = ids_of(100)
    truth = backbone.forward(torch.tensor(ids)).detach()
    rows = cpu_executor(backbone).step([piece(ids, 0, [9, 4])])
    torch.testing.assert_close(whole(rows), truth, atol=1e-4, rtol=1e-4)


def test_float32_logits_with_an_adapter_of_several_ranks() -> None:
    backbone = tiny_backbone()
    adapter = tiny_adapter(backbone, rank=6, rank_pattern={"q_proj": 3, "down_proj": 9})
    executor = cpu_executor(backbone)
    resident = place(executor, adapter, 0)
    ids = ids_of(70)
    truth = backbone.forward(torch.tensor(ids), adapter.pairs).detach()
    rows = executor.step([piece(ids, 0, [50, 41], resident)])
    torch.testing.assert_close(whole(rows), truth, atol=1e-4, rtol=1e-4)


def test_an_adapter_of_some_layers_and_modules_leaves_the_others_alone() -> None:
    backbone = tiny_backbone()
    adapter = tiny_adapter(
        backbone, targets=frozenset({"v_proj", "up_proj"}), layers=frozenset({1})
    )
    executor = cpu_executor(backbone)
    resident = place(executor, adapter, 512)
    ids = ids_of(20)
    truth = backbone.forward(torch.tensor(ids), adapter.pairs).detach()
    rows = executor.step([piece(ids, 0, [50], resident)])
    torch.testing.assert_close(whole(rows), truth, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("adapted", [False, True])
def test_bfloat16_logits_are_within_its_rounding(adapted: bool) -> None:
    backbone = tiny_backbone()
    executor = cpu_executor(backbone, dtype=torch.bfloat16)
    adapter = tiny_adapter(backbone)
    resident = place(executor, adapter, 0) if adapted else None
    ids = ids_of(60)
    truth = backbone.forward(torch.tensor(ids), adapter.pairs if adapted else None).detach()
    rows = executor.step([piece(ids, 0, [40], resident)])
    assert relative(whole(rows), truth) < 0.05


def test_positions_of_a_prompt_and_of_an_output_see_all_before_them() -> None:
    backbone = tiny_backbone()
    executor = cpu_executor(backbone)
    ids = ids_of(90)
    truth = backbone.forward(torch.tensor(ids)).detach()
    logits = []
    for start, end in ((0, 17), (17, 50), (50, 51), (51, 90)):
        rows = executor.step([piece(ids[start:end], start, [3, 1], prompt=45)])
        logits.append(whole(rows))
    torch.testing.assert_close(torch.cat(logits), truth, atol=1e-4, rtol=1e-4)


def test_rows_come_in_the_order_of_the_pieces_not_of_the_chunks() -> None:
    backbone = tiny_backbone()
    executor = cpu_executor(backbone)
    first, second, third = ids_of(30, 1), ids_of(40, 2), ids_of(9, 3)
    executor.step([piece(first[:20], 0, [1], wanted=20, prompt=20)])
    pieces = [
        piece(first[20:], 20, [1], prompt=20),
        piece(second, 0, [2], wanted=35, prompt=37),
        piece(third, 0, [3], wanted=8, prompt=9),
    ]
    rows = executor.step(pieces)
    expected = torch.cat(
        [
            backbone.forward(torch.tensor(first)).detach()[20:],
            backbone.forward(torch.tensor(second)).detach()[35:],
            backbone.forward(torch.tensor(third)).detach()[8:],
        ]
    )
    torch.testing.assert_close(whole(rows), expected, atol=1e-4, rtol=1e-4)


def test_a_step_without_wanted_logits_fills_the_cache() -> None:
    backbone = tiny_backbone()
    executor = cpu_executor(backbone)
    ids = ids_of(40)
    assert len(executor.step([piece(ids[:39], 0, [7], wanted=39)])) == 0
    rows = executor.step([piece(ids[39:], 39, [7])])
    truth = backbone.forward(torch.tensor(ids)).detach()
    torch.testing.assert_close(whole(rows), truth[39:], atol=1e-4, rtol=1e-4)


def test_more_wanted_rows_than_the_head_takes_at_once() -> None:
    backbone = tiny_backbone()
    executor = cpu_executor(backbone)
    ids = ids_of(120)
    rows = executor.step([piece(ids, 0, [7, 8], prompt=60)])
    assert len(rows) == 120
    truth = backbone.forward(torch.tensor(ids)).detach()
    torch.testing.assert_close(whole(rows), truth, atol=1e-4, rtol=1e-4)


def test_what_the_sampler_asks_is_what_the_whole_rows_say(subtests_backbone: Backbone) -> None:
    executor = cpu_executor(subtests_backbone)
    rows = executor.step([piece(ids_of(20), 0, [7])])
    hidden = subtests_backbone.hidden(torch.tensor([ids_of(20)])).detach()[0]
    for row in range(len(rows)):
        logits = rows.logits(row)
        order = (-logits).argsort(kind="stable")
        assert rows.greedy(row) == order[0]
        for count in (1, 20, 50, 1000):
            ids, values = rows.top(row, count)
            assert ids == order[:count].tolist()
            assert values == logits[order[:count]].tolist()
        wide = torch.from_numpy(logits).double().log_softmax(0)
        assert rows.logprob(row, 5) == pytest.approx(float(wide[5]), abs=1e-6)
        assert rows.logprob(row, int(order[0])) == pytest.approx(float(wide.max()), abs=1e-6)
        torch.testing.assert_close(
            torch.from_numpy(rows.hidden(row)), hidden[row], atol=1e-4, rtol=1e-4
        )


@pytest.fixture
def subtests_backbone() -> Backbone:
    return tiny_backbone(seed=4)
