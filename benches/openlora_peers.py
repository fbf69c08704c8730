"""PEFT answering the same trace in a process of its own: mixed batches, or merged weights."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benches.openlora_engines import Plan
from benches.openlora_serve import Outcome, Served
from benches.openlora_trace import Ask

SCRIPT = Path(__file__).with_name("peer_peft.py")
MODES = ("mixed", "merged")


def write_trace(path: Path, asks: Sequence[Ask], names: Sequence[str]) -> None:
    """Write a trace as the peer reads it."""
    lines = [
        {
            "arrival": ask.arrival,
            "adapter": names[ask.adapter],
            "prompt": list(ask.prompt),
            "output": ask.output,
        }
        for ask in asks
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def serve_with_peft(
    mode: str,
    folder: Path,
    model: Path,
    asks: Sequence[Ask],
    names: Sequence[str],
    plan: Plan,
) -> Outcome:
    """Run the peer over a trace; `folder` holds the adapters under their names."""
    trace, out = folder / f"{mode}-trace.jsonl", folder / f"{mode}.json"
    write_trace(trace, asks, names)
    command = [sys.executable, str(SCRIPT), "--mode", mode, "--model", str(model)]
    command += ["--adapters", str(folder), "--trace", str(trace), "--out", str(out)]
    command += ["--batch", str(plan.running), "--threads", str(plan.threads)]
    command += [] if plan.wall else ["--clock", "processor"]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads(out.read_text())
    served = tuple(
        Served(ask, one["first_token"], one["finished"], tuple(one["tokens"]))
        for ask, one in zip(asks, found["requests"], strict=True)
    )
    return Outcome(served, found["seconds"], found["processor"])


def alike(ours: Outcome, theirs: Outcome) -> float:
    """Share of requests whose answers are the same ids; rounding may part greedy answers."""
    same = [a.tokens == b.tokens for a, b in zip(ours.served, theirs.served, strict=True)]
    return sum(same) / len(same)
