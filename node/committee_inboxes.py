"""Inboxes of the workers that are connected to this node: who may open one, and what lies in them.

A worker proves its key by signing a challenge of the node's. Challenges are not kept, so strangers
cannot use them up: each carries its end and the node's own seal, and only used ones are remembered.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from node.client.material import MaterialReason, MaterialRefusal, inbox_bytes
from node.committee_gate import Asked, CommitteeGate
from node.log import Log
from runtime.primitives import keys
from runtime.primitives.scale import DecodeError, decode
from runtime.primitives.types import MultiSignature

CHALLENGE_SECONDS = 60
MOST_INBOXES, MOST_PER_WORKER = 256, 4
ANSWER_SECONDS = 3.0
_END, _RANDOM = 8, 16
_log = Log("committee")

Deliver = Callable[[str, bytes], object]
"""Hands a worker the number to answer under, and a request."""


class Challenges:
    """What workers sign to prove their keys; each is good once, for a minute."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._used: dict[bytes, int] = {}

    def issue(self) -> bytes:
        """Make a challenge of 56 bytes."""
        end = int(time.monotonic()) + CHALLENGE_SECONDS
        body = end.to_bytes(_END, "big") + secrets.token_bytes(_RANDOM)
        return body + self._seal(body)

    def use(self, challenge: bytes) -> bool:
        """Tell whether this is a challenge of this node that is still good; it no longer is."""
        now = int(time.monotonic())
        self._used = {used: end for used, end in self._used.items() if end >= now}
        body, seal = challenge[: _END + _RANDOM], challenge[_END + _RANDOM :]
        end = int.from_bytes(body[:_END], "big")
        if not hmac.compare_digest(seal, self._seal(body)) or end < now or challenge in self._used:
            return False
        self._used[challenge] = end
        return True

    def _seal(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, "sha256")


@dataclass(slots=True)
class _Question:
    """A request that lies in the inboxes of a worker."""

    asked: Asked
    done: trio.Event = field(default_factory=trio.Event)
    answer: bytes | None = None


class Inboxes:
    """Puts requests before the workers that are connected here, and takes their answers."""

    def __init__(self, gate: CommitteeGate, counts: Counter[str]) -> None:
        self.challenges = Challenges()
        self._gate = gate
        self._counts = counts
        self._open: dict[bytes, tuple[Deliver, ...]] = {}
        self._questions: dict[str, _Question] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def prove(self, worker: bytes, challenge: bytes, signature: bytes) -> None:
        """Check that a worker's key signed a challenge.

        `signature` is SCALE of `MultiSignature`. Raises NOT_A_MEMBER, MALFORMED, BAD_SIGNATURE.
        """
        if not self._gate.is_worker(worker):
            raise MaterialRefusal(MaterialReason.NOT_A_MEMBER, "no worker has this key")
        message = inbox_bytes(self._gate.genesis, challenge, worker)
        try:
            signed = keys.verify(decode(MultiSignature, signature), message, worker)
        except DecodeError as error:
            raise MaterialRefusal(MaterialReason.MALFORMED, str(error)) from error
        if not signed or not self.challenges.use(challenge):
            raise MaterialRefusal(MaterialReason.BAD_SIGNATURE, "sign a fresh challenge")

    def open(self, worker: bytes, deliver: Deliver) -> Callable[[], None]:
        """Deliver a worker's requests from now on; returns what ends it. Raises BUSY."""
        mine = self._open.get(worker, ())
        if len(self) >= MOST_INBOXES or len(mine) >= MOST_PER_WORKER:
            raise MaterialRefusal(MaterialReason.BUSY, "too many inboxes are open")
        self._open[worker] = (*mine, deliver)
        _log.info("worker's inbox opened", worker=worker)

        def close() -> None:
            left = tuple(other for other in self._open.pop(worker) if other is not deliver)
            if left:
                self._open[worker] = left

        return close

    def answer(self, number: str, data: bytes | None) -> bool:
        """Take a worker's answer to a question; None: it has nothing to say. False: not taken."""
        question = self._questions.get(number)
        if question is None or question.done.is_set():
            return False
        if data is not None and not self._gate.is_genuine(question.asked, data):
            self._counts["forged"] += 1
            return False
        question.answer = data
        question.done.set()
        return True

    async def ask(self, asked: Asked, data: bytes) -> bytes | None:
        """Ask the executor's worker; None where it is not connected here, or says nothing."""
        inboxes = self._open.get(asked.executor, ())
        number = secrets.token_hex(16)
        question = self._questions[number] = _Question(asked)
        try:
            for deliver in inboxes:
                deliver(number, data)
            with trio.move_on_after(ANSWER_SECONDS if inboxes else 0):
                await question.done.wait()
        finally:
            del self._questions[number]
        return question.answer
