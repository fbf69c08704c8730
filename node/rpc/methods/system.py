"""`system_*`: who this node is and how it fares."""

from __future__ import annotations

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, Method
from node.rpc.methods.account import account_methods

_HEALTH = schema.record(peers=schema.U32, isSyncing=schema.BOOLEAN, shouldHavePeers=schema.BOOLEAN)
_SYNC = schema.record(startingBlock=schema.U32, currentBlock=schema.U32, highestBlock=schema.U32)


def system_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    return [*_identity(backend), *_condition(backend), *account_methods(backend)]


def _identity(backend: Backend) -> list[AnyMethod]:
    facts, network = backend.facts, backend.network
    properties = dict(facts.properties)

    def addresses() -> list[str]:
        """List the multiaddresses at which peers reach this node, its peer id included."""
        return list(network.addresses())

    return [
        _fact("system_name", facts.name, "Name the program."),
        _fact("system_version", facts.version, "Tell the program's version."),
        _fact("system_chain", facts.chain, "Name the chain."),
        _fact("system_chainType", facts.chain_type, "Tell `Development`, `Local` or `Live`."),
        Method(
            "system_properties",
            lambda: properties,
            result={"type": "object"},
            doc="Tell what wallets show: `ss58Format`, `tokenDecimals`, `tokenSymbol`.",
        ),
        Method(
            "system_nodeRoles",
            lambda: list(facts.roles),
            result=schema.array(schema.TEXT),
            doc="Tell `Authority` of a validator, `Full` of any other node.",
        ),
        Method(
            "system_localPeerId",
            network.local_id,
            result=schema.TEXT,
            doc="Name this node's peer id; empty without a network.",
        ),
        Method("system_localListenAddresses", addresses, result=schema.array(schema.TEXT)),
    ]


def _fact(name: str, value: str, doc: str) -> Method:
    return Method(name, lambda: value, result=schema.TEXT, doc=doc)


def _condition(backend: Backend) -> list[AnyMethod]:
    facts, network, chain = backend.facts, backend.network, backend.chain
    started_at = chain.best().number

    def health() -> object:
        """Tell how many peers there are, whether there should be some, and if it catches up."""
        peers = len(network.peers())
        return {
            "peers": peers,
            "isSyncing": network.is_syncing(),
            "shouldHavePeers": facts.chain_type != "Development",
        }

    def sync_state() -> object:
        """Tell the best block now, when the node started, and the highest among its peers."""
        best = chain.best().number
        highest = max((peer.best_number for peer in network.peers()), default=best)
        return {
            "startingBlock": started_at,
            "currentBlock": best,
            "highestBlock": max(best, highest),
        }

    return [
        Method("system_health", health, result=_HEALTH),
        Method("system_syncState", sync_state, result=_SYNC),
    ]
