"""One request of the driver: what was given out stays true, whoever computes the rest."""

from __future__ import annotations

import trio

from inference.cluster.errors import ClusterReason, ClusterRefused
from inference.request import Answer, Finish, Request, Token
from runtime.primitives.errors import Refusal

ATTEMPTS = 2


class Asked:
    """Tokens as they come, from one replica and, if that is lost, once more from another.

    A second computation begins at the first token again. What was given out already is skipped and
    compared: should it differ, the request fails rather than show a mixture of two answers.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.number = -1
        """Names the present attempt."""
        self.since = trio.current_time()
        self.tokens: list[Token] = []
        self.answer: Answer | None = None
        self.failure: Refusal | None = None
        self.attempts = 0
        self.readers = 0
        self.cancelled = False
        self.changed = trio.Event()
        """Set, and replaced, whenever there is something new to read."""
        self._seen = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.answer is not None or self.failure is not None

    def begin(self, number: int) -> None:
        """Expect the tokens of an attempt, from the first one on."""
        self.number = number
        self.attempts += 1
        self._seen = 0

    def token(self, token: Token) -> None:
        """Take the next token of the present attempt."""
        if self.ended:
            return
        if self._seen < len(self.tokens):
            if token != self.tokens[self._seen]:
                self._differs()
                return
        else:
            self.tokens.append(token)
            self._wake()
        self._seen += 1

    def done(self, answer: Answer) -> None:
        """Take the end of the present attempt."""
        if self.ended:
            return
        if self._seen == len(self.tokens):
            self.answer = answer
            self._wake()
        elif answer.finish is Finish.CANCELLED:
            self.fail(lost("its customer left while it was computed again"))
        else:
            self._differs()

    def fail(self, failure: Refusal) -> None:
        """End without an answer."""
        if not self.ended:
            self.failure = failure
            self._wake()

    def lose(self) -> bool:
        """Learn that its replica is gone; returns whether it is to be computed again."""
        if self.ended:
            return False
        if self.cancelled:
            self.fail(lost("its customer had left"))
        elif self.attempts >= ATTEMPTS:
            self.fail(lost("so is the one that computed it before; ask again"))
        return not self.ended

    def _differs(self) -> None:
        text = f"computed again, token {self._seen + 1} is another; the machines do not agree"
        self.fail(ClusterRefused(ClusterReason.ANSWERS_DIFFER, text))

    def _wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


def lost(why: str) -> ClusterRefused:
    """Return the refusal of a request whose replica is gone."""
    return ClusterRefused(ClusterReason.REPLICA_LOST, f"the replica is gone, and {why}", 1.0)
