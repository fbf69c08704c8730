"""How often each method was called, how often it failed, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Calls:
    """The calls of one method since the start."""

    count: int = 0
    failures: int = 0
    seconds: float = 0.0
    """From the request to its answer, waiting for a turn included."""


@dataclass(slots=True)
class Sessions:
    """The connections since the start."""

    opened: int = 0
    closed: int = 0
    refused: int = 0
    """Turned away because there was no room."""
