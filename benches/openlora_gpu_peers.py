"""Other ways to add the low-rank change of a batch: plain torch, and what is installed here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor

from benches.openlora_gpu_sites import Site

Peer = Callable[[Site], Callable[[], object]]
"""Prepares a site; what it returns is timed."""


SLOW_TO_MAKE = "PEFT with its base product"
"""Takes seconds per case to set up, so it has a figure at rank 16 only."""


def loop(site: Site) -> Callable[[], None]:
    """Run two products per adapter."""

    def work() -> None:
        for rows, a, b in zip(site.rows_of, site.a, site.b, strict=True):
            site.out[rows] += 2.0 * (site.x[rows] @ a.t()) @ b.t()

    return work


def gather_bmm(site: Site) -> Callable[[], None]:
    """Gather one pair of factors per row, padded to the highest rank, and multiply in a batch."""
    a, b = _stacked(site)

    def work() -> None:
        y = torch.bmm(a[site.index], site.x[:, :, None])
        site.out.add_(torch.bmm(b[site.index], y)[:, :, 0], alpha=2.0)

    return work


def installed_peers() -> dict[str, Peer]:
    """Find what can be imported besides torch; a missing one has no column."""
    found: dict[str, Peer] = {"loop": loop, "gather-bmm": gather_bmm}
    for name, module, peer in (
        (SLOW_TO_MAKE, "peft", _peft),
        ("vLLM", "vllm.lora.ops.triton_ops", _vllm),
    ):
        try:
            import_module(module)
        except ImportError:
            continue
        found[name] = peer
    return found


def _peft(site: Site) -> Callable[[], object]:
    """Call a layer of PEFT with the name of each row's adapter."""
    peft = import_module("peft")
    case, device = site.case, site.x.device

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = torch.nn.Linear(case.inputs, case.outputs, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            """Apply the layer."""
            return self.site(x)  # type: ignore[no-any-return]

    def config(number: int) -> object:
        rank = case.ranks[number]
        return peft.LoraConfig(
            r=rank, lora_alpha=2 * rank, target_modules=["site"], init_lora_weights=False
        )

    model = peft.get_peft_model(Model(), config(0), adapter_name="a0")
    for number in range(1, len(case.ranks)):
        model.add_adapter(f"a{number}", config(number))
    layer = model.base_model.model.site.to(device, torch.bfloat16).eval()
    names = [f"a{number}" for number in case.adapter_of]

    def work() -> object:
        with torch.inference_mode():
            return layer(site.x, adapter_names=names)

    return work


def _vllm(site: Site) -> Callable[[], None]:
    """Call the shrink and expand of vLLM, one launch each."""
    ops = import_module("vllm.lora.ops.triton_ops")
    rank, rows = max(site.case.ranks), len(site.x)
    a, b = _stacked(site)
    meta = ops.LoRAKernelMeta.make(len(site.case.ranks), rows, site.x.device)
    meta.prepare_tensors(site.index.int())
    sums = torch.zeros((1, rows, rank), dtype=torch.float32, device=site.x.device)

    def work() -> None:
        arguments = meta.meta_args(rows, False)
        ops.lora_shrink(site.x, [a[:, None]], sums, *arguments, 2.0)
        ops.lora_expand(sums, [b[:, None]], site.out, *arguments, offset_start=0, add_inputs=True)

    return work


def _stacked(site: Site) -> tuple[Tensor, Tensor]:
    rank = max(site.case.ranks)
    a = torch.stack([_padded(one, rank, 0) for one in site.a])
    return a, torch.stack([_padded(one, rank, 1) for one in site.b])


def _padded(factor: Tensor, rank: int, axis: int) -> Tensor:
    shape = list(factor.shape)
    shape[axis] = rank - shape[axis]
    return torch.cat((factor, factor.new_zeros(shape)), dim=axis)
