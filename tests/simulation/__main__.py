"""`python -m tests.simulation`: play many scenarios, and say how to repeat the ones that failed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from multiprocessing import get_context

from tests.simulation.actors import ACTORS
from tests.simulation.attempt import attempt, attempt_all
from tests.simulation.scenario import Outcome

CHUNK = 50


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="show everything that happens")
    parser.add_argument("--hostile", action="store_true", help="longer, with dozens of crashes")
    parser.add_argument(
        "--actors", default=",".join(ACTORS), help="who may be byzantine; 'none' for nobody"
    )
    return parser.parse_args()


def _outcomes(
    first: int, count: int, jobs: int, actors: tuple[str, ...], hostile: bool
) -> Iterable[Outcome]:
    ends = range(first, first + count, CHUNK)
    work = [(start, min(start + CHUNK, first + count), actors, hostile) for start in ends]
    if jobs == 1:
        for part in work:
            yield from attempt_all(part)
        return
    with get_context("spawn").Pool(jobs) as pool:
        for outcomes in pool.imap(attempt_all, work):
            yield from outcomes


def main() -> int:
    arguments = _arguments()
    actors = () if arguments.actors == "none" else tuple(filter(None, arguments.actors.split(",")))
    if arguments.verbose:
        for seed in range(arguments.seed, arguments.seed + arguments.scenarios):
            print(attempt(seed, actors, hostile=arguments.hostile, verbose=True))
        return 0
    started = time.monotonic()
    failed: list[Outcome] = []
    blocks = epochs = 0
    hostile = arguments.hostile
    outcomes = _outcomes(arguments.seed, arguments.scenarios, arguments.jobs, actors, hostile)
    for done, outcome in enumerate(outcomes, 1):
        blocks += outcome.blocks
        epochs += outcome.epochs
        if outcome.problem is not None:
            failed.append(outcome)
            print(f"\nseed {outcome.seed}: {outcome.problem}", flush=True)
        if done % CHUNK == 0 or done == arguments.scenarios:
            rate = done / (time.monotonic() - started)
            print(
                f"\r{done} scenarios, {blocks} blocks, {epochs} epochs, {len(failed)} failed, "
                f"{rate:.0f}/s",
                end="",
                flush=True,
            )
    print()
    for outcome in failed:
        chosen = " --hostile" if hostile else ""
        chosen += f" --actors {arguments.actors}" if arguments.actors != ",".join(ACTORS) else ""
        print(
            f"repeat: python -m tests.simulation --seed {outcome.seed} --scenarios 1 --verbose"
            f"{chosen}"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
