"""A running worker and a client of it."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from inference.worker.worker import Worker

STALE_SECONDS = 3600.0
"""So long after the last block, no requests are taken."""


@dataclass
class Served:
    """A worker that serves over real HTTP, and a client of it."""

    worker: Worker
    client: httpx.AsyncClient
