"""The network as the agreement and JSON-RPC see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count

import trio

from consensus.core.messages import Status, decode_message
from consensus.interface import PeerEvent
from node.chain import Chain
from node.log import Log
from node.network.interface import (
    Channel,
    Direction,
    FailReason,
    MessageReceived,
    Network,
    Offence,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    RequestFailed,
    RequestKind,
)
from node.rpc.peer_view import Connection, Peer
from runtime.primitives.scale import DecodeError

_log = Log("network")
TRIES = 3
"""So many peers are asked before a request counts as unanswered."""
SYNC_GAP = 3
"""So many final blocks behind its peers a node counts as syncing."""
_CHANNELS = (Channel.VOTES, Channel.CERTIFICATES, Channel.PROPOSALS, Channel.STATUSES)
"""By the tag that a consensus message begins with."""
_OFFENCES = {
    "BAD_SIGNATURE": Offence.WRONG_SIGNATURE,
    "BAD_CERTIFICATE": Offence.WRONG_SIGNATURE,
    "BAD_PROPOSAL": Offence.INVALID,
    "BAD_RESPONSE": Offence.INVALID,
    "MALFORMED": Offence.MALFORMED,
}
TransactionHandler = Callable[[str, bytes], Awaitable[None]]


class NetworkPeers:
    """Hands consensus messages to the agreement, transactions to the pool."""

    def __init__(self, network: Network, take_transactions: TransactionHandler) -> None:
        self._network = network
        self._take_transactions = take_transactions
        self._turn = count()

    def broadcast(self, message: bytes) -> None:
        """Send a consensus message to everybody; never waits."""
        self._network.broadcast(_CHANNELS[message[0]], message)

    def send(self, peer: str, message: bytes) -> None:
        """Send a consensus message to a connected peer; never waits."""
        self._network.send(peer, _CHANNELS[message[0]], message)

    async def ask(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        """Ask a peer, then others, until one answers; returns who did, and what."""
        return await self.ask_of(RequestKind.CONSENSUS, request, peer)

    async def ask_of(
        self, kind: RequestKind, request: bytes, peer: str | None
    ) -> tuple[str, bytes] | None:
        """Ask for a kind of answer; the peers that are furthest first, in turn."""
        for chosen in self._candidates(peer)[:TRIES]:
            try:
                return chosen, await self._network.request(chosen, kind, request)
            except RequestFailed as failure:
                _log.debug("request unanswered", peer=chosen, kind=kind.name, why=failure)
                if failure.reason is FailReason.CLOSED:
                    return None
        return None

    def _candidates(self, first: str | None) -> list[str]:
        peers = self._network.peers()
        if not peers:
            return []
        turn = next(self._turn) % len(peers)
        turned = [*peers[turn:], *peers[:turn]]
        turned.sort(key=lambda peer: -(peer.final_number or 0))
        names = [peer.id for peer in turned]
        if first is not None and first in names:
            names.remove(first)
            names.insert(0, first)
        return names

    async def ask_state(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        """Ask for a range of a state."""
        return await self.ask_of(RequestKind.STATE, request, peer)

    def connected(self) -> Sequence[str]:
        """Name the peers that can be asked now."""
        return [peer.id for peer in self._network.peers()]

    def penalise(self, peer: str, reason: str, detail: str) -> None:
        """Count a fault against a peer."""
        if peer:
            self._network.penalise(peer, _OFFENCES.get(reason, Offence.INVALID), detail)

    async def next(self) -> PeerEvent:
        """Wait for what happens next that the agreement cares about."""
        while True:
            event = await self._network.next_event()
            match event:
                case PeerJoined(info):
                    return PeerEvent(info.id, joined=True)
                case PeerLeft(peer):
                    return PeerEvent(peer)
                case MessageReceived(peer, Channel.TRANSACTIONS, data):
                    await self._take_transactions(peer, data)
                case MessageReceived(peer, channel, data):
                    if channel is Channel.STATUSES:
                        self._note_status(peer, data)
                    return PeerEvent(peer, data)

    def _note_status(self, peer: str, data: bytes) -> None:
        try:
            message = decode_message(data)
        except DecodeError:
            return
        if isinstance(message, Status):
            self._network.note_heads(peer, message.final_number, message.final_number)


def is_message(channel: Channel) -> Callable[[bytes], bool]:
    """Return the check of a channel: is it a consensus message of the right kind?"""
    tag = _CHANNELS.index(channel)

    def check(data: bytes) -> bool:
        if not data or data[0] != tag:
            return False
        try:
            decode_message(data)
        except DecodeError:
            return False
        return True

    return check


class ShownPeers:
    """The network as JSON-RPC shows it."""

    def __init__(self, network: Network, chain: Chain) -> None:
        self._network = network
        self._chain = chain

    def local_id(self) -> str:
        """Name this node's peer id."""
        return self._network.id

    def addresses(self) -> Sequence[str]:
        """List the multiaddresses at which peers reach this node."""
        return self._network.addresses()

    def peers(self) -> Sequence[Peer]:
        """List the connected peers."""
        return [self._shown(info) for info in self._network.peers()]

    def is_syncing(self) -> bool:
        """Tell whether the node is behind its peers."""
        highest = max((info.final_number or 0 for info in self._network.peers()), default=0)
        return highest > self._chain.finalized().number + SYNC_GAP

    def reserved(self) -> Sequence[str]:
        """List the peers that are always called."""
        return list(self._network.reserved)

    def reserve(self, address: str) -> None:
        """Always call a peer from now on; raises ValueError for an address without a peer id."""
        if not self._network.id:
            raise ValueError("this node runs without a network; start it without --no-network")
        self._network.reserved.add(address)

    def unreserve(self, peer: str) -> bool:
        """Treat a peer like all others; says whether it was reserved."""
        return self._network.reserved.remove(peer)

    def connections(self) -> Sequence[Connection]:
        """Describe the connections to peers."""
        return [
            Connection(
                peer_id=info.id,
                address=info.address,
                dialed=info.direction is Direction.OUTBOUND,
                agent=info.agent,
                seconds=trio.current_time() - info.connected_since,
                reserved=info.reserved,
                score=info.score,
            )
            for info in self._network.peers()
        ]

    def traffic(self) -> tuple[int, int]:
        """Count the bytes of all channels since the start: in, out."""
        channels = self._network.counters.channels.values()
        return sum(t.bytes_in for t in channels), sum(t.bytes_out for t in channels)

    def _shown(self, info: PeerInfo) -> Peer:
        number = info.best_number or 0
        known = self._chain.block_hash(number)
        return Peer(
            peer_id=info.id,
            roles=info.role.upper(),
            best_hash=known or bytes(32),
            best_number=number,
        )
