"""Run every check of the model and print what came out: ``python -m tests.simulation.model``."""

from __future__ import annotations

import sys
import time

from runtime.primitives.leaders import quorum
from tests.simulation.model.accountability import hold_to_account
from tests.simulation.model.configurations import ABOVE_A_THIRD, checks
from tests.simulation.model.explorer import Explorer
from tests.simulation.model.guards import Guards


def main() -> int:
    """Print a line per check; 1 where one came out otherwise than it must."""
    failures = 0
    print(f"{'configuration':38} {'rules':32} {'states':>9} {'seconds':>8}  result")
    for check in checks():
        started = time.monotonic()
        outcome = Explorer(check.configuration, check.guards).find(check.looks_for)
        failed = outcome.harm is not check.harm
        result = outcome.harm.value if outcome.harm else "no harm"
        row(check.configuration.name, check.rules, outcome.states, started, result, failed)
        failures += failed
    for configuration in ABOVE_A_THIRD:
        started = time.monotonic()
        account = hold_to_account(configuration, Guards())
        total = sum(configuration.weights)
        least = 2 * quorum(total) - total
        failed = not account.forks or account.framed > 0 or account.least_guilty < least
        result = f"{account.forks} forks, each proves {account.least_guilty} of {total} guilty"
        row(configuration.name, "the rules", account.states, started, result, failed)
        failures += failed
    return 1 if failures else 0


def row(name: str, rules: str, states: int, started: float, result: str, failed: bool) -> None:
    """Print a line of the table."""
    seconds = time.monotonic() - started
    mark = "  WRONG" if failed else ""
    print(f"{name:38} {rules:32} {states:9,} {seconds:8.1f}  {result}{mark}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
