"""Random adapters of exact ranks, for a store or as PEFT folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from inference.adapters.adapter import LoraAdapter, make_adapter, tensor_name
from inference.adapters.peft import save_peft
from inference.adapters.spec import LoraSpec
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.backbone.sites import site_shape


def random_adapter(backbone: Backbone, rank: int, seed: int) -> LoraAdapter:
    """Draw an adapter over all sites; equal arguments give equal adapters."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {site: site_shape(backbone.config, site) for site in backbone.sites}
    count = sum(rank * (outputs + inputs) for outputs, inputs in shapes.values())
    values = torch.randn(count, generator=generator)
    tensors = {}
    start = 0
    for site, (outputs, inputs) in shapes.items():
        a = values[start : start + rank * inputs].view(rank, inputs)
        start += a.numel()
        b = values[start : start + rank * outputs].view(outputs, rank)
        start += b.numel()
        tensors[tensor_name(site, "A")] = a / inputs**0.5
        tensors[tensor_name(site, "B")] = b * 0.05
    return make_adapter(LoraSpec(rank=rank, alpha=2.0 * rank), tensors, backbone)


def fill_store(
    store: AdapterStore, listed: Path, backbone: Backbone, ranks: Sequence[int], count: int
) -> list[bytes]:
    """Put adapters 0, 1, … into a store, their ranks in turn; returns their hashes.

    Those that `listed` names were put there by an earlier run.
    """
    known = listed.read_text().split() if listed.exists() else []
    hashes = [bytes.fromhex(name) for name in known[:count]]
    with listed.open("a") as file:
        for seed in range(len(hashes), count):
            rank = ranks[seed % len(ranks)]
            hashes.append(store.put(random_adapter(backbone, rank, seed)))
            print(hashes[-1].hex(), file=file)
    return hashes


def write_folders(folder: Path, backbone: Backbone, ranks: Sequence[int], count: int) -> list[str]:
    """Write the same adapters as PEFT folders a0, a1, …; returns the names."""
    names = [f"a{seed}" for seed in range(count)]
    for seed, name in enumerate(names):
        adapter = random_adapter(backbone, ranks[seed % len(ranks)], seed)
        save_peft(adapter, folder / name, "open-nano")
    return names
