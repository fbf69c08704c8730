"""What a view costs one of a hundred validators, in the core and in the engine around it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from benches.consensus_script import Script, View
from consensus.core.actions import Action
from consensus.core.events import Event
from consensus.core.evidence import Evidence
from consensus.core.messages import Vote, decode_message, encode_message
from consensus.core.ports import ParticipantConfig
from consensus.core.votes import Certificate, Subject, vote_bytes
from consensus.engine.engine import Engine
from consensus.engine.position import RealCrypto
from consensus.interface import PeerEvent
from runtime.primitives.keys import verify_ed25519
from tests.consensus.engine.engine_world import TinyChain, keys, settings_of

VALIDATORS = 100
VIEWS = 8
TARGET_MS = 25.0


class Meter:
    """Sums the processor seconds of calls, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    @contextmanager
    def take(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + taken
            self.calls[name] = self.calls.get(name, 0) + 1


class MeteredCrypto(RealCrypto):
    """The node's own checks, measured."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Check a signature."""
        with self._meter.take("signatures"):
            return super().verify(public, message, signature)

    def vrf(self, public: bytes, alpha: bytes, proof: bytes) -> bytes | None:
        """Check a proof of randomness."""
        with self._meter.take("randomness"):
            return super().vrf(public, alpha, proof)


def _play(script: Script, views: int) -> list[View]:
    gc.collect()
    return [script.play() for _ in range(views)]


def _meter_pool(script: Script, meter: Meter) -> None:
    """Measure the pool's counting and the making of certificates."""
    replica = script.participant.current
    if replica is None:
        raise AssertionError("the participant did not start")
    pool = replica.pool
    add, make = pool.add, pool.certificate

    def metered_add(vote: Vote) -> Iterator[Evidence]:
        with meter.take("pool"):
            found = list(add(vote))
        return iter(found)

    def metered_make(subject: Subject) -> Certificate | None:
        with meter.take("certificates"):
            return make(subject)

    pool.add = metered_add  # type: ignore[method-assign]
    pool.certificate = metered_make  # type: ignore[method-assign]


def vote_rows() -> Iterator[str]:
    """Tell of the processor time of a view's votes; the floor checks the same signatures."""
    script = Script(VALIDATORS, RealCrypto())
    views = _play(script, VIEWS)[1:]
    votes = statistics.median(view.votes for view in views)
    proposals = [view.proposal for view in views if view.proposal is not None]
    shown = views[-1].shown
    floor = min(_floor(script, view.shown) for view in views)
    yield f"votes of a view, n = {VALIDATORS}: {len(shown)} votes    {votes * 1e3:8.2f} ms"
    yield f"target                                     {TARGET_MS:8.2f} ms"
    yield f"floor: {len(shown)} checks of ed25519 alone          {floor * 1e3:8.2f} ms"
    proposal = statistics.median(proposals)
    yield f"the proposal, with randomness and parent    {proposal * 1e3:8.2f} ms"
    decoding = min(_decoding(shown) for _ in range(5))
    yield f"decoding {len(shown)} votes, in the engine            {decoding * 1e3:8.2f} ms"
    yield "of these, measured singly (each adds its stop-watch):"
    meter = Meter()
    script = Script(VALIDATORS, MeteredCrypto(meter))
    _meter_pool(script, meter)
    _play(script, VIEWS)
    for name, seconds in sorted(meter.seconds.items()):
        calls = meter.calls[name] / VIEWS
        yield f"  {name:<14}{seconds / VIEWS * 1e3:8.2f} ms a view, {calls:6.1f} calls"


def _floor(script: Script, votes: Sequence[Vote]) -> float:
    checks = [
        (script.keys[vote.signer].public, vote_bytes(script.domain, vote.subject()), vote.signature)
        for vote in votes
    ]
    started = time.process_time()
    for check in checks:
        verify_ed25519(*check)
    return time.process_time() - started


def _decoding(votes: Sequence[Vote]) -> float:
    wire = [encode_message(vote) for vote in votes]
    started = time.process_time()
    for data in wire:
        decode_message(data)
    return time.process_time() - started


# --- the engine ---------------------------------------------------------------------------


class Deaf:
    """A core that does nothing, so that all time is the engine's."""

    def __init__(self, config: ParticipantConfig) -> None:
        self.heard = 0

    def handle(self, event: Event, now: int) -> list[Action]:
        """Count."""
        self.heard += 1
        return []

    def certificates(self, epoch: int, first: int, last: int) -> tuple[Certificate, ...]:
        """Hold nothing."""
        return ()

    def votes_of(self, epoch: int, signer: int) -> tuple[Vote, ...]:
        """Hold nothing."""
        return ()


class Pouring:
    """Peers that send votes as fast as the engine takes them, then stop it."""

    def __init__(self, messages: Sequence[bytes], done: trio.CancelScope) -> None:
        self._left = [PeerEvent("peer", message) for message in reversed(messages)]
        self._done = done

    async def next(self) -> PeerEvent:
        """Give the next message."""
        if not self._left:
            self._done.cancel()
            await trio.sleep_forever()
        return self._left.pop()

    def broadcast(self, message: bytes) -> None:
        """Drop it."""

    def send(self, peer: str, message: bytes) -> None:
        """Drop it."""

    async def ask(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        """Know nothing."""
        return None

    def penalise(self, peer: str, reason: str, detail: str) -> None:
        """Do not mind."""


def engine_rows() -> Iterator[str]:
    """Tell what an event costs the engine beside the core."""
    votes = Script(VALIDATORS, RealCrypto()).play().shown
    messages = [encode_message(vote) for vote in votes] * 50
    took = min(trio.run(_pour, messages) for _ in range(3)) / len(messages)
    decoding = min(_decoding(votes) for _ in range(5)) / len(votes)
    yield f"a message through the engine, without core  {took * 1e6:8.1f} µs"
    yield f"of these its decoding, which is the floor   {decoding * 1e6:8.1f} µs"


async def _pour(messages: Sequence[bytes]) -> float:
    settings = settings_of(keys(4))
    engine = Engine(settings, make_core=Deaf)
    with trio.CancelScope() as done:
        started = time.process_time()
        await engine.run(TinyChain(settings), Pouring(messages, done))
    return time.process_time() - started


def rows() -> Iterator[str]:
    """Tell of all."""
    yield from vote_rows()
    yield from engine_rows()
