from __future__ import annotations

import struct

import pytest
import torch
from memory_device import PLAIN
from tiny_models import tiny_adapter, tiny_backbone, tiny_config
from torch import Tensor

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.image_layout import Packing, expand_view, plan_layout, shrink_view
from inference.adapters.packed_image import open_image, pack_image
from inference.adapters.spec import LoraSpec
from inference.arena import ALIGN
from inference.backbone.config import LlamaConfig
from inference.backbone.model import Backbone
from inference.backbone.packed import GROUPS
from inference.backbone.sites import LoraSite, site_shape


def column_pairs(b: Tensor) -> Tensor:
    """A tiling that permutes and pads nothing: the columns, one after the other."""
    return b.t().contiguous()


HALF = Packing(torch.bfloat16, None, "plain-bfloat16")
TILED = Packing(torch.bfloat16, column_pairs, "columns-bfloat16")
MIXED = {"rank_pattern": {"layers.1.mlp.up_proj": 9, "k_proj": 1}, "alpha_pattern": {"o_proj": 3.0}}


@pytest.mark.parametrize("packing", [PLAIN, HALF, TILED], ids=lambda p: p.name)
def test_a_packed_image_holds_every_factor_where_its_table_says(
    backbone: Backbone, packing: Packing
) -> None:
    adapter = tiny_adapter(
        backbone, excluded=("layers.0.mlp.up_proj", "layers.1.self_attn.o_proj"), **MIXED
    )
    image = pack_image(adapter, backbone.config, packing)
    seen = 0
    for layer in range(2):
        for number, modules in enumerate(GROUPS):
            sites = [LoraSite(layer, module) for module in modules]
            entry = image.layout.group(layer, number)
            pairs = [adapter.pairs.get(site) for site in sites]
            if entry is None:
                assert not any(pairs)
                continue
            inputs = site_shape(backbone.config, sites[0])[1]
            stacked = torch.cat([pair.a for pair in pairs if pair is not None])
            a = shrink_view(image.data, entry, inputs, packing.dtype)
            assert torch.equal(a, stacked.to(packing.dtype))
            assert entry.ranks == tuple(pair.rank if pair else 0 for pair in pairs)
            assert entry.scales == tuple(pair.scale if pair else 0.0 for pair in pairs)
            for at, pair in enumerate(pairs):
                if pair is None:
                    continue
                seen += 1
                assert entry.b[at] % ALIGN == 0
                b = pair.b.to(packing.dtype)
                if packing.tile is None:
                    outputs = site_shape(backbone.config, sites[at])[0]
                    assert torch.equal(
                        expand_view(image.data, entry, at, outputs, packing.dtype), b
                    )
                else:
                    found = image.data[entry.b[at] : entry.b[at] + b.nbytes].view(packing.dtype)
                    assert torch.equal(found, packing.tile(b).view(-1))
    assert seen == len(adapter.pairs) == 12
    assert image.size_bytes % ALIGN == 0
    again = open_image(image.content_hash, image.data, backbone.config, packing)
    assert again.layout == image.layout


