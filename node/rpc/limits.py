"""The bounds within which strangers may use the JSON-RPC server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """Sizes in bytes, times in seconds."""

    request_bytes: int = 15 * 1024 * 1024
    response_bytes: int = 30 * 1024 * 1024
    head_bytes: int = 16 * 1024
    batch_length: int = 1000
    connections: int = 256
    in_flight: int = 64
    subscriptions: int = 1024
    high_water_bytes: int = 1024 * 1024
    backlog_bytes: int = 64 * 1024 * 1024
    total_backlog_bytes: int = 256 * 1024 * 1024
    request_seconds: float = 30.0
    idle_seconds: float = 90.0
    ping_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class RpcConfig:
    """Where the server listens, and which web pages may talk to it.

    `origins` are exact `Origin` values, or `*`; requests without an `Origin`, which no browser
    sends across sites, always pass.
    """

    host: str = "127.0.0.1"
    port: int = 9944
    origins: tuple[str, ...] = ("*",)
    limits: RpcLimits = RpcLimits()

    def admits(self, origin: str | None) -> bool:
        """Say whether a page of this origin may use the server."""
        return origin is None or "*" in self.origins or origin in self.origins
