"""Two replicas on two Ray nodes of this machine, killed and removed while they serve."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import ray
import torch
import trio
from ray.cluster_utils import Cluster
from ray_world import (
    LIMITS,
    allow,
    filled_store,
    held,
    kill_replica,
    mixed_requests,
    paced,
    saved_backbone,
    small_node,
    two_nodes,
)

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.figures import Origin
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.cluster import starting
from inference.cluster.engines import RayEngines
from inference.cluster.errors import ClusterReason, ClusterRefused
from inference.cluster.model_files import ModelFiles
from inference.cluster.opening import open_ray_engines
from inference.cluster.starting import check_facts
from inference.cluster.stream import RayStream
from inference.cpu_executor import CpuExecutor
from inference.cuda.identity import identify
from inference.engine import open_engine
from inference.request import Answer, Finish, Request, RequestReason, RequestRefused, Token
from inference.worker.identity import engine_statement
from tests.patience import PATIENCE

pytestmark = pytest.mark.e2e
T = TypeVar("T")
LONG = 180


@dataclass
class Served:
    """Engines that run in a thread, so that all tests share two replicas."""

    cluster: Cluster
    backbone: Backbone
    store: AdapterStore
    adapters: list[bytes]
    engines: RayEngines
    token: trio.lowlevel.TrioToken
    folder: Path
    places: dict[int, int] = field(default_factory=dict)
    """Which process each attempt was handed to."""

    def __post_init__(self) -> None:
        router = self.engines.router
        route = router.route

        def noted(number: int, adapter: bytes | None) -> int | None:
            chosen = route(number, adapter)
            if chosen is not None:
                self.places[number] = self.engines.links[chosen].facts.pid
            return chosen

        router.route = noted  # type: ignore[method-assign]

    def run(self, scenario: Callable[[], Awaitable[T]]) -> T:
        async def whole() -> T:
            with trio.fail_after(300):
                while len(self.engines.links) < 2:
                    await trio.sleep(0.02)
                return await scenario()

        return trio.from_thread.run(whole, trio_token=self.token)

    def here(self, requests: list[Request]) -> list[tuple[list[Token], Answer]]:
        async def scenario() -> list[tuple[list[Token], Answer]]:
            executor = CpuExecutor(self.backbone, LIMITS.pages)
            tokenizer = self.backbone.tokenizer
            async with open_engine(executor, tokenizer, self.store, LIMITS) as engine:
                return await all_of(engine, requests)

        return trio.run(scenario)

    def pid(self, stream: RayStream) -> int:
        """Return the process that computes an answer now, or did last."""
        assert stream._asked is not None
        return self.places[stream._asked.number]

    def attempts(self, stream: RayStream) -> int:
        """Count how often an answer was begun."""
        assert stream._asked is not None
        return stream._asked.attempts

    async def heard(self) -> None:
        """Wait until every replica has heard what it was told, which it is told in order."""

        async def ask() -> None:
            with pytest.raises(RequestRefused):
                async with self.engines.stream(Request(prompt_ids=(1,), max_tokens=10_000)) as bad:
                    await bad.__anext__()

        before = len(self.places)
        async with trio.open_nursery() as nursery:
            for _ in range(4 * LIMITS.running):  # shared out equally, so that each gets some
                nursery.start_soon(ask)
        asked = list(self.places.values())[before:]
        assert set(asked) == {facts.pid for facts in self.engines.replicas}

    async def idle(self) -> None:
        """Wait until nothing is under way; the figures then tell of all that was done."""
        while self.engines.load != (0, 0):
            await trio.sleep(0.02)


async def all_of(engine: Any, requests: list[Request]) -> list[tuple[list[Token], Answer]]:
    found: dict[int, tuple[list[Token], Answer]] = {}

    async def one(index: int, request: Request) -> None:
        async with engine.stream(request) as stream:
            tokens = [token async for token in stream]
        found[index] = tokens, stream.answer

    async with trio.open_nursery() as nursery:
        for index, request in enumerate(requests):
            nursery.start_soon(one, index, request)
    return [found[index] for index in range(len(requests))]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("cluster")
    backbone = saved_backbone(folder / "base")
    store, adapters = filled_store(folder / "adapters", backbone)
    opened, closing = threading.Event(), trio.Event()
    worlds: list[Served] = []

    async def serve() -> None:
        token = trio.lowlevel.current_trio_token()
        kept = paced(folder)
        async with open_ray_engines(backbone, store, folder / "base", kept) as engines:
            worlds.append(Served(cluster, backbone, store, adapters, engines, token, folder))
            opened.set()
            await closing.wait()

    with two_nodes() as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "CLOSE_SECONDS", PATIENCE)
        thread = threading.Thread(target=lambda: (trio.run(serve), opened.set()))
        thread.start()
        try:
            assert opened.wait(400)
            yield worlds[0]
        finally:
            if worlds:
                trio.from_thread.run_sync(closing.set, trio_token=worlds[0].token)
            thread.join(2 * PATIENCE)
    assert not list(folder.glob("openledger-replica-*"))


def long_request(served: Served, seed: int) -> Request:
    return replace(
        mixed_requests(served.adapters, 2, seed)[1], max_tokens=LONG, stop_ids=(), logprobs=2
    )


def test_two_replicas_on_two_nodes_answer_a_mixture_as_one_engine_here_does(served: Served) -> None:
    requests = mixed_requests(served.adapters, 32, seed=1)
    found = served.run(lambda: all_of(served.engines, requests))
    assert found == served.here(requests)
    replicas = served.engines.replicas
    assert len({facts.node for facts in replicas}) == len({facts.pid for facts in replicas}) == 2
    figures = served.engines.figures
    assert figures.recorder.served.keys() == {"tenant 0", "tenant 1"}


def test_an_adapter_is_asked_for_where_it_is_and_loaded_nowhere_else(served: Served) -> None:
    requests = mixed_requests(served.adapters, 8, seed=2)
    engines = served.engines

    def loads() -> int:
        pool = engines.figures.pool
        assert pool is not None
        return pool.loads[Origin.NETWORK].count

    async def scenario() -> tuple[int, set[tuple[bytes, int]]]:
        for adapter in served.adapters:
            async with engines.stream(Request((1,), max_tokens=1, adapter=adapter)) as stream:
                await stream.__anext__()
            await served.idle()
        before = loads()
        places = set()
        for request in requests:
            async with engines.stream(request) as stream:
                await stream.__anext__()
                if request.adapter is not None:
                    places.add((request.adapter, served.pid(stream)))
                async for _ in stream:
                    pass
        return before, places

    before, places = served.run(scenario)
    assert len(places) == len(served.adapters)
    assert loads() == before


def test_a_replica_killed_in_mid_stream_changes_no_token(served: Served) -> None:
    request = long_request(served, seed=3)
    others = mixed_requests(served.adapters, 6, seed=4)

    async def scenario() -> tuple[list[Token], Answer | None, list[tuple[list[Token], Answer]]]:
        found: list[tuple[list[Token], Answer]] = []

        async def beside() -> None:
            found.extend(await all_of(served.engines, others))

        tokens: list[Token] = []
        async with trio.open_nursery() as nursery:
            with held(served.folder, 60) as hold:
                async with served.engines.stream(request) as stream:
                    async for token in stream:
                        tokens.append(token)
                        if len(tokens) == 1:
                            nursery.start_soon(beside)
                        if len(tokens) == 10:
                            kill_replica(served.pid(stream))
                            hold.unlink()
        return tokens, stream.answer, found

    tokens, answer, found = served.run(scenario)
    (expected,) = served.here([request])
    assert (tokens, answer) == expected
    assert len(tokens) == LONG
    assert found == served.here(others)


def test_a_second_death_is_told_and_what_was_given_out_stands(served: Served) -> None:
    request = long_request(served, seed=5)

    async def scenario() -> tuple[list[Token], ClusterRefused]:
        tokens: list[Token] = []
        with held(served.folder, 60), pytest.raises(ClusterRefused) as refused:
            async with served.engines.stream(request) as stream:
                async for token in stream:
                    tokens.append(token)
                    if len(tokens) in (10, 40):
                        while served.attempts(stream) < 1 + len(tokens) // 40:
                            await trio.sleep(0.02)
                        kill_replica(served.pid(stream))
        return tokens, refused.value

    tokens, refusal = served.run(scenario)
    assert refusal.reason is ClusterReason.REPLICA_LOST
    (expected,) = served.here([request])
    assert len(tokens) >= 40
    assert tokens == expected[0][: len(tokens)]


def test_leaving_a_stream_stops_the_computing_at_the_replica(served: Served) -> None:
    request = long_request(served, seed=6)
    engines = served.engines

    def cancelled() -> int:
        return engines.figures.recorder.finished[Finish.CANCELLED]

    async def scenario() -> int:
        before = cancelled()
        with held(served.folder, 20):
            async with engines.stream(request) as stream:
                await stream.__anext__()
            await served.heard()
        while cancelled() == before:
            await trio.sleep(0.02)
        await served.idle()
        async with engines.stream(request) as stream:
            with held(served.folder, 20):
                await stream.__anext__()
                stream.cancel()
                await served.heard()
            rest = [token async for token in stream]
        assert stream.answer is not None
        assert stream.answer.finish is Finish.CANCELLED
        assert len(stream.answer.output_ids) == len(rest) + 1 < LONG
        return cancelled() - before

    assert served.run(scenario) >= 1


def test_a_request_that_comes_twice_under_one_name_is_computed_once(served: Served) -> None:
    request = replace(long_request(served, seed=7), max_tokens=40)
    engines = served.engines

    async def scenario() -> list[list[Token]]:
        found: list[list[Token]] = []

        async def read() -> None:
            async with engines.stream(request, "7-1") as stream:
                found.append([token async for token in stream])

        await served.idle()
        before = engines.figures.recorder.output_tokens
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)
        await read()
        await served.idle()
        assert engines.figures.recorder.output_tokens == before + 40
        with pytest.raises(ClusterRefused) as refused:
            async with engines.stream(replace(request, max_tokens=1), "7-1") as stream:
                await stream.__anext__()
        assert refused.value.reason is ClusterReason.ID_REUSED
        return found

    found = served.run(scenario)
    ((expected, _),) = served.here([request])
    assert found == [expected] * 3


def test_refusals_come_from_afar_as_they_are(served: Served) -> None:
    async def scenario() -> None:
        bad = Request(prompt_ids=(1,), max_tokens=10_000)
        with pytest.raises(RequestRefused) as refused:
            async with served.engines.stream(bad) as stream:
                await stream.__anext__()
        assert refused.value.reason is RequestReason.CONTEXT_EXCEEDED
        unknown = Request(prompt_ids=(1,), max_tokens=10, adapter=bytes(32))
        with pytest.raises(AdapterRefused) as missing:
            async with served.engines.stream(unknown) as stream:
                await stream.__anext__()
        assert missing.value.reason is AdapterReason.NOT_STORED
        await served.idle()

    served.run(scenario)


def test_a_machine_without_the_folder_gets_the_very_model_and_no_other(served: Served) -> None:
    here = ModelFiles(served.engines._model.folder, served.backbone.content_hash)
    afar = replace(here.offered(), folder=Path("/nowhere"))

    def loaded(model: ModelFiles) -> bytes | None:
        found = model.load()
        return None if found is None else found.content_hash

    assert loaded(replace(afar, files=None)) is None
    assert loaded(afar) == served.backbone.content_hash
    with pytest.raises(ValueError, match="changed"):
        loaded(replace(afar, content_hash=bytes(32)))


def test_a_replica_of_another_build_is_refused(served: Served) -> None:
    facts = served.engines.replicas[0]
    here = engine_statement(served.backbone)
    assert facts.place == served.engines.elsewhere
    assert facts.place.statement == here
    check_facts(facts, here, here)
    other_base = engine_statement(replace(served.backbone, content_hash=bytes(32)))
    on_gpu = engine_statement(served.backbone, identify(torch.device("cpu"), torch.bfloat16, b""))
    unknown = replace(facts.place, statement=b"?")
    check_facts(replace(facts, place=replace(facts.place, statement=on_gpu)), here, None)
    for other, others, named in (
        (replace(facts, wire=facts.wire + 1), here, "wire"),
        (facts, on_gpu, "class, dtype"),
        (facts, other_base, "base"),
        (replace(facts, place=replace(facts.place, statement=other_base)), None, "base"),
        (replace(facts, place=unknown), None, "statement"),
        (replace(facts, place=unknown), here, "statement"),
    ):
        with pytest.raises(ClusterRefused, match=f"has another {named}: ") as refused:
            check_facts(other, here, others)
        assert refused.value.reason is ClusterReason.VERSIONS_DIFFER


def test_a_whole_node_may_leave_in_mid_stream_and_another_may_join(served: Served) -> None:
    request = long_request(served, seed=8)
    requests = [replace(request, adapter=None, tenant=str(n)) for n in range(4)]
    head = ray.get_runtime_context().get_node_id()

    async def scenario() -> list[tuple[list[Token], Answer]]:
        found: list[tuple[list[Token], Answer]] = []
        (node,) = served.cluster.worker_nodes
        (gone,) = {facts.node for facts in served.engines.replicas} - {head}
        async with AsyncExitStack() as stack:
            hold = stack.enter_context(held(served.folder, 0))
            streams = [
                await stack.enter_async_context(served.engines.stream(request))
                for request in requests
            ]
            tokens = []
            for stream in streams:
                allow(served.folder, 20)  # the first ones may have used up theirs
                tokens.append([await stream.__anext__()])
            await trio.to_thread.run_sync(served.cluster.remove_node, node, False)
            hold.unlink()
            for stream, begun in zip(streams, tokens, strict=True):
                begun += [token async for token in stream]
                assert stream.answer is not None
                found.append((begun, stream.answer))
        while gone in {facts.node for facts in served.engines.replicas}:
            await trio.sleep(0.05)
        return found

    found = served.run(scenario)
    assert found == served.here(requests)
    small_node(served.cluster)
    assert served.run(lambda: all_of(served.engines, requests)) == found
    assert len({facts.node for facts in served.engines.replicas}) == 2
