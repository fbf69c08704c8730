"""Run the benches one after the other.

    python -m benches [gpu|consensus|rpc] [--write] [options of the GPU bench]

`--write` puts what they print into ``docs/measurements/<date>-<group>.md``; of a file that is there
already, what stands above the line `<!-- figures -->` is kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).parent
CPU = (
    ("blocks.py", "--peer"),
    ("weights.py", "--fill"),
    ("state.py",),
    ("database.py",),
    ("rpc.py",),
    ("engine.py",),
    ("attribution.py",),
    ("openlora_cpu.py",),
    ("openlora_tenants.py",),
    ("replay_variance.py",),
)
GPU = (("openlora_gpu.py",),)
"""Takes options (`--only kernels`), and writes a file named after the device by itself."""
CONSENSUS = (("consensus.py",),)
"""Many minutes, of which the machine should have nothing else to do."""
RPC = (
    ("rpc.py",),
    ("rpc_methods.py",),
    ("rpc_followers.py",),
    ("rpc_clients.py", "--minutes", "10"),
)
"""A quarter of an hour."""
GROUPS: dict[str, tuple[tuple[str, ...], ...]] = {
    "cpu": CPU,
    "gpu": GPU,
    "consensus": CONSENSUS,
    "rpc": RPC,
}
MARK = "<!-- figures -->\n"


def run(name: str, *arguments: str) -> str:
    """Run one bench, passing on what it prints; raises CalledProcessError."""
    command = [sys.executable, "-m", f"benches.{Path(name).stem}", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=FOLDER.parent)
    lines = []
    for line in process.stdout or ():
        sys.stdout.write(line)
        sys.stdout.flush()
        lines.append(line)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return "".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("device", nargs="?", choices=GROUPS, default="cpu")
    parser.add_argument("--write", action="store_true")
    arguments, more = parser.parse_known_args()
    benches = GROUPS[arguments.device]
    if arguments.device == "gpu":
        for name, *options in benches:
            run(name, *options, *more, *(["--write"] if arguments.write else []))
        return 0
    if more:
        parser.error(f"unrecognised arguments: {' '.join(more)}")
    sections = []
    for name, *options in benches:
        sys.stdout.write(f"\n## {name}\n\n")
        sections.append(f"## {name}\n\n```\n{run(name, *options)}```\n")
    if arguments.write:
        today = datetime.now(UTC).date().isoformat()
        target = FOLDER.parent / "docs" / "measurements" / f"{today}-{arguments.device}.md"
        head = f"# Figures of {today}\n\n"
        if target.exists() and MARK in target.read_text():
            head = target.read_text().partition(MARK)[0] + MARK + "\n"
        target.write_text(head + "\n".join(sections))
        sys.stdout.write(f"\nwritten to {target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
