"""`system_*`: who this node is, how it fares, and the next nonce of an account."""

from __future__ import annotations

from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, Method
from node.rpc.methods.account import account_methods
from node.rpc.params import to_hex


def system_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    facts, network, chain = backend.facts, backend.network, backend.chain
    properties = dict(facts.properties)

    def health() -> object:
        peers = len(network.peers())
        return {
            "peers": peers,
            "isSyncing": network.is_syncing(),
            "shouldHavePeers": facts.chain_type != "Development",
        }

    def peers() -> object:
        return [
            {
                "peerId": peer.peer_id,
                "roles": peer.roles,
                "bestHash": to_hex(peer.best_hash),
                "bestNumber": peer.best_number,
            }
            for peer in network.peers()
        ]

    started_at = chain.best().number

    def sync_state() -> object:
        best = chain.best().number
        highest = max((peer.best_number for peer in network.peers()), default=best)
        return {
            "startingBlock": started_at,
            "currentBlock": best,
            "highestBlock": max(best, highest),
        }

    return [
        Method("system_name", lambda: facts.name),
        Method("system_version", lambda: facts.version),
        Method("system_chain", lambda: facts.chain),
        Method("system_chainType", lambda: facts.chain_type),
        Method("system_properties", lambda: properties),
        Method("system_nodeRoles", lambda: list(facts.roles)),
        Method("system_health", health),
        Method("system_peers", peers),
        Method("system_localPeerId", network.local_id),
        Method("system_localListenAddresses", lambda: list(network.addresses())),
        Method("system_syncState", sync_state),
        *account_methods(backend),
    ]
