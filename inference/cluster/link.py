"""The driver's end of one replica: commands go out in order, reports come in in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import trio

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.cluster.asked import Asked
from inference.cluster.images import Images
from inference.cluster.waiting import result
from inference.cluster.wire import Ask, Cancel, Command, Facts, Report
from inference.figures import EngineFigures

HOLD_SECONDS = 2.0
"""So long a replica that has nothing to tell lets its driver wait."""


class Link:
    """Talks to an opened replica until it fails; the failure is raised out of `run`."""

    def __init__(
        self,
        name: int,
        actor: Any,
        facts: Facts,
        images: Images,
        refuse: Callable[[Asked, AdapterRefused], None],
        silence_seconds: float,
    ) -> None:
        """Take an opened replica.

        Args:
            name: another one for every replica.
            actor: Ray's handle.
            facts: what it said when it was opened.
            images: where those of its adapters come from.
            refuse: told of requests whose adapter cannot be had.
            silence_seconds: a reply that is so late does not come any more.
        """
        self.name = name
        self.facts = facts
        self.figures: EngineFigures | None = None
        """What it told last."""
        self.sent: set[bytes] = set()
        """Adapters whose images the replica was sent."""
        self._actor = actor
        self._images = images
        self._refuse = refuse
        self._patience = silence_seconds
        self._due: deque[Asked | int] = deque()
        self._wake = trio.Event()

    def ask(self, asked: Asked) -> None:
        """Have a request computed."""
        self._due.append(asked)
        self._wake.set()

    def cancel(self, number: int) -> None:
        """Have a request stopped."""
        self._due.append(number)
        self._wake.set()

    async def run(self, heard: Callable[[Report], None]) -> None:
        """Talk until cancelled; raises what Ray raises once the replica is gone, and Silent."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell)
            await self._listen(heard)

    async def _listen(self, heard: Callable[[Report], None]) -> None:
        after = 0
        while True:
            reference = self._actor.report.remote(after, HOLD_SECONDS)
            report: Report = await result(reference, HOLD_SECONDS + self._patience)
            after = report.first + len(report.events)
            heard(report)

    async def _tell(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            commands: list[Command] = []
            while self._due:
                command = await self._command(self._due.popleft())
                if command is not None:
                    commands.append(command)
            if commands:
                await result(self._actor.tell.remote(commands), self._patience)

    async def _command(self, due: Asked | int) -> Command | None:
        if isinstance(due, int):
            return Cancel(due)
        adapter = due.request.adapter
        if due.ended:
            return None
        if adapter is None or adapter in self.sent:
            return Ask(due.number, due.request)
        try:
            reference = await self._images.reference(adapter)
        except AdapterRefused as refusal:
            self._refuse(due, refusal)
            return None
        except OSError as error:
            self._refuse(due, AdapterRefused(AdapterReason.DISK, str(error)))
            return None
        self.sent.add(adapter)
        return Ask(due.number, due.request, (reference,))
