"""Listening for a double: another process with this key, before anything is signed here."""

from __future__ import annotations

from collections.abc import Callable

import trio

from consensus.core.messages import Votes, VotesRequest
from consensus.engine.gate import SigningGate

AskPeer = Callable[[VotesRequest, str], None]


class Listening:
    """Asks every peer what it holds of this key, for a time by the clock, never by views.

    After a restart of all validators at once no view would advance.
    """

    def __init__(self, gate: SigningGate, request: VotesRequest, seconds: float) -> None:
        self._gate = gate
        self.request = request
        self._seconds = seconds
        self._peers: set[str] = set()
        gate.listening = True

    def joined(self, peer: str) -> bool:
        """Note a peer; tells whether to ask it now."""
        self._peers.add(peer)
        return self._gate.listening

    def left(self, peer: str) -> None:
        """Forget a peer."""
        self._peers.discard(peer)

    async def run(self, ask: AskPeer) -> None:
        """Listen; ask everybody once more when half of the time is over."""
        await trio.sleep(self._seconds / 2)
        for peer in sorted(self._peers):
            ask(self.request, peer)
        await trio.sleep(self._seconds / 2)
        self._gate.listening = False

    def check(self, votes: Votes) -> str | None:
        """Return what to say of a vote that was not made here; None where all were."""
        for vote in votes.votes:
            if self._gate.is_foreign(vote):
                return f"a peer holds a vote of this key for view {vote.view} that the log lacks"
        return None
