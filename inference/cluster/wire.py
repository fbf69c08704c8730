"""What the driver and a replica tell each other: plain values, each understood on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.figures import EngineFigures
from inference.request import Answer, Request, RequestReason, RequestRefused, Token
from inference.serving_engine import Elsewhere

WIRE_VERSION = 2
"""Rises whenever drivers and replicas of different builds would misunderstand each other."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Compute a request; one whose number is known already is left alone.

    Attributes:
        image: a Ray reference to the adapter's image in a tuple of its own, where the replica is
            not known to have it; empty else.
    """

    number: int
    request: Request
    image: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop computing a request; its answer so far follows."""

    number: int


Command = Ask | Cancel


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal of an engine, by name."""

    room: str
    reason: str
    detail: str
    retry_after: float | None = None


Event = tuple[int, Token | Answer | Failure]
"""A request's number and what it produced; an answer or a failure is its last."""


@dataclass(frozen=True, slots=True)
class Report:
    """What happened at a replica since the driver asked last.

    Attributes:
        first: the number of the first event; events are numbered from 0 without gaps.
        figures: of the replica's engine; None where they were told a moment ago.
        resident: adapters on its device; None together with the figures.
    """

    first: int
    events: list[Event]
    figures: EngineFigures | None = None
    resident: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a replica is.

    Attributes:
        place: what computes; equal statements give equal answers.
        pid: of the actor's process.
        node: Ray's name of the machine, hexadecimal.
    """

    wire: int
    place: Elsewhere
    pid: int
    node: str


def failure_of(error: RequestRefused | AdapterRefused) -> Failure:
    """Write a refusal down."""
    if isinstance(error, RequestRefused):
        return Failure("request", error.reason.value, error.detail, error.retry_after)
    return Failure("adapter", error.reason.value, error.detail)


def refusal_of(failure: Failure) -> RequestRefused | AdapterRefused:
    """Make the refusal again; raises ValueError for a reason that is not known here."""
    if failure.room == "request":
        reason = RequestReason(failure.reason)
        return RequestRefused(reason, failure.detail, failure.retry_after)
    return AdapterRefused(AdapterReason(failure.reason), failure.detail)
