"""Floods the others with certificates: some that do not hold, some that everybody has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consensus.core.messages import CertificateNotice, Message, Vote
from consensus.core.votes import Certificate, certificate
from tests.simulation.actors.actor import Actor
from tests.simulation.node import Node

COPIES = 4


class CertificateSpammer(Actor):
    """Each own vote becomes a certificate; each certificate goes out many times."""

    def transmit(self, message: Message, to: Sequence[Node]) -> None:
        super().transmit(message, to)
        if isinstance(message, CertificateNotice):
            for _ in range(COPIES):
                self.post(message, to)
            self.post(CertificateNotice(self._bent(message.certificate)), to)

    def vote(self, vote: Vote, to: Sequence[Node]) -> None:
        self.post(vote, to)
        count = len(self.world.oracle.members(vote.epoch))
        subject = vote.subject()
        alone = certificate(subject, {vote.signer: vote.signature}, count)
        everybody = certificate(subject, dict.fromkeys(range(count), vote.signature), count)
        chosen = self.rng.choice((alone, everybody, self._bent(alone), self._bent(everybody)))
        self.post(CertificateNotice(chosen), self.some(to))

    def _bent(self, held: Certificate) -> Certificate:
        rng = self.rng
        ways = (
            lambda: replace(held, signatures=held.signatures[:-1]),
            lambda: replace(held, signatures=(*held.signatures, held.signatures[0])),
            lambda: replace(held, signatures=held.signatures[::-1]),
            lambda: replace(held, bitmap=held.bitmap + b"\1"),
            lambda: replace(held, bitmap=b""),
            lambda: replace(held, bitmap=b"", signatures=()),
            lambda: replace(held, bitmap=b"\xff" * len(held.bitmap)),
            lambda: replace(held, kind=(held.kind + 1) % 3),
            lambda: replace(held, kind=3),
            lambda: replace(held, view=0),
            lambda: replace(held, view=held.view + rng.choice((1, 1 << 40))),
            lambda: replace(held, number=held.number + 1),
            lambda: replace(held, block_hash=rng.randbytes(32)),
            lambda: replace(held, parent_view=held.parent_view + 1),
        )
        return rng.choice(ways)()
