"""How well peers behave: points for offences, that fade; bans, that end."""

from __future__ import annotations

import math
from dataclasses import dataclass

from node.network.interface import Offence

POINTS: dict[Offence, int] = {
    Offence.GARBAGE: 100,
    Offence.OVERSIZED: 100,
    Offence.WRONG_SIGNATURE: 100,
    Offence.INVALID: 50,
    Offence.MALFORMED: 34,
    Offence.UNWANTED: 20,
    Offence.FLOOD: 10,
    Offence.SLOW: 5,
}
BAN_AT = 100
HALF_LIFE_SECONDS = 300.0
REMEMBERED = 4096


@dataclass(slots=True)
class _Score:
    points: float
    at: float


class Standing:
    """The points of peers; a peer that left keeps them until they have faded."""

    def __init__(self) -> None:
        self._scores: dict[str, _Score] = {}

    def offend(self, peer: str, offence: Offence, now: float) -> bool:
        """Count an offence and tell whether it was one too many, which clears the count."""
        score = self._scores.pop(peer, _Score(0.0, now))
        points = _faded(score, now) + POINTS[offence]
        if points >= BAN_AT:
            return True
        while len(self._scores) >= REMEMBERED:
            del self._scores[next(iter(self._scores))]
        self._scores[peer] = _Score(points, now)
        return False

    def score(self, peer: str, now: float) -> int:
        """Return the points of a peer; none is spotless."""
        score = self._scores.get(peer)
        return 0 if score is None else math.floor(_faded(score, now))


def _faded(score: _Score, now: float) -> float:
    return score.points * math.pow(0.5, (now - score.at) / HALF_LIFE_SECONDS)
