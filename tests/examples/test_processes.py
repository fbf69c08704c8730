"""Supervision: what dies is started again, what fails by itself is told with its last lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from examples.demo.processes import Process, ProcessFailed, run_to_end
from tests.patience import PATIENCE

SLEEPING = "import signal; print('up', flush=True); signal.pause()"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def started(process: Process, times: int) -> None:
    with trio.fail_after(PATIENCE):
        while process.starts < times or process.log.read_text().count("up") < times:
            await trio.sleep(0.01)


async def test_a_killed_process_is_started_again_and_stopped_in_the_end(tmp_path: Path) -> None:
    process = Process("sleeper", python(SLEEPING), tmp_path / "log")
    seen = set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.keep_alive)
        for times in (1, 2, 3):
            await started(process, times)
            seen.add(process.pid)
            process.kill()
        await started(process, 4)
        nursery.cancel_scope.cancel()
    assert (len(seen), process.starts, process.pid) == (3, 4, None)


async def test_a_process_that_ends_by_itself_fails_with_its_last_lines(tmp_path: Path) -> None:
    process = Process("broken", python("print('no disk'); raise SystemExit(3)"), tmp_path / "log")
    with pytest.raises(ProcessFailed, match=r"broken ended with status 3(.|\n)*no disk"):
        await process.keep_alive()
    assert process.starts == 1


async def test_a_stopping_process_may_finish_its_work(tmp_path: Path) -> None:
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(0)))\n"
        "print('up', flush=True)\n"
        "signal.pause()"
    )
    process = Process("polite", python(code), tmp_path / "log")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.keep_alive)
        await started(process, 1)
        nursery.cancel_scope.cancel()
    assert process.tail() == "up\nbye"


async def test_a_program_is_run_to_its_end_and_its_news_are_told(tmp_path: Path) -> None:
    told: list[str] = []
    heard = tmp_path / "heard"

    def tell(line: str) -> None:
        told.append(line)
        heard.touch()

    code = (
        "import pathlib, time\n"
        "print('half', flush=True)\n"
        f"while not pathlib.Path({str(heard)!r}).exists(): time.sleep(0.01)"
    )
    with trio.fail_after(PATIENCE):
        await run_to_end("half", python(code), tmp_path / "log", tell)
    assert told == ["half"]
    with pytest.raises(ProcessFailed, match="status 7"):
        await run_to_end("bad", python("raise SystemExit(7)"), tmp_path / "bad", told.append)
