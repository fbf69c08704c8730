"""Ask peers one after the other; who answers garbage is reported and not asked again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

import trio

from node.log import Log
from runtime.primitives.scale import DecodeError

T = TypeVar("T")
_log = Log("sync")
MALFORMED = "MALFORMED"
INVALID = "INVALID"


class SyncPeers(Protocol):
    """The other nodes, as the sync reaches them."""

    def connected(self) -> Sequence[str]:
        """Name the peers that can be asked now."""

    async def ask(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        """Send a request of `consensus.core.messages`; None where there is no answer in time."""

    async def ask_state(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        """Send a request of `node.sync.messages`; None where there is no answer in time."""

    def penalise(self, peer: str, reason: str, detail: str) -> None:
        """Count a fault against a peer; enough of them ban it."""


class Untrusted(Exception):
    """An answer proves nothing, or the contrary of what it claims; `detail` says what."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


Judge = Callable[[bytes], T | None]
"""Check an answer: what it shows, or None where the peer does not have what was asked for.

Pure; runs in a worker thread. Raises DecodeError or Untrusted.
"""


class Asking:
    """The peers that have not lied yet, each asked in its turn."""

    def __init__(self, peers: SyncPeers) -> None:
        self._peers = peers
        self._liars: set[str] = set()
        self._turn = 0

    def usable(self, without: Collection[str] = ()) -> list[str]:
        """Name the connected peers that may be asked, beginning with whose turn it is."""
        names = [p for p in self._peers.connected() if p not in self._liars and p not in without]
        turn = self._turn % len(names) if names else 0
        return names[turn:] + names[:turn]

    async def first(
        self, request: bytes, judge: Judge[T], *, state: bool = False, without: Collection[str] = ()
    ) -> tuple[str, T] | None:
        """Return the first good answer and who gave it; None where nobody has one."""
        self._turn += 1
        for peer in self.usable(without):
            found = await self._one(peer, request, judge, state=state)
            if found is not None and found[0] not in without:
                return found
        return None

    async def several(self, request: bytes, judge: Judge[T], wanted: int) -> list[tuple[str, T]]:
        """Collect good answers of different peers, as many as wanted or as there are."""
        self._turn += 1
        answers: dict[str, T] = {}
        for peer in self.usable():
            if len(answers) >= wanted:
                break
            found = await self._one(peer, request, judge)
            if found is not None:
                answers.setdefault(*found)
        return list(answers.items())

    def blame(self, peer: str, reason: str, detail: str) -> None:
        """Report a peer, and ask it no more."""
        self._liars.add(peer)
        _log.warning("a peer answered garbage", peer=peer, reason=reason, detail=detail)
        self._peers.penalise(peer, reason, detail)

    async def _one(
        self, asked: str, request: bytes, judge: Judge[T], *, state: bool = False
    ) -> tuple[str, T] | None:
        """Ask a peer; another may answer for it, and then stands for what it says."""
        send = self._peers.ask_state if state else self._peers.ask
        answer = await send(request, asked)
        if answer is None or answer[0] in self._liars:
            return None
        peer, data = answer
        try:
            shown = await trio.to_thread.run_sync(judge, data)
        except DecodeError as error:
            self.blame(peer, MALFORMED, str(error))
        except Untrusted as error:
            self.blame(peer, INVALID, error.detail)
        else:
            return None if shown is None else (peer, shown)
        return None
