"""R7 and R8: saying again what others may have missed."""

from __future__ import annotations

from itertools import chain

from consensus.core.actions import Broadcast
from consensus.core.certificates import FINALIZE, NOTARIZE, NULLIFY
from consensus.core.events import TimerKind
from consensus.core.leading import Leading
from consensus.core.messages import CertificateNotice, Message, encode_message
from consensus.core.votes import VoteKind

STANDSTILL_BYTES = 256 << 10
"""Most that one standstill sends again."""


class Repeating(Leading):
    """Repeats votes and certificates while nothing becomes final."""

    def _retry(self, view: int) -> None:
        """R7: in a view that was given up, repeat the own votes and what opened the view."""
        place = self._round(view)
        if not place.nullified:
            return
        for message in chain(self._own_votes(view), self._entry(view)):
            self._do(Broadcast(message))
        self._set(TimerKind.RETRY, view, self.config.pace.retry)

    def _entry(self, view: int) -> list[Message]:
        for kind in (FINALIZE, NULLIFY, NOTARIZE):
            certificate = self.certificates.get(kind, view - 1)
            if certificate is not None:
                return [CertificateNotice(certificate)]
        return []

    def _own_votes(self, view: int) -> list[Message]:
        if self.me is None:
            return []
        votes = [self.pool.vote(view, self.me, kind) for kind in VoteKind]
        return [vote for vote in votes if vote is not None]

    def _standstill(self) -> None:
        """R8: nothing became final for long; send again what is undecided."""
        self._resend_all()
        self._set(TimerKind.STANDSTILL, 0, self.config.pace.standstill)

    def _resend_all(self) -> None:
        """Send the undecided again, at most `STANDSTILL_BYTES`, the next time where it stopped."""
        if self.me is None:
            return
        messages: list[Message] = []
        final = self.certificates.highest_final
        if final is not None:
            messages.append(CertificateNotice(final))
        for view in range(self.final.view + 1, self.view + 1):
            messages += map(CertificateNotice, self.certificates.between(view, view))
            place = self.rounds.get(view)
            if place is not None and place.own is not None and any(place.own.signature):
                messages.append(place.own)
            messages += self._own_votes(view)
        left = STANDSTILL_BYTES
        start = self._standstill_cursor if self._standstill_cursor < len(messages) else 0
        self._standstill_cursor = 0
        for index, message in enumerate(messages[start:], start):
            left -= len(encode_message(message))
            if left < 0 and index > start:
                self._standstill_cursor = index
                return
            self._do(Broadcast(message))
