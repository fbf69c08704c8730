"""Where a peer can be called: the multiaddr texts that this node dials."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Self

_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.?)+")
_PEER = re.compile(r"[1-9A-HJ-NP-Za-km-z]{40,60}")
_KINDS = ("ip4", "ip6", "dns", "dns4", "dns6")


@dataclass(frozen=True, slots=True)
class Address:
    """`/ip4|ip6|dns|dns4|dns6/<host>/tcp/<port>[/p2p/<peer>]`, nothing else."""

    kind: str
    host: str
    port: int
    peer: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a multiaddr; raises ValueError that says what is wrong."""
        parts = text.split("/")
        if len(parts) not in (5, 7) or parts[0] or parts[3] != "tcp" or parts[1] not in _KINDS:
            raise ValueError(f"{text!r} is not /ip4/<address>/tcp/<port>/p2p/<peer id>")
        kind, host, port = parts[1], parts[2], parts[4]
        if not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
            raise ValueError(f"{port!r} in {text!r} is not a port")
        if kind.startswith("ip"):
            address = ipaddress.ip_address(host)
            if address.version != int(kind[2]):
                raise ValueError(f"{host!r} in {text!r} is not an address of {kind}")
            host = str(address)
        elif not _NAME.fullmatch(host):
            raise ValueError(f"{host!r} in {text!r} is not a name")
        peer = None
        if len(parts) == 7:
            if parts[5] != "p2p" or not _PEER.fullmatch(parts[6]):
                raise ValueError(f"{text!r} does not end in /p2p/<peer id>")
            peer = parts[6]
        return cls(kind, host, int(port), peer)

    @classmethod
    def of_ip(cls, ip: str, port: int, peer: str | None = None) -> Self:
        """Name an endpoint."""
        version = ipaddress.ip_address(ip.partition("%")[0]).version
        return cls(f"ip{version}", ip.partition("%")[0], port, peer)

    def __str__(self) -> str:
        text = f"/{self.kind}/{self.host}/tcp/{self.port}"
        return f"{text}/p2p/{self.peer}" if self.peer else text

    def of(self, peer: str) -> Self:
        """Return the same place with a peer's id."""
        return replace(self, peer=peer)

    @property
    def is_wildcard(self) -> bool:
        """Tell whether it means every interface of a machine."""
        return self.kind.startswith("ip") and ipaddress.ip_address(self.host).is_unspecified


def is_loopback(ip: str) -> bool:
    """Tell whether an IP is this machine."""
    return bool(ip) and ipaddress.ip_address(ip).is_loopback


def reach(ip: str) -> int:
    """Rank an IP: 0 this machine, 1 a private network, 2 the internet, -1 nowhere."""
    address = ipaddress.ip_address(ip)
    if address.is_loopback:
        return 0
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return -1
    return 2 if address.is_global else 1


def believable(address: Address, told_by: str) -> bool:
    """Tell whether to dial what a peer at the IP `told_by` names.

    A stranger on the internet cannot send us into our own machine or network.
    """
    if address.port == 0:
        return False
    if not address.kind.startswith("ip"):
        return True
    own, theirs = reach(address.host), reach(told_by)
    return own >= 0 and (own == 2 or own >= theirs)