def test_the_table_has_the_documented_bytes(backbone: Backbone) -> None:
    adapter = tiny_adapter(backbone, 3, alpha=6.0, targets=("k_proj", "layers.1.mlp.gate_proj"))
    data = pack_image(adapter, backbone.config, PLAIN).data.numpy().tobytes()
    table = [struct.unpack_from("<I3II3I3f5I", data, 64 * n) for n in range(8)]
    absent = (0xFFFFFFFF, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0)
    size_a, size_k, size_gate = 3 * 48 * 4, 16 * 3 * 4, 96 * 3 * 4
    up = lambda offset: -(-offset // 256) * 256  # noqa: E731
    first = 512
    second = up(first + size_a)
    third = up(second + size_k)
    fourth = up(third + size_a)
    fifth = up(fourth + size_k)
    sixth = up(fifth + size_a)
    qkv = [
        (a // 16, 0, b // 16, 0, 3, 0, 3, 0, 0.0, 2.0, 0.0, 0, 0, 0, 0, 0)
        for a, b in ((first, second), (third, fourth))
    ]
    mlp = (fifth // 16, sixth // 16, 0, 0, 3, 3, 0, 0, 2.0, 0.0, 0.0, 0, 0, 0, 0, 0)
    assert table == [qkv[0], absent, absent, absent, qkv[1], absent, mlp, absent]
    assert len(data) == up(sixth + size_gate)


@pytest.mark.parametrize("at", [0, 4, 16, 20, 36, 44, 63, 64])
def test_a_changed_table_is_refused(backbone: Backbone, at: int) -> None:
    image = pack_image(tiny_adapter(backbone, targets=("q_proj",)), backbone.config, PLAIN)
    data = image.data.clone()
    data[at] ^= 0x40
    with pytest.raises(AdapterRefused) as caught:
        open_image(image.content_hash, data, backbone.config, PLAIN)
    assert caught.value.reason is AdapterReason.UNREADABLE


def test_a_scale_that_is_no_number_is_refused(backbone: Backbone) -> None:
    image = pack_image(tiny_adapter(backbone, targets=("q_proj",)), backbone.config, PLAIN)
    data = image.data.clone()
    data[32:36].view(torch.float32)[0] = float("nan")
    with pytest.raises(AdapterRefused):
        open_image(image.content_hash, data, backbone.config, PLAIN)


def test_an_image_of_another_size_model_or_packing_is_refused(backbone: Backbone) -> None:
    image = pack_image(tiny_adapter(backbone), backbone.config, PLAIN)
    other = tiny_config(num_hidden_layers=3)
    for data, config, packing in [
        (image.data[:-256], backbone.config, PLAIN),
        (image.data[:100], backbone.config, PLAIN),
        (image.data, other, PLAIN),
        (image.data, backbone.config, HALF),
    ]:
        with pytest.raises(AdapterRefused) as caught:
            open_image(image.content_hash, data, config, packing)
        assert caught.value.reason is AdapterReason.UNREADABLE


def test_values_that_overflow_the_packing_are_refused(backbone: Backbone) -> None:
    adapter = tiny_adapter(backbone, targets=("q_proj",))
    adapter.pairs[LoraSite(0, "q_proj")].b[0, 0] = 3.4e38
    pack_image(adapter, backbone.config, PLAIN)
    with pytest.raises(AdapterRefused) as caught:
        pack_image(adapter, backbone.config, HALF)
    assert caught.value.reason is AdapterReason.NOT_FINITE


def shape_of(**fields: int) -> LlamaConfig:
    return tiny_config(vocab_size=128256, max_position_embeddings=8192, eos_token_id=0, **fields)


@pytest.mark.parametrize(
    ("config", "rank", "exact"),
    [
        (
            shape_of(
                hidden_size=4096,
                intermediate_size=14336,
                num_hidden_layers=32,
                num_attention_heads=32,
                num_key_value_heads=8,
            ),
            16,
            83_886_080,
        ),
        (
            shape_of(
                hidden_size=2048,
                intermediate_size=8192,
                num_hidden_layers=16,
                num_attention_heads=32,
                num_key_value_heads=8,
            ),
            8,
            11_272_192,
        ),
    ],
    ids=["8B-r16", "1B-r8"],
)
def test_an_image_is_within_two_percent_of_its_factors(
    config: LlamaConfig, rank: int, exact: int
) -> None:
    shape = LoraSpec(rank=rank, alpha=16.0).shape(config)
    assert exact == sum(2 * rank * sum(site_shape(config, site)) for site in shape)
    size = plan_layout(shape, config, HALF).size
    assert exact < size <= exact * 1.02
    assert size <= exact * 1.002


def test_adapters_of_one_shape_have_one_layout(backbone: Backbone) -> None:
    layouts = {
        pack_image(tiny_adapter(backbone, seed=seed), backbone.config, PLAIN).layout
        for seed in range(3)
    }
    assert len(layouts) == 1
    assert tiny_backbone().content_hash == backbone.content_hash
