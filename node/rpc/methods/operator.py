"""`system_*` for the operator: peers, reserved peers, and the log's levels."""

from __future__ import annotations

from node import log
from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, Method
from node.rpc.errors import invalid_params
from node.rpc.params import Param, text, to_hex
from node.rpc.peer_view import Connection

_PEER = schema.record(
    peerId=schema.TEXT, roles=schema.TEXT, bestHash=schema.HASH, bestNumber=schema.U32
)
_CONNECTION = schema.record(
    endpoint={
        "oneOf": [
            schema.record(dialing=schema.array(schema.TEXT)),
            schema.record(listening=schema.record(localAddress=schema.TEXT)),
        ]
    },
    knownAddresses=schema.array(schema.TEXT),
    versionString=schema.TEXT,
    connectedSeconds=schema.U64,
    reserved=schema.BOOLEAN,
    score=schema.U32,
)
_STATE = schema.record(
    peerId=schema.TEXT,
    listenedAddresses=schema.array(schema.TEXT),
    connectedPeers={"type": "object", "additionalProperties": _CONNECTION},
    reservedPeers=schema.array(schema.TEXT),
    totalBytesInbound=schema.U64,
    totalBytesOutbound=schema.U64,
)


def operator_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""
    return [*_peers(backend), *_reserved(backend), *_log_filters()]


def _peers(backend: Backend) -> list[AnyMethod]:
    network = backend.network

    def peers() -> object:
        """List the connected peers, their roles and best blocks as they told them."""
        return [
            {
                "peerId": peer.peer_id,
                "roles": peer.roles,
                "bestHash": to_hex(peer.best_hash),
                "bestNumber": peer.best_number,
            }
            for peer in network.peers()
        ]

    def state() -> object:
        """Describe the network as this node sees it: its addresses, connections and traffic.

        An endpoint is `dialing` where this node called. At a score of 100 a peer is banned.
        """
        bytes_in, bytes_out = network.traffic()
        return {
            "peerId": network.local_id(),
            "listenedAddresses": list(network.addresses()),
            "connectedPeers": {peer.peer_id: _shown(peer) for peer in network.connections()},
            "reservedPeers": list(network.reserved()),
            "totalBytesInbound": bytes_in,
            "totalBytesOutbound": bytes_out,
        }

    return [
        Method("system_peers", peers, result=schema.array(_PEER), unsafe=True),
        Method(
            "system_unstable_networkState",
            state,
            (),
            ("system_networkState",),
            result=_STATE,
            unsafe=True,
        ),
    ]


def _shown(peer: Connection) -> object:
    if peer.dialed:
        endpoint: dict[str, object] = {"dialing": [peer.address]}
    else:
        endpoint = {"listening": {"localAddress": peer.address}}
    return {
        "endpoint": endpoint,
        "knownAddresses": [peer.address],
        "versionString": peer.agent,
        "connectedSeconds": int(peer.seconds),
        "reserved": peer.reserved,
        "score": peer.score,
    }


def _reserved(backend: Backend) -> list[AnyMethod]:
    network = backend.network

    def reserve(address: str) -> None:
        """Always call a peer and always let it in, until this node stops or it is removed."""
        try:
            network.reserve(address)
        except ValueError as refusal:
            raise invalid_params(str(refusal)) from None

    def unreserve(peer: str) -> None:
        """Treat a reserved peer like all others again; a connection to it stays."""
        if not network.unreserve(peer.rpartition("/p2p/")[2]):
            raise invalid_params(f"{peer[:128]} is not a reserved peer; see system_reservedPeers")

    def reserved() -> list[str]:
        """List the ids of the reserved peers."""
        return list(network.reserved())

    where = Param("peer", text, doc="Multiaddress that ends with `/p2p/` and the peer id.")
    return [
        Method("system_addReservedPeer", reserve, (where,), result=schema.NULL, unsafe=True),
        Method(
            "system_removeReservedPeer",
            unreserve,
            (Param("peerId", text, doc="The peer id."),),
            result=schema.NULL,
            unsafe=True,
        ),
        Method("system_reservedPeers", reserved, result=schema.array(schema.TEXT)),
    ]


def _log_filters() -> list[AnyMethod]:
    def add(directives: str) -> None:
        """Change what is logged until the node stops, such as `pool=debug,rpc=warn`."""
        try:
            log.add_filters(directives)
        except ValueError as refusal:
            raise invalid_params(str(refusal)) from None

    def reset() -> None:
        """Log again as the node was started to (`-l`)."""
        log.reset_filters()

    directives = Param("directives", text, doc="A level, or target=level, by commas.")
    return [
        Method("system_addLogFilter", add, (directives,), result=schema.NULL, unsafe=True),
        Method("system_resetLogFilter", reset, result=schema.NULL, unsafe=True),
    ]
