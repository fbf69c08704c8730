"""Await what Ray computes, from trio."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio


class Silent(Exception):
    """Nothing came back in time."""


async def result(reference: Any, seconds: float) -> Any:
    """Return the value of a Ray reference; raises what its task raised, and Silent."""
    token = trio.lowlevel.current_trio_token()
    came = trio.Event()

    def wake(_: object) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(came.set)

    future = reference.future()
    future.add_done_callback(wake)
    with trio.move_on_after(seconds):
        await came.wait()
    if not came.is_set():
        raise Silent(f"no reply for {seconds:.0f} s")
    return future.result()
