from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_adapter, tiny_config, tiny_tensors
from torch.nn.functional import cross_entropy

from inference.backbone.lora import LoraCapture, LoraPair
from inference.backbone.model import Backbone
from inference.backbone.sites import MODULES, LoraSite
from inference.backbone.weights import weight_name

IDS = torch.tensor([[7, 1, 250, 33, 12, 90], [4, 4, 17, 200, 201, 5]])


def test_adapted_logits_equal_those_of_merged_weights(backbone: Backbone) -> None:
    adapter = tiny_adapter(backbone, 4, rank_pattern={"v_proj": 7}, alpha_pattern={"up_proj": 3.0})
    tensors = tiny_tensors(tiny_config())
    for site, pair in adapter.pairs.items():
        tensors[weight_name(site)] += pair.scale * (pair.b @ pair.a)
    merged = Backbone.from_tensors(tiny_config(), tensors)
    torch.testing.assert_close(
        backbone.forward(IDS, adapter.pairs), merged.forward(IDS), rtol=1e-4, atol=2e-5
    )


def test_sites_are_layer_major_in_module_order(backbone: Backbone) -> None:
    assert backbone.sites == tuple(LoraSite(n, module) for n in range(2) for module in MODULES)
    assert backbone.sites[9].path == "model.layers.1.self_attn.v_proj"


def test_captured_inputs_and_gradients_give_the_factors_gradients(backbone: Backbone) -> None:
    adapter = tiny_adapter(backbone, 3, rslora=True)
    capture = LoraCapture()
    loss = cross_entropy(backbone.forward(IDS, adapter.pairs, capture)[:, -1], IDS[:, 0])
    loss.backward()
    leaves = {
        site: LoraPair(pair.a.clone().requires_grad_(), pair.b.clone().requires_grad_(), pair.scale)
        for site, pair in adapter.pairs.items()
    }
    cross_entropy(backbone.forward(IDS, leaves)[:, -1], IDS[:, 0]).backward()
    assert capture.sites() == backbone.sites
    for site in backbone.sites:
        for side, leaf in (("A", leaves[site].a), ("B", leaves[site].b)):
            seen = capture[site, side]
            gradient = torch.einsum("bto,bti->oi", seen.gradient, seen.input)
            torch.testing.assert_close(gradient, leaf.grad, rtol=1e-4, atol=1e-7)
        assert adapter.pairs[site].a.grad is None


def test_capturing_does_not_change_the_logits(backbone: Backbone) -> None:
    adapter = tiny_adapter(backbone)
    logits = backbone.forward(IDS, adapter.pairs)
    assert torch.equal(logits, backbone.forward(IDS, adapter.pairs, LoraCapture()))


def test_only_asked_sites_are_captured(backbone: Backbone) -> None:
    chosen = backbone.sites[-2:]
    capture = LoraCapture(chosen)
    backbone.forward(IDS, tiny_adapter(backbone).pairs, capture)
    assert capture.sites() == chosen
    with pytest.raises(ValueError, match="backward"):
        _ = capture[chosen[0], "A"].gradient
