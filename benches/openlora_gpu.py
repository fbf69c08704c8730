"""Measure the adapter engine on a GPU, each figure beside its floor and its peers.

    python -m benches.openlora_gpu [--only kernels,decode,…] [--write [FILE]] [--device cpu --tiny]

Parts: kernels, replay, decode, decode-1b, memory, loads, cliff, cliff-1b, determinism, fairness.
Every part fits ten minutes of one H100; `--tiny` runs all of them with the kernels' twins within
seconds, to see that they run. The bandwidth behind the floors is measured first. `--write` keeps
the parts of this run in docs/measurements/<date>-<device>.md, or the file that is named; parts that
the file has from another run stay.
"""

from __future__ import annotations

import argparse
import gc
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from benches.openlora_gpu_answers import determinism_table, fairness_table
from benches.openlora_gpu_decode import decode_table
from benches.openlora_gpu_kernels import kernels_table, replay_table
from benches.openlora_gpu_loads import cliff_table, loads_table, memory_table
from benches.openlora_gpu_shapes import Ceiling
from benches.openlora_gpu_world import Bench

PARTS: dict[str, Callable[[Bench], Iterator[str]]] = {
    "kernels": kernels_table,
    "replay": replay_table,
    "decode": decode_table,
    "decode-1b": partial(decode_table, model="1b"),
    "memory": memory_table,
    "loads": loads_table,
    "cliff": cliff_table,
    "cliff-1b": partial(cliff_table, model="1b", rank=8, most=5000),
    "determinism": determinism_table,
    "fairness": fairness_table,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--write", nargs="?", const=True, metavar="FILE")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := sorted(set(names) - PARTS.keys()):
        parser.error(f"no such part: {', '.join(unknown)}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.stdout.write("there is no CUDA device here; `--device cpu --tiny` runs the twins\n")
        return 0
    device = torch.device("cuda", 0) if arguments.device == "cuda" else torch.device("cpu")
    ceiling = Ceiling.measure(device, 1 << 20 if arguments.tiny else 4 << 30)
    head = (
        f"{ceiling.name}, {datetime.now(UTC).date()}, torch {torch.__version__}, "
        f"Python {platform.python_version()}; a copy moves {ceiling.copy_rate / 1e12:.3f} TB/s.\n"
        f"Command: python -m benches.openlora_gpu {' '.join(sys.argv[1:])}\n\n"
    )
    sys.stdout.write(head)
    bench = Bench(device, arguments.tiny, ceiling)
    for name in names:
        section = "\n".join(_run(name, bench)) + "\n"
        if arguments.write:
            target = _default_file(ceiling.name) if arguments.write is True else arguments.write
            keep_section(Path(target), f"# Figures of {ceiling.name}\n", name, head + section)
        gc.collect()  # an executor is in cycles, and the next one takes the whole memory
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return 0


def _run(name: str, bench: Bench) -> list[str]:
    start = time.perf_counter()
    sys.stdout.write(f"\n## {name}\n\n")
    lines = []
    for line in PARTS[name](bench):
        lines.append(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    lines.append(f"\n({time.perf_counter() - start:.0f} s)")
    sys.stdout.write(lines[-1] + "\n")
    return lines


def keep_section(target: Path, title: str, name: str, text: str) -> None:
    """Put a part into a file of parts, in the place of an older one of its name."""
    old = target.read_text() if target.exists() else title
    parts = old.split("\n## ")
    parts = [part for part in parts if part.partition("\n")[0] != name]
    parts.append(f"{name}\n\n{text}")
    target.write_text("\n## ".join(part.rstrip("\n") + "\n" for part in parts))


def _default_file(device: str) -> Path:
    words = "-".join("".join(c if c.isalnum() else " " for c in device.lower()).split())
    folder = Path(__file__).parents[1] / "docs" / "measurements"
    return folder / f"{datetime.now(UTC).date()}-{words}.md"


if __name__ == "__main__":
    sys.exit(main())
