"""What a vote costs the log on the disk: its bytes, its work, the wait, and the compaction."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benches.consensus_script import ME, Script
from consensus.core.messages import Vote
from consensus.core.records import EpochOpened, OwnVote, SeenCertificate
from consensus.core.votes import VoteKind, certificate
from consensus.engine.position import RealCrypto
from consensus.engine.wal import EpochLog, frame
from runtime.primitives.digest import Authority

LOG_BYTES = 64 << 20
"""The size at which the engine compacts."""


def rows(folder: Path) -> Iterator[str]:
    """Tell what a vote costs the log: bytes, processor time, and the wait for the disk."""
    script = Script(4, RealCrypto())
    votes = script.play().shown
    opened = EpochOpened(bytes(32), 0, 0, (Authority(bytes(32), 1),), bytes(32), bytes(32), 0, None)
    log = EpochLog.make(folder / "log", opened)
    record = OwnVote(votes[0])
    size = len(frame(record))

    def logged() -> None:
        log.append(record)
        log.sync()

    appends = min(_seconds(lambda: frame(record), 2_000) for _ in range(5))
    waits = _waits(logged)
    with (folder / "raw").open("wb", buffering=0) as raw:
        data = frame(record)

        def written() -> None:
            raw.write(data)
            os.fsync(raw.fileno())

        floors = _waits(written)
    yield f"a vote in the log                           {size:8d} bytes"
    yield f"framing it                                  {appends * 1e6:8.1f} µs"
    yield f"append and fsync, p50 / p95                 {waits[0]:8.2f} / {waits[1]:.2f} ms"
    yield f"floor: write and fsync of the same bytes    {floors[0]:8.2f} / {floors[1]:.2f} ms"
    yield from _compaction(log, votes)
    log.close()


def _compaction(log: EpochLog, votes: Sequence[Vote]) -> Iterator[str]:
    """Fill the log to the size at which the engine compacts it, and do so."""
    signatures = {vote.signer: vote.signature for vote in votes if vote.kind == VoteKind.FINALIZE}
    view = 1
    while log.size < LOG_BYTES:
        view += 1
        for vote in votes[:2]:
            log.append(OwnVote(_of_view(vote, view)))
        proof = certificate(_of_view(votes[-1], view).subject(), signatures, 4)
        log.append(SeenCertificate(proof))
    log.sync()
    before = log.size
    started = time.perf_counter()
    log.compact(certificate(_of_view(votes[-1], view).subject(), signatures, 4))
    took = time.perf_counter() - started
    yield (
        f"compacting {before >> 20} MiB up to the last final view     "
        f"{took * 1e3:8.1f} ms, {log.size} bytes stay"
    )


def _of_view(vote: Vote, view: int) -> Vote:
    return Vote(vote.kind, vote.epoch, view, view - 1, view, vote.block_hash, ME, vote.signature)


def _seconds(work: Callable[[], object], rounds: int) -> float:
    started = time.process_time()
    for _ in range(rounds):
        work()
    return (time.process_time() - started) / rounds


def _waits(work: Callable[[], None], rounds: int = 300) -> tuple[float, float]:
    """Return median and 95th percentile in milliseconds."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    taken.sort()
    return taken[rounds // 2] * 1e3, taken[rounds * 95 // 100] * 1e3
