"""How a node meets others, as the command line says it, and the network that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consensus.interface import AgreementSettings
from consensus.session_key import SessionKey
from node.errors import NodeError
from node.network.alone import NobodyElse
from node.network.hello import SignHello
from node.network.interface import Channel, Network
from node.network.settings import NetworkSettings
from node.paths import ChainPaths
from node.peers import is_message

if TYPE_CHECKING:
    from genesis.spec import ChainSpec

CONSENSUS_CHANNELS = (Channel.PROPOSALS, Channel.VOTES, Channel.CERTIFICATES, Channel.STATUSES)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Addresses are multiaddresses; see `NetworkSettings`."""

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/30333",)
    announce: tuple[str, ...] = ()
    bootnodes: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    reserved_only: bool = False
    outbound: int = 8
    inbound: int = 32
    inbound_per_ip: int = 4
    mdns: bool = False


def open_network(
    config: NetworkConfig | None,
    spec: ChainSpec,
    paths: ChainPaths,
    agreement: AgreementSettings,
    key_seed: bytes | None,
    agent: str,
) -> Network:
    """Make the network; without a configuration the node meets nobody. Raises NodeError."""
    if config is None:
        return NobodyElse()
    from node.network.libp2p_network import Libp2pNetwork

    key = None if key_seed is None else SessionKey(key_seed)
    settings = NetworkSettings(
        folder=paths.network,
        genesis_hash=agreement.genesis_hash,
        fork_id=agreement.fork_id,
        listen=config.listen,
        announce=config.announce,
        bootnodes=(*spec.boot_nodes, *config.bootnodes),
        reserved=config.reserved,
        reserved_only=config.reserved_only,
        agent=agent,
        role="full" if key is None else "authority",
        session_key=None if key is None else key.public,
        sign_hello=None if key is None else _sign_hello(key, agreement),
        outbound=config.outbound,
        inbound=config.inbound,
        inbound_per_ip=config.inbound_per_ip,
        mdns=config.mdns,
    )
    try:
        network = Libp2pNetwork(settings)
    except ValueError as error:
        raise NodeError(f"the network cannot start: {error}") from error
    for channel in CONSENSUS_CHANNELS:
        network.set_check(channel, is_message(channel))
    return network


def _sign_hello(key: SessionKey, agreement: AgreementSettings) -> SignHello:
    def sign(own_peer: bytes, remote_peer: bytes) -> bytes:
        return key.hello(agreement.genesis_hash, agreement.fork_id, own_peer, remote_peer)

    return sign
