"""How fast a fresh full node takes a chain from a peer, beside executing the same blocks alone.

The chain has one validator, so a block carries one signature; one certificate per epoch proves the
rest anyway. Both nodes follow: the one that serves has no key, so that nothing is added meanwhile.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import trio

from benches.consensus_chain import genesis_hash, make_blocks, senders, spec_with, transfers
from benches.consensus_network import running
from genesis.spec import ChainSpec
from node.chain import Chain
from node.localnet.free_ports import free_ports
from node.localnet.plan import Member, Ports
from node.native_runtime import NativeRuntime
from node.paths import ChainPaths
from runtime.primitives.header import Block

EPOCH = 600
TOGETHER = 32
"""Blocks that are made final by one write, as a node that catches up does."""
TARGET = 0.8
PROCESSOR = "substrate_process_cpu_seconds_total"


def rows(folder: Path, blocks: int, each: int) -> Iterator[str]:
    """Tell of a chain of `blocks` blocks with `each` transfers."""
    pairs = senders() if each else []
    spec = spec_with(1, pairs, block_interval_ms=100, epoch_length=EPOCH)
    rounds = -(-blocks * each // len(pairs)) if each else 0
    given = transfers(pairs, rounds, genesis_hash(spec)) if each else iter(())
    source = folder / "source"
    make_blocks(spec, source, blocks, given, each)
    free = free_ports()
    members = [
        Member("source", source, Ports(*islice(free, 4))),
        Member("fresh", folder / "fresh", Ports(*islice(free, 4))),
    ]
    with running(folder, spec, members, "--sync", "full") as network:
        serving, fresh = network.nodes
        serving.child.signal(signal.SIGSTOP)
        while fresh.final() < 0:
            time.sleep(0.05)
        before = fresh.metrics()[PROCESSOR]
        serving.child.signal(signal.SIGCONT)
        network.wait(blocks, 300)
        stored = fresh.times()
        busy = fresh.metrics()[PROCESSOR] - before
    first = min(stored)
    took = stored[blocks] - stored[first]
    one, many = trio.run(_alone, spec, folder, source)
    yield f"{blocks} blocks of {each} transfers, epochs of {EPOCH}"
    yield "                                       blocks/s   per second of one core"
    yield _told("execution alone, final one by one", blocks, one)
    yield _told(f"execution alone, final {TOGETHER} at a time", blocks, many)
    yield _told("a fresh node from another", blocks - first, (took, busy * (1 - first / blocks)))
    clock = 100 * (blocks - first) / took * many[0] / blocks
    work = 100 * many[1] / busy
    yield f"of execution alone: {clock:.0f} % by the clock, {work:.0f} % by processor time"
    yield f"target                                     {100 * TARGET:.0f} %"


def _told(name: str, blocks: float, taken: tuple[float, float]) -> str:
    return f"{name:<38}{blocks / taken[0]:8.1f}   {blocks / taken[1]:8.1f}"


Taken = tuple[float, float]
"""Seconds by the clock, and of processor time."""


async def _alone(spec: ChainSpec, folder: Path, source: Path) -> tuple[Taken, Taken]:
    """Execute and finalise, one by one and many at a time."""
    chain = Chain.open(ChainPaths.of(source, spec.id).database, spec, NativeRuntime())
    blocks: list[tuple[Block, bytes | None]] = []
    for number in range(1, chain.finalized().number + 1):
        block_hash = chain.block_hash(number) or b""
        block = chain.block(block_hash)
        if block is not None:
            blocks.append((block, chain.justification(block_hash)))
    chain.close()
    return (
        await _execute(spec, folder / "one", blocks, 1),
        await _execute(spec, folder / "many", blocks, TOGETHER),
    )


async def _execute(
    spec: ChainSpec, folder: Path, blocks: list[tuple[Block, bytes | None]], together: int
) -> Taken:
    chain = Chain.open(folder, spec, NativeRuntime())
    started, busy = time.perf_counter(), time.process_time()
    for count, (block, proof) in enumerate(blocks, 1):
        ref = await chain.execute(block)
        if count % together == 0 or count == len(blocks):
            chain.set_best(ref.hash)
            await chain.finalize(ref.hash, proof)
    taken = time.perf_counter() - started, time.process_time() - busy
    chain.close()
    return taken
