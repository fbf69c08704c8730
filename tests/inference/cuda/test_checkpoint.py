from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.backbone.model import Backbone
from inference.backbone.weights import load_tensors
from inference.cuda.checkpoint import place_checkpoint
from inference.cuda.weights import DeviceWeights
from tests.inference.cuda.device_world import CPU
from tests.inference.tiny_models import save_checkpoint, tiny_config, tiny_tensors

MODELS = [
    {},
    {"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": False},
    {
        "architectures": ["Qwen3ForCausalLM"],
        "head_dim": 16,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
    },
]


@pytest.mark.parametrize("changes", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_is_placed_as_the_backbone_that_it_makes(
    tmp_path: Path, changes: dict[str, object], dtype: torch.dtype
) -> None:
    config = tiny_config(**changes)
    folder = save_checkpoint(tmp_path / "model", tiny_tensors(config), **changes)
    direct = place_checkpoint(load_tensors(folder, config, None), config, CPU, dtype)
    packed = DeviceWeights.place(Backbone.load(folder).decoder, CPU, dtype)
    for one, two in zip(direct.layers, packed.layers, strict=True):
        for name in one.__slots__:
            left, right = getattr(one, name), getattr(two, name)
            assert (left is None) == (right is None)
            assert left is None or torch.equal(left, right)
    for name in ("embedding", "final_norm", "head", "cos", "sin"):
        assert torch.equal(getattr(direct, name), getattr(packed, name))
    assert direct.step_bytes == packed.step_bytes
