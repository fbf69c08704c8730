"""The low-rank kernels alone, beside the fewest bytes and beside what else can do their work."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator

import torch

from benches.openlora_gpu_peers import SLOW_TO_MAKE, Peer, installed_peers
from benches.openlora_gpu_shapes import POPULARITIES, group_sizes, timed
from benches.openlora_gpu_sites import Case, Site
from benches.openlora_gpu_world import Bench
from inference.cuda.kernel_set import cuda_kernels, twin_kernels

FLUSH = 256 << 20
MIXED = (8, 16, 32, 64)
LAYERS = 32


def kernels_table(bench: Bench) -> Iterator[str]:
    """Yield a table: microseconds by popularity, rows and rank, with floor and peers."""
    kernels = cuda_kernels() if bench.device.type == "cuda" else twin_kernels()
    peers = installed_peers()
    names = ["floor", "kernels", "p99", "of floor", *peers]
    yield "| shape, popularity, rows, rank | " + " | ".join(names) + " |"
    yield "| --- |" + " ---: |" * len(names)
    flush = torch.zeros(bench.pick(FLUSH, 1 << 10), dtype=torch.uint8, device=bench.device)
    repeats = bench.pick(200, 2)
    for label, case in _cases(bench):
        site = Site(case, bench.device)
        ours = timed(lambda s=site: s.kernels(kernels), bench.device, repeats, flush)  # type: ignore[misc]
        few = max(2, repeats // 4)
        others = [
            _of_peer(name, peer, site, few, flush)
            if name != SLOW_TO_MAKE or max(case.ranks) == 16
            else math.nan
            for name, peer in peers.items()
        ]
        floor = bench.ceiling.floor(case.floor_bytes)
        cells = [floor, ours.median, ours.p99, floor / ours.median, *others]
        texts = [f"{cell:.0%}" if at == 3 else f"{cell * 1e6:.1f}" for at, cell in enumerate(cells)]
        yield f"| {label} | " + " | ".join(texts) + " |"


def _of_peer(name: str, peer: Peer, site: Site, repeats: int, flush: torch.Tensor) -> float:
    """Return its seconds; NaN, and why, where another project's code does not run here."""
    try:
        return timed(peer(site), flush.device, repeats, flush).median
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        return math.nan


def replay_table(bench: Bench) -> Iterator[str]:
    """Yield what one step's 256 launches cost in one graph, at distinct adapters of rank 16.

    As in a model, every layer has factors of its own, and they are not in the second cache.
    """
    if bench.device.type != "cuda":
        yield "A graph's replay needs a GPU."
        return
    kernels = cuda_kernels()
    flush = torch.zeros(FLUSH, dtype=torch.uint8, device=bench.device)
    yield "| 128 sites in one graph, rank 16, distinct, rows | floor, us | graph, us | of floor |"
    yield "| --- | ---: | ---: | ---: |"
    for rows in (1, 8, 32, 64):
        sites = []
        for outputs, inputs in ((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)):
            sites.append(
                Site(Case(inputs, outputs, (16,) * rows, tuple(range(rows))), bench.device)
            )
        layers = [[site.copied() for site in sites] for _ in range(LAYERS)]
        graph = torch.cuda.CUDAGraph()
        for site in sites:
            site.kernels(kernels)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            for layer in layers:
                for site in layer:
                    site.kernels(kernels)
        took = timed(graph.replay, bench.device, 50, flush).median
        floor = bench.ceiling.floor(LAYERS * sum(site.case.floor_bytes for site in sites))
        yield f"| {rows} | {floor * 1e6:.0f} | {took * 1e6:.0f} | {floor / took:.0%} |"


def _cases(bench: Bench) -> Iterator[tuple[str, Case]]:
    shapes = ((64, 64),) if bench.tiny else ((4096, 4096), (4096, 14336))
    rows_of = (1, 3) if bench.tiny else (1, 2, 4, 8, 16, 32, 64)
    ranks = (8,) if bench.tiny else (8, 16, 32, 64, 128)
    for inputs, outputs in shapes:
        for popularity in POPULARITIES:
            for rows in rows_of:
                owners = _owners(group_sizes(popularity, rows))
                for rank in ranks:
                    if rank != 16 and rows not in (1, 8, 64) and not bench.tiny:
                        continue
                    label = f"{inputs}→{outputs} {popularity} {rows} r{rank}"
                    yield label, Case(inputs, outputs, (rank,) * (owners[-1] + 1), owners)
        rows = rows_of[-1]
        chosen = random.Random(3)
        mixed = tuple(chosen.choice(MIXED) for _ in range(rows))
        label = f"{inputs}→{outputs} distinct {rows} mixed ranks"
        yield label, Case(inputs, outputs, mixed, tuple(range(rows)))


def _owners(sizes: list[int]) -> tuple[int, ...]:
    return tuple(number for number, size in enumerate(sizes) for _ in range(size))
