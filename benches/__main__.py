"""Run the benches one after the other.

    python -m benches [gpu] [--write]

`--write` puts what they print into ``docs/measurements/<date>-<cpu|gpu>.md``.
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
)
GPU: tuple[tuple[str, ...], ...] = ()
"""Kernels bring theirs when they are there."""


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
    parser.add_argument("device", nargs="?", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    benches = GPU if arguments.device == "gpu" else CPU
    if not benches:
        sys.stdout.write("there are no GPU benches yet: kernels are not built\n")
        return 0
    sections = []
    for name, *options in benches:
        sys.stdout.write(f"\n## {name}\n\n")
        sections.append(f"## {name}\n\n```\n{run(name, *options)}```\n")
    if arguments.write:
        today = datetime.now(UTC).date().isoformat()
        target = FOLDER.parent / "docs" / "measurements" / f"{today}-{arguments.device}.md"
        target.write_text(f"# Figures of {today}\n\n" + "\n".join(sections))
        sys.stdout.write(f"\nwritten to {target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
