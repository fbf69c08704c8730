"""Measure the agreement: its pace in delays and in milliseconds, its work, its traffic, its memory.

    python -m benches.consensus [--only NAME ...] [--quick]

Each figure stands beside its target or its floor. The parts: `simulated` (block interval and
finality in message delays), `votes` (processor time of a view at 100 validators, the engine, the
log), `unpaced` and `loaded` (four real nodes), `catch-up` (a fresh node), `day` (24 simulated
hours). Each says how busy the machine was; figures by the clock suffer from that.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benches import (
    consensus_catch_up,
    consensus_day,
    consensus_live,
    consensus_log,
    consensus_votes,
)
from benches.blocks import processor
from tests.simulation.figures import unpaced

SETS = ((4, 20), (10, 10), (31, 5), (100, 3))
"""Validators, and how many blocks of them are enough."""


def _simulated(folder: Path, quick: bool) -> Iterator[str]:
    """Tell the pace with a fixed delay and nothing else that takes time, and the traffic."""
    yield "validators   interval   finality   messages a view   KiB a view, all   KiB a view, each"
    yield "    target      2.0 δ      3.0 δ"
    for validators, blocks in SETS:
        found = unpaced(validators, blocks)
        whole = found.bytes_per_view / 1024
        yield (
            f"{validators:>10} {found.interval:>8.1f} δ {found.finality:>8.1f} δ "
            f"{found.messages_per_view:>17,.0f} {whole:>17,.1f} {whole / validators:>18,.1f}"
        )


def _votes(folder: Path, quick: bool) -> Iterator[str]:
    yield from consensus_votes.rows()
    yield from consensus_log.rows(folder)


def _unpaced(folder: Path, quick: bool) -> Iterator[str]:
    return consensus_live.unpaced_rows(folder, 50 if quick else 300)


def _loaded(folder: Path, quick: bool) -> Iterator[str]:
    return consensus_live.loaded_rows(folder, 10 if quick else 60)


def _catch_up(folder: Path, quick: bool) -> Iterator[str]:
    yield from consensus_catch_up.rows(folder / "empty", 300 if quick else 1200, 0)
    yield from consensus_catch_up.rows(folder / "full", 64 if quick else 300, 100)


def _day(folder: Path, quick: bool) -> Iterator[str]:
    return consensus_day.rows((1,) if quick else consensus_day.REPORTED)


PARTS: dict[str, Callable[[Path, bool], Iterator[str]]] = {
    "simulated": _simulated,
    "votes": _votes,
    "unpaced": _unpaced,
    "loaded": _loaded,
    "catch-up": _catch_up,
    "day": _day,
}


def _busy() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def main() -> None:
    """Print the parts asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="few blocks, rough figures")
    arguments = parser.parse_args()
    today = time.strftime("%Y-%m-%d")
    cores = os.cpu_count()
    print(f"{processor()}, {cores} cores, Python {platform.python_version()}, {today}")
    for name in arguments.only:
        print(f"\n{name} (load of the machine before: {_busy()})")
        with tempfile.TemporaryDirectory() as folder:
            for row in PARTS[name](Path(folder), arguments.quick):
                print(row)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
