"""`python -m examples.demo`: run the main job and show who was paid, and why."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import trio

from examples.demo.accounting import NotConserved
from examples.demo.people import VALIDATORS
from examples.demo.processes import ProcessFailed
from examples.demo.run import run_demo
from examples.demo.screen import Screen
from examples.demo.settings import DATANETS, Settings

MOST = len(VALIDATORS)


def main() -> int:
    """Run the demo; the exit status is 1 where anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Settings().folder, metavar="FOLDER")
    parser.add_argument("--train-on", choices=DATANETS, action="append", metavar="DATANET")
    parser.add_argument("--validators", type=int, choices=range(1, MOST + 1), default=1)
    arguments = parser.parse_args()
    settings = Settings(
        folder=arguments.folder,
        validators=arguments.validators,
        trained_on=tuple(arguments.train_on or Settings().trained_on),
    )
    screen = Screen()
    try:
        report = trio.run(run_demo, settings, screen)
    except KeyboardInterrupt:
        return 130
    except BaseExceptionGroup as group:
        told = _told(group)
        if told is None:
            raise
        sys.stderr.write(f"demo: {told}\n")
        return 1
    screen.result(report)
    screen.note(
        f"{settings.folder / 'report.json'} and {settings.folder / 'index.html'} tell it all"
    )
    return 0


def _told(group: BaseExceptionGroup[BaseException]) -> str | None:
    """Return the lines of a failure that says what happened by itself."""
    known, others = group.split((NotConserved, ProcessFailed))
    if known is None or others is not None:
        return None
    found: BaseException = known
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return str(found)


if __name__ == "__main__":
    sys.exit(main())
