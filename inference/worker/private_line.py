"""The way to other workers: through this worker's node and its peers, never to an endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

import trio

from inference.log import Log
from inference.worker.node_view import answer_of
from node.client.committee import Letter, Reply, answer_material, ask_material, read_inbox
from node.client.errors import ClientError
from node.client.rpc import NodeClient
from node.client.signing import KeyPair

_LOG = Log("committee")
_LEAST_WAIT, _MOST_WAIT = 0.5, 15.0


class PrivateLine(Protocol):
    """What the exchange of committee material needs of a node."""

    async def ask(self, request: bytes) -> Reply:
        """Search for the executor's answer; raises ChainError where the node refuses."""

    def inbox(self, key: KeyPair) -> AsyncGenerator[Letter, None]:
        """Yield what others ask this worker for; waits through reconnections."""

    async def answer(self, number: str, answer: bytes | None) -> bool:
        """Answer a letter, None for nothing to say; raises ChainError."""


class NoLine:
    """A worker that reaches no other: it judges its own answers only."""

    async def ask(self, request: bytes) -> Reply:
        """Find nothing, and have asked nobody."""
        await trio.lowlevel.checkpoint()
        return Reply(None, 0)

    async def inbox(self, key: KeyPair) -> AsyncGenerator[Letter, None]:
        """Wait for ever."""
        await trio.sleep_forever()
        yield Letter("", b"")

    async def answer(self, number: str, answer: bytes | None) -> bool:
        """Tell that nobody takes it."""
        await trio.lowlevel.checkpoint()
        return False


class NodeLine:
    """A `PrivateLine` through one node."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client

    async def ask(self, request: bytes) -> Reply:
        """Search for the executor's answer; raises ChainError where the node refuses."""
        return await answer_of(ask_material(self._client, request))

    async def inbox(self, key: KeyPair) -> AsyncGenerator[Letter, None]:
        """Yield what others ask this worker for; broken connections are waited through."""
        wait, told = _LEAST_WAIT, ""
        while True:
            try:
                async with aclosing(read_inbox(self._client, key)) as letters:
                    async for letter in letters:
                        wait, told = _LEAST_WAIT, ""
                        yield letter
            except ClientError as error:
                tell = _LOG.debug if str(error) == told else _LOG.warning
                told = str(error)
                tell("inbox is not open", retry_seconds=wait, cause=told)
            await trio.sleep(wait)
            wait = min(_MOST_WAIT, 2 * wait)

    async def answer(self, number: str, answer: bytes | None) -> bool:
        """Answer a letter; raises ChainError."""
        return await answer_of(answer_material(self._client, number, answer))
