"""The long-lived stream to a peer: greeting, messages, signs of life.

Each side opens one and writes on it: its greeting, which the other answers, then frames of a
channel's byte and a message. Channel 0 is a sign of life, sent every two seconds of silence.
"""

from __future__ import annotations

from typing import Protocol

import trio

from node.log import Log
from node.network.framing import (
    FrameTooLarge,
    Stream,
    StreamBroken,
    frame,
    read_frame,
)
from node.network.hello import (
    MAX_HELLO,
    Hello,
    HelloReason,
    HelloRefused,
    decode_hello,
    decode_reply,
    encode_hello,
    encode_reply,
)
from node.network.interface import Channel
from node.network.limits import CHANNELS
from node.network.link import Link

_log = Log("network")

PROTOCOL = "/openledger/peer/1"
ALIVE = frame(b"\0")
ALIVE_SECONDS = 2.0
SILENCE_SECONDS = 6.0
"""A peer that sends nothing for so long is stopped, or cut off."""
WRITE_SECONDS = 10.0
GREETING_SECONDS = 5.0
RETRY_SECONDS = 0.2
GOODBYE_SECONDS = 0.5
LARGEST = 1 + max(limits.size for limits in CHANNELS.values())


class Wire(Protocol):
    """Opens streams to connected peers."""

    async def open(self, peer: str, protocol: str) -> Stream:
        """Open a stream; raises StreamBroken."""


class Owner(Protocol):
    """What the streams report to."""

    def hello_for(self, peer: str) -> Hello:
        """Make the greeting for a peer."""

    def accept_hello(self, link: Link, hello: Hello) -> None:
        """Take a peer's greeting or raise HelloRefused."""

    def greeted(self, link: Link) -> None:
        """Note that a side of the greeting is done."""

    def refused(self, link: Link, refused: HelloRefused, *, by_us: bool) -> None:
        """Note that a greeting was refused."""

    def message(self, link: Link, channel: Channel, data: bytes) -> None:
        """Take a message."""

    def garbage(self, peer: str, detail: str) -> None:
        """Note that a peer sent what nobody can read."""

    async def hang_up(self, link: Link, why: str) -> None:
        """Close the connection."""


async def speak(owner: Owner, wire: Wire, link: Link) -> None:
    """Greet a peer and tell it what is queued, until it is gone; cancelled with its link."""
    failures = 0
    while failures < 5:
        try:
            stream = await wire.open(link.peer, PROTOCOL)
        except StreamBroken:
            failures += 1
            await trio.sleep(RETRY_SECONDS)
            continue
        try:
            with trio.fail_after(GREETING_SECONDS):
                await stream.write(frame(encode_hello(owner.hello_for(link.peer))))
                refused = decode_reply(await read_frame(stream, MAX_HELLO))
            if refused is not None:
                owner.refused(link, refused, by_us=False)
                await owner.hang_up(link, "we were refused")
                return
            link.welcomed = True
            owner.greeted(link)
            failures = 0
            await _write(stream, link)
        except (StreamBroken, FrameTooLarge, ValueError, trio.TooSlowError) as error:
            _log.debug("stream to peer broke", peer=link.peer, error=repr(error))
            failures += 1
            await trio.sleep(RETRY_SECONDS)
        finally:
            await stream.reset()
    await owner.hang_up(link, "it reads nothing")


async def _write(stream: Stream, link: Link) -> None:
    while True:
        await link.outbox.wait(ALIVE_SECONDS)
        frames = link.outbox.take() or ALIVE
        with trio.fail_after(WRITE_SECONDS):
            await stream.write(frames)


async def listen(owner: Owner, link: Link, stream: Stream) -> None:
    """Take a peer's greeting and what it tells, until its stream ends."""
    try:
        with trio.fail_after(GREETING_SECONDS):
            greeting = await read_frame(stream, MAX_HELLO)
        try:
            owner.accept_hello(link, decode_hello(greeting))
        except HelloRefused as refused:
            await _refuse(owner, link, stream, refused)
            return
        with trio.fail_after(GREETING_SECONDS):
            await stream.write(frame(encode_reply(None)))
        owner.greeted(link)
        patient = _Patient(stream)
        while True:
            content = await read_frame(patient, LARGEST)
            if content != b"\0":
                _deliver(owner, link, content)
    except FrameTooLarge as error:
        owner.garbage(link.peer, str(error))
    except trio.TooSlowError:
        await owner.hang_up(link, "it is silent")
    except StreamBroken:
        pass
    finally:
        await stream.reset()


async def _refuse(owner: Owner, link: Link, stream: Stream, refused: HelloRefused) -> None:
    """Say why, give the words time to arrive, hang up."""
    owner.refused(link, refused, by_us=True)
    with trio.move_on_after(GOODBYE_SECONDS):
        await stream.write(frame(encode_reply(refused)))
        await stream.close()
        await trio.sleep(GOODBYE_SECONDS)
    await owner.hang_up(link, refused.reason.name)
    if refused.reason in (HelloReason.MALFORMED, HelloReason.WRONG_SIGNATURE):
        owner.garbage(link.peer, str(refused))


def _deliver(owner: Owner, link: Link, content: bytes) -> None:
    try:
        channel = Channel(content[0])
    except (ValueError, IndexError):
        owner.garbage(link.peer, "a frame of an unknown channel")
        return
    owner.message(link, channel, content[1:])


class _Patient:
    """Reads as long as anything arrives within the time of silence."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self, size: int) -> bytes:
        """Read 1 to `size` bytes; raises TooSlowError, StreamBroken."""
        with trio.fail_after(SILENCE_SECONDS):
            return await self._stream.read(size)

    async def write(self, data: bytes) -> None:
        """Write all of it."""
        await self._stream.write(data)

    async def close(self) -> None:
        """End our side."""
        await self._stream.close()

    async def reset(self) -> None:
        """Drop both sides."""
        await self._stream.reset()
