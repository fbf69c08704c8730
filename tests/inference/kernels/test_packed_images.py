"""The kernels read the images that adapters are packed into."""

from __future__ import annotations

import torch
from tiny_models import tiny_adapter, tiny_backbone
from torch import Tensor

from inference.adapters.adapter import LoraAdapter
from inference.adapters.image_layout import Packing
from inference.adapters.packed_image import pack_image
from inference.backbone.packed import GROUPS
from inference.backbone.sites import LoraSite, site_shape
from inference.kernels import lora
from inference.kernels.image_tiles import tile_b
from inference.kernels.lora_tiles import plan_tiles
from tests.inference.kernels.on_host import HostRunner, needs_compiler

TILED = Packing(torch.bfloat16, tile_b, "bfloat16, tiled")


def change_of(adapter: LoraAdapter, site: LoraSite, x: Tensor, width: int) -> Tensor:
    """What the adapter adds, from its own factors as bfloat16, in float64."""
    if site not in adapter.pairs:
        return torch.zeros(len(x), width, dtype=torch.float64)
    pair = adapter.pairs[site]
    a, b = (factor.detach().bfloat16().double() for factor in (pair.a, pair.b))
    return x.double() @ a.t() @ b.t() * pair.scale


@needs_compiler
def test_every_group_of_a_packed_adapter_changes_the_output_by_its_factors() -> None:
    backbone = tiny_backbone()
    config = backbone.config
    adapter = tiny_adapter(backbone, rank=12)
    image = pack_image(adapter, config, TILED)
    memory = torch.cat([torch.full((512,), 0xFF, dtype=torch.uint8), image.data])
    tiles = plan_tiles([512, -1, 512], 8)
    run = HostRunner()
    generator = torch.Generator().manual_seed(1)
    for layer in range(config.num_hidden_layers):
        for number, modules in enumerate(GROUPS):
            sites = [LoraSite(layer, module) for module in modules]
            widths = [site_shape(config, site)[0] for site in sites]
            inputs = site_shape(config, sites[0])[1]
            x = torch.randn(3, inputs, generator=generator).bfloat16()
            out = torch.zeros(3, sum(widths), dtype=torch.bfloat16)
            partials = lora.new_partials(3, inputs, 3 * 12, x.device)
            entry = layer * len(GROUPS) + number
            run(lora.shrink_launches(x, memory, tiles, entry, len(sites), partials))
            run(lora.expand_launches(partials, memory, tiles, entry, out, widths))
            changes = [
                change_of(adapter, site, x, width)
                for site, width in zip(sites, widths, strict=True)
            ]
            wanted = torch.cat(changes, 1).bfloat16()
            wanted[1] = 0
            torch.testing.assert_close(out, wanted, rtol=2**-7, atol=1e-4)
            assert bool(wanted.any()) == any(site in adapter.pairs for site in sites)
