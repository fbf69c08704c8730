"""Shapes, popularities and floors of the benches of the adapter engine.

A floor is the fewest bytes that have to move over the bandwidth that this device shows in a plain
copy; how many rows share an adapter follows the definitions of Punica (arXiv 2310.18547).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from inference.backbone.config import LlamaConfig
from inference.backbone.packed import GROUPS
from inference.backbone.sites import LoraSite, site_shape

POPULARITIES = ("identical", "uniform", "zipf", "distinct")
FIELDS = {
    "8b": (4096, 14336, 32, 32, 8, 128256),
    "1b": (2048, 8192, 16, 32, 8, 128256),
    "tiny": (64, 128, 2, 4, 2, 512),
}


def model_config(name: str, positions: int = 4096) -> LlamaConfig:
    """Describe a decoder of a usual size: hidden, inner, layers, heads, key heads, vocabulary."""
    hidden, inner, layers, heads, key_heads, vocabulary = FIELDS[name]
    return LlamaConfig.from_fields(
        {
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": vocabulary,
            "hidden_size": hidden,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": key_heads,
            "max_position_embeddings": positions,
            "rms_norm_eps": 1e-5,
            "rope_theta": 500000.0,
            "tie_word_embeddings": name != "8b",
            "eos_token_id": None,
        }
    )


def group_sizes(popularity: str, rows: int) -> list[int]:
    """Say how many rows each adapter has; they sum to `rows`."""
    if popularity == "identical":
        return [rows]
    if popularity == "distinct":
        return [1] * rows
    if popularity == "uniform":
        count = math.ceil(math.sqrt(rows))
        sizes = [rows // count] * count
        for index in range(rows - sum(sizes)):
            sizes[index] += 1
        return sizes
    sizes, size = [], 1.0
    while sum(sizes) + math.floor(size) < rows:
        sizes.append(math.floor(size))
        size *= 1.5
    return sorted([*sizes, rows - sum(sizes)], reverse=True)


def adapter_bytes(config: LlamaConfig, rank: int, itemsize: int = 2) -> int:
    """Count the bytes of the factors of one adapter of every linear layer."""
    return itemsize * rank * config.num_hidden_layers * sum(_widths(config))


def _widths(config: LlamaConfig) -> list[int]:
    shapes = [site_shape(config, LoraSite(0, module)) for group in GROUPS for module in group]
    return [outputs + inputs for outputs, inputs in shapes]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What this device does at most, measured here and now; seconds and bytes."""

    device: torch.device
    name: str
    copy_rate: float
    """Bytes read and written per second by a large copy on the device."""

    @classmethod
    def measure(cls, device: torch.device, size: int) -> Ceiling:
        """Copy `size` bytes a few times."""
        source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        took = timed(lambda: target.copy_(source), device, 10)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        return cls(device, name, 2 * size / took.median)

    def floor(self, size: float) -> float:
        """Return the seconds in which so many bytes can move."""
        return size / self.copy_rate


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of repeated runs."""

    median: float
    p99: float


def timed(
    work: Callable[[], object],
    device: torch.device,
    repeats: int,
    flush: torch.Tensor | None = None,
) -> Times:
    """Time runs one by one, by events on a GPU; `flush` is overwritten before each run."""
    for _ in range(max(3, repeats // 10)):
        work()
    seconds = []
    for _ in range(repeats):
        if flush is not None:
            flush.zero_()
        seconds.append(_one(work, device))
    return percentiles(seconds)


def percentiles(seconds: list[float]) -> Times:
    """Summarise seconds."""
    ordered = sorted(seconds)
    return Times(
        statistics.median(ordered), ordered[min(len(ordered) - 1, 99 * len(ordered) // 100)]
    )


def _one(work: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    first.record()
    work()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / 1000
