"""Long extrinsics take long to decode: they are checked in a thread before the pool sees them."""

from __future__ import annotations

from functools import partial

import trio

from node.rpc.backend import Backend
from node.rpc.work import Work
from runtime.validity import Checker

LONG_EXTRINSIC = 4096
"""Bytes; a batch of so many holds a thousand calls, which take 2 ms to decode."""


async def check_aside(backend: Backend, extrinsic: bytes) -> None:
    """Check a long extrinsic against the best block's state; one too long for the pool passes.

    Raises InvalidTransaction, MissingNode, and `RpcError` where the node is busy.
    """
    if len(extrinsic) > backend.pool.limits.extrinsic_bytes:
        return  # the pool refuses it at once
    best = backend.chain.best().hash
    checker = Checker(backend.state(best), backend.header(best))
    async with backend.turns[Work.RULES].turn():
        await trio.to_thread.run_sync(partial(checker.validate, extrinsic))
