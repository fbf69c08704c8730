"""Measure what calls cost, and write it down where the pallets declare it.

    python -m benches.weights [--write] [--fill] [--rounds 7]

Each call is made on a state in which it has about the most work (`weight_world`): decoding,
admission where it is a feeless duty, dispatch with its storage on cold caches, encoding of its
events; plus its bytes, which are hashed for signature and extrinsics' root. In processor time of
one core, the least of the rounds. Beside that stands the share of the trie: the time of writing
this call's changes alone. A weight is declared as reads, writes (each with its share of database
and trie, `DB_WEIGHT`) and the measured computation times `SAFETY`, rounded up to `STEP`.

`--write` regenerates ``runtime/pallets/<name>/weights.py``. `--fill` fills blocks with one call
each to the weight that they may have and imports them: a block must not take longer than its
weight says. Hooks, the fixed part of an extrinsic and the database's writes are measured too.
"""

from __future__ import annotations

import argparse
import gc
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from benches.blocks import processor
from benches.weight_cases import Case, cases
from benches.weight_files import write_files
from benches.weight_fill import base_rows, byte_rate, fill_rows
from benches.weight_world import NUMBER, World
from runtime.construct import CALLS, EVENTS, Runtime, decode_call
from runtime.frame.origin import Signed
from runtime.frame.weights import DB_WEIGHT, MICROSECOND
from runtime.state.overlay import Overlay
from runtime.state.trie import update

SAFETY = (3, 2)
"""What is declared for computation is this times what was measured."""


class Row(NamedTuple):
    """What one call costs: reads and writes, and microseconds."""

    case: Case
    reads: int
    writes: int
    computation: float
    trie: float
    declared: float


def measure(world: World, case: Case, rounds: int, per_byte: float) -> Row:
    """Measure one call; `per_byte` is what a byte of an extrinsic costs outside of it, in µs."""
    call = CALLS.make(case.pallet, case.call, **case.arguments)
    data = CALLS.encode(call)
    least = float("inf")
    reads, changed = 0, dict[bytes, bytes | None]()
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        overlay = Overlay(world.state)
        runtime = Runtime(overlay)
        runtime.system.open_block(NUMBER + 1, world.head.hash(), ())
        runtime.host.phase = b"\x00" + bytes(4)
        before, drawn = overlay.changes(), overlay.reads
        start = time.process_time_ns()
        decoded = decode_call(data)
        if isinstance(case.origin, Signed):
            runtime.dispatcher.admit_duty(decoded, case.origin.account)
        with runtime.host.transaction():
            runtime.dispatcher.dispatch(decoded, case.origin)
        EVENTS.encode(runtime.host.events)
        least = min(least, (time.process_time_ns() - start) / 1000)
        reads = overlay.reads - drawn
        changed = {k: v for k, v in overlay.changes().items() if before.get(k, b"") != v}
    gc.enable()
    writes, share = len(changed), _trie_share(world, changed)
    declared = CALLS.weight(call).ref_time / MICROSECOND
    return Row(case, reads, writes, least + len(data) * per_byte, share, declared)


def _trie_share(world: World, changed: dict[bytes, bytes | None]) -> float:
    state = world.state
    return best(lambda: update(state.node, state.root, changed), 3) if changed else 0.0


def best(work: Callable[[], object], rounds: int) -> float:
    """Return the least processor time of some work in microseconds."""
    times = []
    for _ in range(rounds):
        start = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - start) / 1000)
    return min(times)


def print_table(rows: list[Row]) -> None:
    """Print declared and measured weights beside each other; what exceeds is marked."""
    heads = ("reads", "writes", "compute", "trie", "measured", "declared")
    print(f"{'call':42}" + "".join(f"{head:>9}" for head in heads))
    for row in rows:
        name = f"{row.case.pallet}.{row.case.call}"
        if row.case.form:
            name += f" ({row.case.form})"
        measured = row.computation + row.trie
        mark = "  TOO LOW" if measured > row.declared else ""
        print(
            f"{name:42}{row.reads:9}{row.writes:9}{row.computation:9.0f}{row.trie:9.0f}"
            f"{measured:9.0f}{row.declared:9.0f}{mark}"
        )
    keys = sum(row.writes for row in rows)
    share = sum(row.trie for row in rows) / keys
    write = DB_WEIGHT.write / MICROSECOND
    print(
        f"\nshare of the trie per key changed: {share:.0f} µs; a write is declared as {write:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="regenerate the pallets' weights.py")
    parser.add_argument("--fill", action="store_true", help="fill blocks and import them")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    machine = f"{processor()}, Python {platform.python_version()}"
    today = datetime.now(UTC).date().isoformat()
    print(f"{machine}, {today}\n")
    world = World()
    rate = byte_rate(world)
    print(f"a byte of an extrinsic: {rate * 1e6:.0f} ps\n")
    rows = [measure(world, case, options.rounds, rate) for case in cases(world)]
    print_table(rows)
    if options.write:
        write_files(rows, rate, SAFETY, f"Measured on {today} on {machine}")
        print("\nwritten; run it again to see what is declared now")
    base_rows(world)
    if options.fill:
        fill_rows(world)


if __name__ == "__main__":
    main()
