"""libp2p's gossip with the faults of 0.8.1 mended.

Mended: a frame or key that cannot be parsed ends a stream, not the process; messages are named by
the hash of topic and content everywhere; nothing waits in a channel of 32 places; a peer that was
pruned still hears what exists; one task writes to a stream, so frames do not mingle; grafts meant
for one peer are not sent to another; the heartbeat is one second whatever "health" says;
strangers' addresses are not dialed; whole messages are not kept to find equivocations.
"""

from __future__ import annotations

import collections
import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import libp2p.pubsub.gossipsub as gossipsub_module
import trio
from libp2p.custom_types import TProtocol
from libp2p.host.exceptions import StreamFailure
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.mcache import CacheEntry, MessageCache
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.pubsub.validators import signature_validator
from libp2p.utils.varint import encode_varint_prefixed

from node.network.framing import StreamBroken, read_exactly
from node.network.seen import Seen
from node.network.wire.streams import WireStream

_log = logging.getLogger("openledger.network")

PROTOCOL = TProtocol("/meshsub/1.2.0")
MAX_RPC = 5 * 1024 * 1024
QUEUE = 1024
IDONTWANT_FROM = 16 * 1024
"""Telling neighbours not to send a message pays for larger ones only (bytes)."""
DEGREE, DEGREE_LOW, DEGREE_HIGH = 8, 6, 64
HEARTBEAT_SECONDS = 1.0
WRITE_SECONDS = 10.0
SEEN_SECONDS = 10.0
"""Longer than the router offers a message; what its author sends again later is news."""

# The signed address record that would travel with every message costs more than most messages.
setattr(gossipsub_module, "env_to_send_in_RPC", lambda _host: (b"", False))  # noqa: B010

Judge = Callable[[str, str, str, bytes], bool]
"""Takes (forwarder, author, topic, data) and tells whether to pass the message on."""


def message_id(message: Any) -> bytes:
    """Name a message by its topic and content; the same content elsewhere is another message."""
    topic = message.topicIDs[0] if len(message.topicIDs) == 1 else ""
    return hashlib.sha256(topic.encode() + b"\0" + message.data).digest()[:20]


class NamedCache(MessageCache):
    """Remembers messages by the name that peers ask for."""

    def put(self, msg: Any) -> None:
        """Keep a message for as long as the windows say."""
        name = message_id(msg)
        if name not in self.msgs:
            self.msgs[name] = msg
            self.history[0].append(CacheEntry(name, msg.topicIDs))


