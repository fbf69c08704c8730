"""What is heard of what arrives."""

from __future__ import annotations

from typing import Protocol

import trio

from node.network.inbox import Inbox
from node.network.interface import Channel, Check, Counters, MessageReceived, Offence
from node.network.limits import CHANNELS
from node.network.link import Link
from node.network.seen import Seen, content_name

SEEN_SECONDS = 1.5


class Judge(Protocol):
    """Takes note of how peers behave."""

    def penalise(self, peer: str, offence: Offence, detail: str) -> None:
        """Count an offence."""


class Hearing:
    """Lets messages through that are of the right size and rate, well formed, and new."""

    def __init__(self, judge: Judge, inbox: Inbox, counters: Counters) -> None:
        self._judge = judge
        self._inbox = inbox
        self._counters = counters
        self._checks: dict[Channel, Check] = {}
        self._seen: Seen | None = None

    def set_check(self, channel: Channel, check: Check) -> None:
        """Drop what is not well formed."""
        self._checks[channel] = check

    def told(self, link: Link, channel: Channel, data: bytes) -> None:
        """Hear what a neighbour wrote; a status is news each time."""
        if self._passes(link, channel, data) and (
            channel is Channel.STATUSES or self._is_new(channel, data)
        ):
            self._inbox.put(MessageReceived(link.peer, channel, data))

    def relayed(self, link: Link, author: str, channel: Channel, data: bytes) -> bool:
        """Hear what a neighbour passes on, and tell whether to pass it on further."""
        if not self._passes(link, channel, data):
            return False
        if self._is_new(channel, data):
            relay = None if author == link.peer else link.peer
            self._inbox.put(MessageReceived(author, channel, data, relay))
        return True

    def _passes(self, link: Link, channel: Channel, data: bytes) -> bool:
        traffic = self._counters.channels[channel]
        traffic.messages_in += 1
        traffic.bytes_in += len(data)
        fault = self._fault(link, channel, data)
        if fault is not None:
            traffic.dropped_in += 1
            self._judge.penalise(link.peer, fault, f"{len(data)} bytes on {channel.name}")
            return False
        if trio.current_time() < link.muted_until:
            traffic.dropped_in += 1
            return False
        return True

    def _fault(self, link: Link, channel: Channel, data: bytes) -> Offence | None:
        if len(data) > CHANNELS[channel].size:
            return Offence.OVERSIZED
        if not link.budget.take(channel, len(data), trio.current_time()):
            return Offence.FLOOD
        check = self._checks.get(channel)
        return Offence.MALFORMED if check is not None and not check(data) else None

    def _is_new(self, channel: Channel, data: bytes) -> bool:
        if self._seen is None:
            self._seen = Seen(SEEN_SECONDS, trio.current_time)
        new = self._seen.add(content_name(channel, data))
        self._counters.duplicates += not new
        return new
