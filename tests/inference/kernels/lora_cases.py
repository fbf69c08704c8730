"""Images of random adapters, and steps over them, for the LoRA kernels on either machine."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.kernels import lora, lora_twin
from inference.kernels.image_tiles import tile_b
from inference.kernels.lora_tiles import LoraTiles, plan_tiles

ENTRY = struct.Struct("<8I3f20x")
Ranks = tuple[int, ...]


@dataclass(frozen=True)
class Shape:
    """A group of sites: its inputs and the outputs of each site."""

    inputs: int
    widths: tuple[int, ...]


QKV = Shape(1152, (256, 64, 64))  # not a multiple of the split
TINY = Shape(64, (64, 32, 32))
ODD = Shape(520, (40, 300))  # outputs that are no multiple of 32 or 128
UNEVEN = Shape(24, (36,))  # less than a unit beyond a unit
LONG = Shape(8712, (48,))  # more splits than are read ahead


@dataclass(frozen=True)
class Adapter:
    """Ranks by site of each group (None: the group is not adapted)."""

    groups: tuple[Ranks | None, ...]


def image_of(adapter: Adapter, shape: Shape, random: torch.Generator) -> Tensor:
    """Lay out one image: a table of entries, then the factors, each at a multiple of 256."""
    parts: list[bytes] = []
    size = -(-64 * len(adapter.groups) // 256) * 256
    table = b""

    def place(values: Tensor) -> int:
        nonlocal size
        raw = values.contiguous().view(torch.uint8).numpy().tobytes()
        start = size
        parts.append(raw + bytes(-len(raw) % 256))
        size += len(parts[-1])
        return start // 16

    for ranks in adapter.groups:
        if ranks is None:
            table += ENTRY.pack(0xFFFFFFFF, *[0] * 7, *[0.0] * 3)
            continue
        a = place(draw((sum(ranks), shape.inputs), random, shape.inputs**-0.5))
        b = [
            place(tile_b(draw((width, rank), random, 1.0))) if rank else 0
            for width, rank in zip(shape.widths, ranks, strict=True)
        ]
        scales = [0.5 + 0.25 * site if rank else 0.0 for site, rank in enumerate(ranks)]
        rest = [0] * (3 - len(ranks))
        table += ENTRY.pack(a, *b, *rest, sum(ranks), *ranks, *rest, *scales, *map(float, rest))
    whole = table.ljust(-(-64 * len(adapter.groups) // 256) * 256, b"\0") + b"".join(parts)
    return torch.frombuffer(bytearray(whole), dtype=torch.uint8).clone()


def draw(shape: tuple[int, ...], random: torch.Generator, scale: float) -> Tensor:
    return (torch.randn(shape, generator=random) * scale).bfloat16()


@dataclass(frozen=True)
class World:
    """Images in one memory and where they start."""

    shape: Shape
    memory: Tensor
    starts: tuple[int, ...]
    room: int

    def on(self, device: str) -> World:
        return World(self.shape, self.memory.to(device), self.starts, self.room)


def world_of(shape: Shape, adapters: Sequence[Adapter], seed: int = 0) -> World:
    random = torch.Generator().manual_seed(seed)
    images = [image_of(adapter, shape, random) for adapter in adapters]
    gap = torch.full((256,), 0xFF, dtype=torch.uint8)  # images never start at the memory's start
    starts = []
    size = 0
    for image in images:
        starts.append(size + 256)
        size += 256 + len(image)
    memory = torch.cat([part for image in images for part in (gap, image)])
    ranks = [sum(group) for one in adapters for group in one.groups if group is not None]
    return World(shape, memory, tuple(starts), max(ranks, default=16))


@dataclass(frozen=True)
class Step:
    """Rows of a step: inputs, base outputs and the number of each row's adapter (-1: none)."""

    x: Tensor
    base: Tensor
    adapters: tuple[int, ...]

    def only(self, rows: Sequence[int]) -> Step:
        return Step(self.x[rows], self.base[rows], tuple(self.adapters[row] for row in rows))

    def on(self, device: str) -> Step:
        return Step(self.x.to(device), self.base.to(device), self.adapters)


