"""Measure how long it takes until the last of many followers has heard of a block.

    python -m benches.rpc_followers [--followers 1 10 100 500] [--blocks 12]

Each follower is a connection with one `chainHead_v1_follow`, half of them with runtimes. The time
runs from the line `block executed` (`block finalised`) in the node's log to the moment at which
the last client has read `newBlock` (`finalized`); the clients are one process, which looks at bytes
only, and which shares the machine with the node.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import selectors
import tempfile
import time
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

from benches.consensus_chain import spec_with
from benches.consensus_network import running, validators
from benches.rpc_clients import quantiles
from benches.rpc_methods import Wire
from benches.rpc_socket import frame, request

INTERVAL_MS = 500
SETTLE_SECONDS = 2.0
NEW, FINAL = b'"event":"newBlock"', b'"event":"finalized"'
_READ = 1 << 16

Moments = dict[bytes, list[float]]
"""When each client heard of a block (unix seconds), by kind, in the order of the blocks."""


def listen(port: int, followers: int, blocks: int, report: Connection) -> None:
    """Follow with many connections; report when which event came, over all of them."""
    selector = selectors.DefaultSelector()
    for number in range(followers):
        wire = Wire(port)
        wire.send(frame(request(0, "chainHead_v1_follow", number % 2 == 0)))
        while b'"bestBlockChanged"' not in wire.receive():
            pass
        selector.register(wire.socket, selectors.EVENT_READ)
    time.sleep(SETTLE_SECONDS)
    for key, _ in selector.select(0):
        wire_socket = key.fileobj
        wire_socket.recv(1 << 20)  # type: ignore[union-attr]
    heard: Moments = {NEW: [], FINAL: []}
    wanted = followers * blocks
    end = time.monotonic() + SETTLE_SECONDS + blocks * INTERVAL_MS / 250
    while len(heard[FINAL]) < wanted and time.monotonic() < end:
        for key, _ in selector.select(0.5):
            data = key.fileobj.recv(_READ)  # type: ignore[union-attr]
            now = time.time()
            for kind, moments in heard.items():
                moments.extend([now] * data.count(kind))
    report.send(heard)


def last_heard(moments: list[float], began: dict[int, float], followers: int) -> list[float]:
    """Return for each block how long it took until all followers had heard of it."""
    took = []
    starts = sorted(began.values())
    for start, until in pairwise(starts):
        within = [when for when in moments if start <= when < until]
        if len(within) == followers:
            took.append(within[-1] - start)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--followers", type=int, nargs="+", default=[1, 10, 100, 500])
    parser.add_argument("--blocks", type=int, default=12)
    args = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ",
        end="",
    )
    print(f"{time.strftime('%Y-%m-%d')}, load {os.getloadavg()[0]:.1f} before")
    print(f"{'':<12}{'new block, ms':>24}{'final block, ms':>24}{'blocks':>10}")
    print(f"{'followers':<12}" + f"{'p50':>12}{'max':>12}" * 2)
    spec = spec_with(1, [], block_interval_ms=INTERVAL_MS)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="rpc-followers-") as folder:
        members = validators(Path(folder), 1)
        with running(Path(folder), spec, members, "-l", "info,chain=debug") as network:
            network.wait(4)
            (node,) = network.nodes
            for followers in args.followers:
                ours, theirs = context.Pipe()
                given = (node.member.ports.rpc, followers, args.blocks, theirs)
                clients = context.Process(target=listen, args=given, daemon=True)
                clients.start()
                heard: Moments = ours.recv()
                clients.join()
                row = [
                    last_heard(heard[kind], began, followers)
                    for kind, began in ((NEW, node.executed()), (FINAL, node.times()))
                ]
                shown = (value * 1000 for took in row for value in quantiles(took)[::2])
                print(f"{followers:<12}" + "".join(f"{v:>12.1f}" for v in shown), end="")
                print(f"{len(row[1]):>10}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
