"""News of the chain reach every listener, whatever becomes of the others."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio
import trio.testing

from node.rpc import slices
from node.rpc.dispatch import LengthyMethod, SubscribeMethod
from node.rpc.errors import SERVER_BUSY, RpcError
from node.rpc.heads import Heads
from node.rpc.methods.finality import finality_methods
from node.rpc.methods.state_subscriptions import state_subscriptions
from node.rpc.outbox import Backlog, Outbox
from node.rpc.subscriptions import Session, Subscription
from node.rpc.topic import Topic
from tests.node.rpc.tiny_world import tiny_world


def session(nursery: trio.Nursery) -> Session:
    stream, _ = trio.testing.memory_stream_pair()
    outbox = Outbox(
        stream,
        high_water=1 << 20,
        most=1 << 22,
        backlog=Backlog(1 << 22, 1 << 22),
        give_up=lambda: None,
    )
    return Session(nursery, 100, outbox)


async def test_a_listener_that_fails_stops_neither_the_news_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = Topic("")
    heard: list[str] = []

    def fail(news: str) -> None:
        raise KeyError(f"a fault on {news}")

    topic.listen(fail)
    topic.listen(heard.append)
    with caplog.at_level(logging.ERROR):
        await topic.tell("one")
        await topic.tell("two")
    assert heard == ["one", "two"]
    assert caplog.text.count("KeyError: ") == 2


async def test_keys_are_counted_before_they_are_read(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(state_subscriptions.__globals__, "_MOST_WATCHED_BY_ALL", 4)
    monkeypatch.setattr(slices, "SLICE_SECONDS", -1.0)  # so that every key is waited behind
    async with tiny_world(tmp_path) as world:
        heads = Heads(world.chain)
        method, _ = state_subscriptions(world.backend, heads)
        assert isinstance(method, SubscribeMethod)
        refused: list[int] = []

        async def subscribe() -> None:
            subscription = session(nursery).open(method.notification)
            try:
                await method.call(subscription, [b"a", b"b"])
            except RpcError as refusal:
                refused.append(refusal.code)
            else:
                open_ones.append(subscription)

        open_ones: list[Subscription] = []
        for _ in range(2):
            async with trio.open_nursery() as many:
                for _ in range(5):
                    many.start_soon(subscribe)
            assert (len(heads.best), refused) == (2, [SERVER_BUSY] * 3)
            for subscription in open_ones:
                subscription.discard()
            assert len(heads.best) == 0
            refused.clear()
            open_ones.clear()


async def test_a_long_search_for_a_proof_lets_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", -1.0)
    async with tiny_world(tmp_path) as world:
        for _ in range(30):
            await world.grow_final()
        methods = {m.name: m for m in finality_methods(world.backend, Heads(world.chain))}
        prove = methods["openledger_proveFinality"]
        assert isinstance(prove, LengthyMethod)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as others:
            others.start_soon(count)
            assert await prove.call(1) is None
            others.cancel_scope.cancel()
        assert turns >= 20