def step_of(world: World, adapters: Sequence[int], seed: int = 1) -> Step:
    random = torch.Generator().manual_seed(seed)
    rows = len(adapters)
    x = draw((rows, world.shape.inputs), random, 1.0)
    return Step(x, draw((rows, sum(world.shape.widths)), random, 1.0), tuple(adapters))


def tiles_for(world: World, step: Step, width: int, tiles: int | None = None) -> LoraTiles:
    at = [-1 if one < 0 else world.starts[one] for one in step.adapters]
    cut = plan_tiles(at, width, tiles)
    device = world.memory.device
    return LoraTiles(cut.at.to(device), cut.rows.to(device))


Result = tuple[Tensor, Tensor]


def by_twin(world: World, step: Step, entry: int = 0) -> Result:
    tiles = tiles_for(world, step, 8)
    partials = poisoned(world, len(step.adapters))
    out = step.base.clone()
    shape = world.shape
    lora_twin.shrink(step.x, world.memory, tiles, entry, len(shape.widths), partials)
    lora_twin.expand(partials, world.memory, tiles, entry, out, shape.widths)
    return partials, out


def by_kernels(
    world: World,
    step: Step,
    run: Callable[..., None],
    width: int = 8,
    entry: int = 0,
    tiles: int | None = None,
) -> Result:
    cut = tiles_for(world, step, width, tiles)
    partials = poisoned(world, len(step.adapters))
    out = step.base.clone()
    shape, memory = world.shape, world.memory
    run(lora.shrink_launches(step.x, memory, cut, entry, len(shape.widths), partials))
    run(lora.expand_launches(partials, memory, cut, entry, out, shape.widths))
    return partials, out


def poisoned(world: World, rows: int) -> Tensor:
    partials = lora.new_partials(rows, world.shape.inputs, world.room, world.memory.device)
    return partials.fill_(float("nan"))


def assert_agree(kernel: Result, twin: Result) -> None:
    """Compare sums and outputs, and that the same elements were left unwritten."""
    partials, out = kernel
    assert torch.equal(partials.isnan(), twin[0].isnan())
    torch.testing.assert_close(partials.nan_to_num(), twin[0].nan_to_num(), rtol=1e-4, atol=1e-5)
    assert not out.isnan().any()
    # One step of bf16 where the two sums fall on different sides of a rounding boundary.
    torch.testing.assert_close(out.float(), twin[1].float(), rtol=2**-7, atol=1e-4)
    assert (out != twin[1]).float().mean() < 0.02


MIXED_RANKS = [
    Adapter(((16, 16, 16),)),
    Adapter(((1, 4, 8),)),
    Adapter(((12, 0, 40),)),
    Adapter(((0, 64, 0),)),
    Adapter(((64, 12, 1),)),
    Adapter((None,)),
]
TWO_SITES = [Adapter(((16, 8),)), Adapter(((0, 40),)), Adapter(((3, 0),))]
ONE_SITE = [Adapter(((rank,),)) for rank in (1, 4, 8, 12, 16, 40, 64)]
CASES = {
    "one token": (TINY, [Adapter(((8, 8, 8),))], [0]),
    "one adapter": (QKV, [Adapter(((16, 16, 16),))], [0] * 19),
    "base only": (TINY, [Adapter(((8, 8, 8),))], [-1, -1, -1]),
    "mixed ranks": (QKV, MIXED_RANKS, [0, 1, -1, 2, 3, 4, 5, 1, 0, -1]),
    "long runs of mixed ranks": (TINY, MIXED_RANKS, [0] * 33 + [4] * 9 + [-1] * 3 + [2] * 3),
    "outputs of no even number": (ODD, TWO_SITES, [0, 1, 2, -1, 0, 0]),
    "a few outputs beyond a unit": (UNEVEN, ONE_SITE, [0, 1, 2, 3, 4, 5, 6, 6]),
    "many splits": (LONG, ONE_SITE, [4, 2, 4]),
    "rank 512": (TINY, [Adapter(((512, 200, 65),))], [0, -1, 0]),
}
