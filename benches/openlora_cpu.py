"""Thousands of adapters on this CPU: what many of them cost beside one.

    python -m benches.openlora_cpu [--quick] [--wall] [--folder FOLDER] [--threads 1]

S-LoRA's synthetic trace (`openlora_trace.py`) on open-nano with 1, 100, 1,000 and 5,000 adapters of
rank 8, and 1,000 of ranks 4 to 32, all real images in a store on the disk. The memory holds all of
them, as S-LoRA's main memory does, but for a row with room for fewer than 5,000. Every adapter has
been asked for once before the clock starts: so what is measured in that row are loads, evictions
and prefetching in their steady state.

- load: requests come at `--loads` times the rate at which those for one adapter are answered if
  all come at once;
- never packed: of 5,000 as well, but each adapter is used for the first time, so its image is read
  from the canonical file, checked and packed;
- overload: at twice the rate; requests per second are then what the engine can do;
- PEFT answers the beginning of the trace with 100 adapters, in mixed batches and with merged
  weights;
- K adapters in turn at a fixed rate, in memory for all of them and for 64.

Runs of a table are short and alternate between its rows, for the machine's speed swings; all
repetitions of a row are counted together, so that a percentile is of all its requests. Time is
processor time unless `--wall` is given (`openlora_clock.py`): what else runs on the machine hardly
counts then. Answers to equal requests have to be equal in all runs.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import torch
import trio

from benches.attribution import processor
from benches.openlora_adapters import write_folders
from benches.openlora_engines import MIXED, QUICK, RANK, Plan, Row, World
from benches.openlora_peers import MODES, alike, serve_with_peft
from benches.openlora_serve import Outcome, touch
from benches.openlora_table import show
from benches.openlora_trace import SEED, round_robin
from genesis.base_model import OPEN_NANO
from inference import serving_process
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.engine import Engine

PROMPT, OUTPUT = 64, 32
"""Tokens of the requests that take adapters in turn."""


async def compare(
    world: World, rows: Sequence[Row], rate: float, seconds: float, offset: int = 0
) -> dict[str, list[Outcome]]:
    """Run every row once per repetition, in turn."""
    results: dict[str, list[Outcome]] = {row.name: [] for row in rows}
    for repetition in range(world.plan.repetitions):
        for row in rows:
            asks = world.trace(len(row.hashes), rate, seconds, offset + repetition)
            results[row.name].append(await world.serve(row, asks))
    return results


async def never_packed(world: World, rate: float) -> list[Outcome]:
    """Serve with adapters whose packed form is not on the disk yet."""
    outcomes = []
    for repetition in range(world.plan.repetitions):
        asks = world.trace(len(world.hashes), rate, world.plan.seconds, repetition)
        folder = world.folder / "never-packed"
        shutil.rmtree(folder, ignore_errors=True)
        store = AdapterStore(folder, world.backbone)
        for index in {ask.adapter for ask in asks}:
            name = f"{world.hashes[index].hex()}.safetensors"
            (folder / name).symlink_to(world.folder / "store" / name)
        async with world.engine(store, world.plan.scarce) as engine:
            row = Row("never packed", engine, world.hashes)
            await touch(engine, [world.hashes[asks[0].adapter]])
            outcomes.append(await world.serve(row, asks))
        await trio.to_thread.run_sync(shutil.rmtree, folder)
    return outcomes


async def in_turn(world: World, rate: float, roomy: Engine) -> None:
    """Ask K adapters in turn, with room for all and with room for few."""
    plan = world.plan
    async with world.engine(world.store, plan.tight) as tight:
        print(
            f"\nfirst token in ms, adapters in turn, {rate:.1f} requests/s, prompt {PROMPT}, "
            f"output {OUTPUT}"
        )
        print(f"{'adapters':<12}|{'room for all':^30}|{f'room for {plan.tight}':^30}")
        print(f"{'':<12}|" + f"{'p50':>9}{'p99':>9}{'loads':>9}   |" * 2)
        for count in plan.in_turn:
            cells = [await _turns(world, rate, engine, count) for engine in (roomy, tight)]
            print(f"{count:<12}|{''.join(cells)}", flush=True)


async def _turns(world: World, rate: float, engine: Engine, count: int) -> str:
    row = Row("", engine, world.hashes[:count])
    await touch(engine, row.hashes)
    vocabulary = world.backbone.config.vocab_size
    asks = round_robin(count, rate, world.plan.turns, vocabulary, PROMPT, OUTPUT, SEED + count)
    found = (await world.serve(row, asks)).figures()
    loads = found["host"] + found["disk"]
    return f"{found['p50']:9.1f}{found['p99']:9.1f}{loads:9.0f}   |"


async def peers(world: World, rate: float, engine: Engine) -> None:
    """Let PEFT answer the beginning of the trace."""
    plan = world.plan
    folder = world.folder / "peft"
    names = write_folders(folder, world.backbone, RANK, plan.peer_adapters)
    row = Row(f"{plan.peer_adapters} here", engine, world.hashes[: plan.peer_adapters])
    asks = world.trace(len(names), rate, 2 * plan.peers / rate, 0)[: plan.peers]
    results: dict[str, list[Outcome]] = {row.name: []}
    for _ in range(plan.peer_repetitions):
        results[row.name].append(await world.serve(row, asks))
        for mode in MODES:
            theirs = await trio.to_thread.run_sync(
                serve_with_peft, mode, folder, OPEN_NANO, asks, names, plan
            )
            results.setdefault(f"PEFT {mode}", []).append(theirs)
    show(f"beside PEFT: the first {len(asks)} requests, {rate:.1f} requests/s", results, row.name)
    last = {name: outcomes[-1] for name, outcomes in results.items()}
    same = [f"{mode} {alike(last[row.name], last[f'PEFT {mode}']):.0%}" for mode in MODES]
    print(f"greedy answers with the same ids as here: {', '.join(same)}")


async def burst_rate(world: World, row: Row) -> float:
    """Return requests per second when all come at once; the second of two runs."""
    found = 0.0
    for repetition in range(2):
        asks = world.trace(len(row.hashes), 1e4, world.plan.burst / 1e4, 700 + repetition)
        found = (await world.serve(row, asks)).figures()["requests/s"]
    return found


async def measure(world: World) -> None:
    """Run everything and print it."""
    plan = world.plan
    async with AsyncExitStack() as stack:
        rows = []
        for count in plan.counts:
            engine = await stack.enter_async_context(world.engine(world.store, count))
            rows.append(Row(f"{count:,}", engine, world.hashes[:count]))
        engine = await stack.enter_async_context(world.engine(world.store, plan.scarce))
        rows.append(Row(f"{max(plan.counts):,} scarce", engine, world.hashes))
        room = plan.mixed * max(MIXED) // RANK[0]
        engine = await stack.enter_async_context(world.engine(world.mixed_store, room))
        rows.append(Row(f"{plan.mixed:,} mixed", engine, world.mixed))
        started = time.perf_counter()
        for row in reversed(rows):
            await touch(row.engine, row.hashes)
        warming = time.perf_counter() - started
        pauses = [collection()]
        serving_process.settle()
        pauses.append(collection())
        describe(world, rows, warming, pauses)
        capacity = await burst_rate(world, rows[0])
        rate = plan.loads[-1] * capacity
        for row in rows:
            await world.serve(row, world.trace(len(row.hashes), rate, 2.0, 500))
        for load in plan.loads:
            rate = load * capacity
            results = await compare(world, rows, rate, plan.seconds)
            results["never packed"] = await never_packed(world, rate)
            show(f"load {load}: {rate:.1f} requests/s", results, rows[0].name)
        results = await compare(world, rows, 2 * capacity, plan.overload, 100)
        show(f"overload: {2 * capacity:.1f} requests/s", results, rows[0].name)
        if plan.peers:
            await peers(world, rate, rows[1].engine)
        await in_turn(world, rate, rows[-3].engine)
    facts = world.facts
    print(
        f"\n{facts.answers} answers of {facts.tokens} tokens, all complete; {facts.compared} "
        "requests were repeated in another run and answered alike, bit for bit"
    )


def collection() -> float:
    """Return the milliseconds that a full run of the collector of cycles takes."""
    started = time.process_time()
    gc.collect()
    return 1e3 * (time.process_time() - started)


def describe(world: World, rows: Sequence[Row], warming: float, pauses: Sequence[float]) -> None:
    """Print what is measured."""
    plan = world.plan
    size = sum(path.stat().st_size for path in world.folder.rglob("*") if path.is_file())
    print(f"open-nano on {processor()}, {plan.threads} threads, {plan.running} at once")
    print(
        f"{len(world.hashes):,} adapters of rank {RANK[0]}, {world.image:,} bytes each, and "
        f"{plan.mixed:,} of ranks {', '.join(map(str, MIXED))}; written in {world.filling:.0f} s, "
        f"asked once in {warming:.0f} s; {size / 1e9:.1f} GB of files with their packed forms"
    )
    held = ", ".join(f"{row.engine.figures.adapters} of {row.name}" for row in rows)
    largest, scarce = (world.memory(room) >> 20 for room in (max(plan.counts), plan.scarce))
    print(f"memory of the rows at most {largest} MiB, scarce {scarce} MiB; ready: {held}")
    before, after = pauses
    print(f"a full collection of cycles: {before:.1f} ms, spared what is loaded {after:.1f} ms")
    clock = "on the wall" if plan.wall else "of the process's processor time"
    print(f"prompts and answers of 8 to 127 tokens; times in ms, by the clock {clock}")


def main() -> None:
    """Parse options, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="seconds; figures mean little")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--seconds", type=float, help="of each trace at --loads")
    parser.add_argument("--loads", default="0.3,0.6")
    parser.add_argument("--wall", action="store_true", help="measure by the clock on the wall")
    parser.add_argument("--counts", help="numbers of adapters, from 1 on")
    parser.add_argument("--folder", type=Path, help="keep the adapters there for another run")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    plan = replace(plan, threads=arguments.threads, wall=arguments.wall)
    plan = replace(plan, loads=tuple(map(float, arguments.loads.split(","))))
    if arguments.repetitions:
        plan = replace(plan, repetitions=arguments.repetitions)
    if arguments.seconds:
        plan = replace(plan, seconds=arguments.seconds)
    if arguments.counts:
        plan = replace(plan, counts=tuple(map(int, arguments.counts.split(","))))
    torch.set_num_threads(plan.threads)
    backbone = Backbone.load(OPEN_NANO)
    with tempfile.TemporaryDirectory(prefix="openlora-cpu-") as name:
        trio.run(measure, World(plan, arguments.folder or Path(name), backbone))


if __name__ == "__main__":
    main()
