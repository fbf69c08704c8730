"""The bounds within which strangers may use the JSON-RPC server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum


class RpcMethods(Enum):
    """Who may call unsafe methods; the values are those of the command line."""

    AUTO = "auto"
    """Programs on this machine, where the server listens on loopback only. Web pages, which a
    browser here carries in from anywhere, only if `--rpc-cors` names their origin."""
    SAFE = "safe"
    """Nobody."""
    UNSAFE = "unsafe"
    """Everybody who may connect."""


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """Sizes in bytes, times in seconds, calls a minute; None is no limit."""

    request_bytes: int = 15 * 1024 * 1024
    response_bytes: int = 30 * 1024 * 1024
    head_bytes: int = 16 * 1024
    batch_length: int = 1000
    connections: int = 1000
    in_flight: int = 64
    subscriptions: int = 1024
    calls_per_minute: int | None = None
    high_water_bytes: int = 1024 * 1024
    backlog_bytes: int = 64 * 1024 * 1024
    total_backlog_bytes: int = 256 * 1024 * 1024
    total_request_bytes: int = 256 * 1024 * 1024
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
    methods: RpcMethods = RpcMethods.AUTO

    def admits(self, origin: str | None) -> bool:
        """Say whether a page of this origin may use the server."""
        return origin is None or "*" in self.origins or origin in self.origins

    def trusts(self, origin: str | None) -> bool:
        """Say whether a page of this origin, or a program that is no page, may be unsafe."""
        if self.methods is not RpcMethods.AUTO:
            return self.methods is RpcMethods.UNSAFE
        return is_loopback(self.host) and (origin is None or origin in self.origins)

    @property
    def hint(self) -> str:
        """What somebody may do whom this server does not trust."""
        if self.methods is RpcMethods.SAFE:
            return "this node was started with --rpc-methods safe"
        if is_loopback(self.host):
            return "web pages may not, unless --rpc-cors names their origin; --rpc-methods unsafe"
        return "call it on the node's own machine, or start the node with --rpc-methods unsafe"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