class HardGossipSub(GossipSub):
    """The router: who gets what."""

    def __init__(self) -> None:
        super().__init__(
            protocols=[PROTOCOL],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_interval=1,
            do_px=False,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
            max_idontwant_messages=256,
        )
        # Standing is kept by the node, in one place for all that a peer does.
        self.scorer = None
        self.mcache = NamedCache(self.mcache.window_size, self.mcache.history_size)
        self.recent_message_deliveries = _Bounded()

    async def heartbeat(self) -> None:
        """Maintain the mesh once a second; a beat that fails is followed by the next."""
        while True:
            await trio.sleep(HEARTBEAT_SECONDS)
            try:
                grafts, prunes = self.mesh_heartbeat()
                self.fanout_heartbeat()
                await self._emit_control_msgs(grafts, prunes, self.gossip_heartbeat())
                self.mcache.shift()
                self._prune_idontwant_entries()
            except Exception as error:
                _log.warning("gossip heartbeat", extra={"fields": {"error": repr(error)}})

    def mesh_heartbeat(self) -> Any:
        """Choose whom to graft and prune, and keep the backoff of whom we prune ourselves."""
        grafts, prunes = super().mesh_heartbeat()
        for peer, topics in prunes.items():
            for topic in topics:
                self._add_back_off(peer, topic, False)
        return grafts, prunes

    def gossip_heartbeat(self) -> Any:
        """Tell peers outside the mesh what exists, those in a backoff too."""
        out: Any = collections.defaultdict(dict)
        for topic in {*self.mesh, *self.fanout}:
            members = self.pubsub.peer_topics.get(topic) if self.pubsub else None
            names = self.mcache.window(topic)
            if not members or not names:
                continue
            near = self.mesh.get(topic) or self.fanout.get(topic) or set()
            count = max(DEGREE, (len(members) - len(near)) // 4)
            for peer in self._get_in_topic_gossipsub_peers_from_minus(topic, count, near, False):
                out[peer][topic] = list(names)
        return out

    async def _emit_control_msgs(
        self, peers_to_graft: Any, peers_to_prune: Any, peers_to_gossip: Any
    ) -> None:
        for peer in {*peers_to_graft, *peers_to_prune, *peers_to_gossip}:
            control = rpc_pb2.ControlMessage()
            control.graft.extend(
                rpc_pb2.ControlGraft(topicID=topic) for topic in peers_to_graft.get(peer, ())
            )
            control.prune.extend(
                rpc_pb2.ControlPrune(topicID=topic, backoff=self.prune_back_off)
                for topic in peers_to_prune.get(peer, ())
            )
            control.ihave.extend(
                rpc_pb2.ControlIHave(topicID=topic, messageIDs=names)
                for topic, names in peers_to_gossip.get(peer, {}).items()
            )
            await self.emit_control_message(control, peer)

    def send_rpc(self, peer_id: ID, rpc: Any, priority: bool = False) -> None:
        """Queue a frame, without an empty address record."""
        if rpc.HasField("senderRecord") and not rpc.senderRecord:
            rpc.ClearField("senderRecord")
        super().send_rpc(peer_id, rpc, priority)

    async def _emit_idontwant_for_message(self, msg_id: bytes, topic_ids: Iterable[str]) -> None:
        message = self.mcache.get(msg_id)
        if message is not None and len(message.data) >= IDONTWANT_FROM:
            await super()._emit_idontwant_for_message(msg_id, topic_ids)

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        """Queue what a newcomer may have missed; written past the queue, frames would mingle."""
        for name in self.mcache.window(topic):
            message = self.mcache.get(name)
            if message is not None:
                self.send_rpc(peer_id, rpc_pb2.RPC(publish=[message]))

    async def flush_pending_messages(self, peer_id: ID) -> None:
        """Drop what waited for a subscription: `send_recent_messages` has it too."""
        self._pending_messages.pop(peer_id, None)

    def _prune_pending_messages(self, peer_id: ID) -> None:
        self._pending_messages.pop(peer_id, None)

    def _check_equivocation(self, msg: Any) -> bool:
        return True

    async def _do_px(self, px_peers: Any) -> None:
        """Dial nobody on a stranger's word."""


class _Bounded(dict[str, Any]):
    def __missing__(self, topic: str) -> Any:
        times = self[topic] = collections.deque(maxlen=16)
        return times


class HardPubsub(Pubsub):
    """The streams and messages of gossip."""

    def __init__(
        self, host: Any, router: HardGossipSub, judge: Judge, garbage: Callable[[str, str], None]
    ) -> None:
        super().__init__(host, router, msg_id_constructor=message_id, strict_signing=True)
        # The library's memory of names is a thread per instance, and forgets too late for a
        # message that is sent once more because somebody may have missed it.
        self.seen_messages.stop()
        self.seen_messages: Any = Seen(SEEN_SECONDS, time.monotonic)
        # A process that restarts must not repeat its sequence numbers.
        self.counter = time.time_ns()
        self._judge = judge
        self._garbage = garbage
        self._greeted: dict[ID, trio.Event] = {}
        self.max_subscriptions_per_peer = 16

    def admit(self, peer: ID) -> None:
        """Exchange gossip with a peer that was greeted."""
        self._greeted.setdefault(peer, trio.Event()).set()
        if self.manager.is_running and peer not in self.peers:
            self.manager.run_task(self._open, peer)

    def dismiss(self, peer: ID) -> None:
        """Forget a peer."""
        self._greeted.pop(peer, None)
        if peer in self.peers or any(peer in members for members in self.peer_topics.values()):
            self._handle_dead_peer(peer)

    def refresh(self) -> None:
        """Open the streams that broke though their peers are still there."""
        for peer, event in list(self._greeted.items()):
            if event.is_set() and peer not in self.peers:
                self.admit(peer)

    def get_hello_packet(self) -> Any:
        """List our subscriptions."""
        packet = rpc_pb2.RPC()
        for topic in self.topic_ids:
            packet.subscriptions.append(rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic))
        return packet

    async def _open(self, peer: ID) -> None:
        if peer in self.peers or peer in self._peer_stream_retries_pending:
            return
        self._peer_stream_retries_pending.add(peer)
        try:
            with trio.fail_after(WRITE_SECONDS):
                stream = await self.host.new_stream(peer, self.protocols)
                hello = self.get_hello_packet().SerializeToString()
                await stream.write(encode_varint_prefixed(hello))
        except (SwarmException, StreamError, StreamFailure, trio.TooSlowError, OSError) as error:
            _log.debug("no gossip stream", extra={"fields": {"error": repr(error)}})
            return
        finally:
            self._peer_stream_retries_pending.discard(peer)
        if peer not in self._greeted:
            await stream.reset()
            return
        self.router.add_peer(peer, stream.get_protocol())
        self.peers[peer] = stream
        queue = RpcQueue(QUEUE, MAX_RPC)
        self.peer_queues[peer] = queue
        self.manager.run_task(self.handle_sending_messages, peer, stream, queue)
        for topic, members in list(self.peer_topics.items()):
            if peer in members:
                await self._replay_recent_messages(peer, topic)
                await self.router.on_peer_subscribed(peer, topic)

    def _schedule_peer_stream_retry(self, peer_id: ID) -> None:
        """Leave it to `refresh`."""

    async def stream_handler(self, stream: Any) -> None:
        """Read a peer's frames until its stream ends; before its greeting nothing is read."""
        peer = stream.muxed_conn.peer_id
        greeted = self._greeted.setdefault(peer, trio.Event())
        with trio.move_on_after(WRITE_SECONDS):
            await greeted.wait()
        if not greeted.is_set():
            self._greeted.pop(peer, None)
            await stream.reset()
            return
        await self.continuously_read_stream(stream)

    async def continuously_read_stream(self, stream: Any) -> None:
        """Handle frame after frame; a frame that is none ends the stream and is reported."""
        peer = stream.muxed_conn.peer_id
        reader = WireStream(stream)
        try:
            while self.manager.is_running and peer in self._greeted:
                rpc = rpc_pb2.RPC()
                rpc.ParseFromString(await _read_varint_frame(reader))
                await self._handle(peer, rpc)
        except StreamBroken:
            return
        except Exception as error:
            self._garbage(str(peer), f"gossip: {type(error).__name__}: {error}")
        await stream.reset()

    async def _handle(self, peer: ID, rpc: Any) -> None:
        if len(rpc.subscriptions) > self.max_subscriptions_per_peer:
            raise ValueError(f"{len(rpc.subscriptions)} subscriptions in a frame")
        for subscription in rpc.subscriptions:
            if subscription.topicid in self.topic_ids:
                self.handle_subscription(peer, subscription)
        for message in rpc.publish:
            if len(message.topicIDs) != 1:
                raise ValueError("a message has one topic")
            if message.topicIDs[0] in self.topic_ids:
                await self.push_msg(peer, message)
        if rpc.HasField("control"):
            rpc.ClearField("senderRecord")
            await self.router.handle_rpc(rpc, peer)

    async def push_msg(self, msg_forwarder: ID, msg: Any) -> None:
        """Deliver a message once and pass it on; whose signature fails, its bearer is reported."""
        if msg_forwarder != self.my_id:
            author = ID(msg.from_id)
            if author == self.my_id or self._is_msg_seen(msg):
                return
            if not signature_validator(msg):
                raise ValueError("a message whose signature does not verify")
            if not self._judge(str(msg_forwarder), str(author), msg.topicIDs[0], msg.data):
                return
        self._mark_msg_seen(msg)
        await self.router.publish(msg_forwarder, msg)


async def _read_varint_frame(stream: WireStream) -> bytes:
    size = shift = 0
    while True:
        (byte,) = await read_exactly(stream, 1)
        size |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
        shift += 7
        if shift > 28:
            raise ValueError("the length of a frame does not end")
    if size > MAX_RPC:
        raise ValueError(f"a frame of {size} bytes where {MAX_RPC} are allowed")
    return await read_exactly(stream, size)
