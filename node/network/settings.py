"""What the operator decides about peers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node.network.hello import SignHello


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How a node meets others.

    folder: holds `key` and `peers.json`; listen, announce, bootnodes, reserved: multiaddr texts,
    the last two with `/p2p/<peer id>`; announce: where others should call, in addition to what is
    listened on; fork_id: raised by every coordinated rollback; session_key, sign_hello: prove who
    validates here, both or neither.
    """

    folder: Path
    genesis_hash: bytes
    fork_id: int = 0
    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/30333",)
    announce: tuple[str, ...] = ()
    bootnodes: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    reserved_only: bool = False
    agent: str = "openledger"
    role: str = "full"
    session_key: bytes | None = None
    sign_hello: SignHello | None = None
    outbound: int = 8
    inbound: int = 32
    inbound_per_ip: int = 4
    mdns: bool = False
