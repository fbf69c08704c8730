"""Callers with local keys beside customers with vouchers; models that load side by side."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from memory_chain import MemoryChain
from paid_world import WORKER, Trained, launch, vouch
from served import Served

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.store import AdapterStore
from inference.api.errors import ApiRefused
from inference.api.keys import KeyFile
from inference.backbone.model import Backbone
from inference.worker.archive import pack, unpack
from inference.worker.chain_view import ChainError, ChainReason
from inference.worker.library import Library
from inference.worker.worker import WorkerConfig, open_worker
from runtime.protocols import voucher as vouchers

KEY, ADMIN = {"authorization": "Bearer sk-of-alice-1"}, {"authorization": "Bearer sk-of-ops-22"}
PROMPT = "What is the capital of France?\n"
BODY = {"model": "capitals", "prompt": PROMPT, "max_tokens": 6, "temperature": 0}


@pytest.fixture
async def keyed(chain: MemoryChain, backbone: Backbone, tmp_path: Path) -> AsyncIterator[Served]:
    keys = tmp_path / "keys"
    keys.write_text("alice:sk-of-alice-1\nops:sk-of-ops-22 admin\n")
    config = WorkerConfig(
        tmp_path / "worker", "127.0.0.1:0", capacity=4, keys=KeyFile(keys), base_name="tiny"
    )
    async with (
        open_worker(chain, backbone, WORKER, config) as worker,
        httpx.AsyncClient(base_url=worker.address, timeout=300) as client,
    ):
        yield Served(worker, client)


async def ask(served: Served, headers: dict[str, str], **changes: Any) -> httpx.Response:
    return await served.client.post("/v1/completions", json=BODY | changes, headers=headers)


async def test_a_key_and_a_voucher_get_the_same_answer_and_one_of_them_a_receipt(
    keyed: Served, chain: MemoryChain
) -> None:
    free = await ask(keyed, KEY)
    raw = json.dumps(BODY).encode()
    header = {vouchers.VOUCHER_HEADER: vouch(chain, raw, 1)}
    # Clients of the proxy send a key too; the voucher counts.
    paid = await keyed.client.post("/v1/completions", content=raw, headers=header | KEY)
    assert (free.status_code, paid.status_code) == (200, 200)
    assert free.json()["choices"] == paid.json()["choices"]
    assert "openledger" not in free.json()
    assert paid.json()["openledger"]["nonce"] == 1
    assert keyed.worker.book.answered(0, 1, 9)[0].signed.receipt.nonce == 1
    figures = (await keyed.client.get("/metrics")).text
    assert 'openledger_api_requests_total{outcome="answered",tenant="alice"} 1.0' in figures
    assert 'openledger_worker_requests_total{outcome="answered"} 1.0' in figures
    assert "openledger_engine_output_tokens_total" in figures


async def test_without_a_voucher_a_key_is_asked_for(keyed: Served) -> None:
    for headers in ({}, {"authorization": "Bearer nobody"}):
        reply = await ask(keyed, headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "bad_key")


async def test_everybody_sees_the_chains_models_and_keys_the_base_model_too(
    keyed: Served,
) -> None:
    public = (await keyed.client.get("/v1/models")).json()["data"]
    assert [model["id"] for model in public] == ["capitals"]
    known = (await keyed.client.get("/v1/models", headers=KEY)).json()["data"]
    assert [model["id"] for model in known] == ["capitals", "tiny"]
    texts = {(await ask(keyed, KEY, model=m)).json()["choices"][0]["text"] for m in ("tiny",)}
    by_name = (await ask(keyed, KEY, model="model:0")).json()["choices"][0]["text"]
    assert by_name not in texts


async def test_a_launched_adapter_is_served_by_its_hash(keyed: Served, chain: MemoryChain) -> None:
    adapter = chain.runtime.models.models[0].artifact.roots.model
    name = f"0x{adapter.hex()}"
    load = {"lora_name": "mine", "lora_hash": name}
    reply = await keyed.client.post("/v1/load_lora_adapter", json=load, headers=KEY)
    assert reply.status_code == 403
    reply = await keyed.client.post("/v1/load_lora_adapter", json=load, headers=ADMIN)
    assert reply.json() == {"id": "mine", "root": name}
    told = [(await ask(keyed, KEY, model=m)).json()["choices"] for m in ("mine", name, "capitals")]
    assert told[0] == told[1] == told[2]
    unknown = await ask(keyed, KEY, model="0x" + "33" * 32)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_stored")


async def test_an_adapter_that_left_the_disk_is_taken_from_its_artifact(
    keyed: Served, chain: MemoryChain
) -> None:
    adapter = chain.runtime.models.models[0].artifact.roots.model
    store = keyed.worker.room.store
    with pytest.raises(AdapterRefused, match="no model that was loaded"):
        store.read(adapter)
    before = await ask(keyed, KEY)
    image = store.read(adapter)
    store.remove(adapter)
    assert store.read(adapter) == image
    store.remove(adapter)
    assert (await ask(keyed, KEY)).json()["choices"] == before.json()["choices"]


async def test_a_name_that_was_given_is_there_at_the_next_start(
    chain: MemoryChain, backbone: Backbone, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("ops:sk-of-ops-22 admin\n")
    config = WorkerConfig(tmp_path / "worker", "127.0.0.1:0", keys=KeyFile(keys))
    adapter = chain.runtime.models.models[0].artifact.roots.model
    listed = []
    for load in ({"lora_name": "mine", "lora_hash": f"0x{adapter.hex()}"}, None):
        async with (
            open_worker(chain, backbone, WORKER, config) as worker,
            httpx.AsyncClient(base_url=worker.address, timeout=300, headers=ADMIN) as client,
        ):
            if load is not None:
                assert (await client.post("/v1/load_lora_adapter", json=load)).status_code == 200
            listed.append([m["id"] for m in (await client.get("/v1/models")).json()["data"]])
    assert listed[0] == listed[1] == ["capitals", "base", "mine"]


async def test_a_paid_request_is_for_one_answer(keyed: Served, chain: MemoryChain) -> None:
    for changes, param in (({"n": 2}, "n"), ({"prompt": ["a", "b"]}, "prompt")):
        raw = json.dumps(BODY | changes).encode()
        header = {vouchers.VOUCHER_HEADER: vouch(chain, raw, 1)}
        reply = await keyed.client.post("/v1/completions", content=raw, headers=header)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (
            400, "unsupported_parameter", param,
        )  # fmt: skip


async def test_a_paid_answer_tells_log_probabilities(keyed: Served, chain: MemoryChain) -> None:
    raw = json.dumps(BODY | {"logprobs": 2}).encode()
    header = {vouchers.VOUCHER_HEADER: vouch(chain, raw, 1)}
    reply = (await keyed.client.post("/v1/completions", content=raw, headers=header)).json()
    told = reply["choices"][0]["logprobs"]
    assert len(told["tokens"]) > 0
    assert len(reply["openledger"]["output_ids"]) - len(told["tokens"]) in (0, 1)


class SlowFirst:
    """A chain whose first blob is late, or never comes."""

    def __init__(self, chain: MemoryChain, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.released = trio.Event()
        self.failures: list[ChainError] = []
        given = chain.blob

        async def blob(content_hash: bytes) -> bytes:
            self.asked += 1
            if self.failures:
                raise self.failures.pop()
            if self.asked == 1:
                await self.released.wait()
            return await given(content_hash)

        monkeypatch.setattr(chain, "blob", blob)


@pytest.fixture
def library(chain: MemoryChain, backbone: Backbone, tmp_path: Path) -> Library:
    return Library(
        chain, backbone, AdapterStore(tmp_path / "adapters", backbone), tmp_path / "models"
    )


async def test_models_load_side_by_side_and_each_once(
    chain: MemoryChain,
    trained: Trained,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields, files = unpack(trained.blob)
    del fields["format"], fields["files"]
    launch(chain, pack(fields | {"name": "other"}, files))
    slow = SlowFirst(chain, monkeypatch)
    got: list[int] = []

    async def load(number: int) -> None:
        got.append((await library.model(number)).id)

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(load, 0)
            while not slow.asked:
                await trio.sleep(0.001)
            await load(1)
            assert got == [1]
            slow.released.set()
    assert sorted(got) == [0, 0, 0, 1]
    assert slow.asked == 2


async def test_artifacts_beyond_the_limit_leave_the_disk_and_are_fetched_again(
    chain: MemoryChain,
    trained: Trained,
    backbone: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields, files = unpack(trained.blob)
    del fields["format"], fields["files"]
    for number in (1, 2, 3):
        launch(chain, pack(fields | {"name": f"other {number}"}, files))
    slow = SlowFirst(chain, monkeypatch)
    slow.released.set()
    folder = tmp_path / "models"
    folder.mkdir()
    abandoned = folder / f"{'00' * 32}.artifact.1-1.part"
    abandoned.touch()
    os.utime(abandoned, (1, 1))
    store = AdapterStore(tmp_path / "adapters", backbone)
    manifests: dict[int, str] = {}
    for limit, fetched, left in ((1, 5, (2, 3, 0)), (None, 6, range(4))):
        library = Library(chain, backbone, store, folder, most=2, disk_bytes=limit)
        for second, number in enumerate((0, 1, 2, 3, 0)):
            served = await library.model(number)
            assert library.image(served.adapter) == store.read(served.adapter)
            manifests[number] = served.manifest.hex()
            kept = folder / f"{manifests[number]}.artifact"
            os.utime(kept, (second, second))  # the clock of a file system is coarse
        held = {path.stem for path in folder.iterdir()}
        assert held == {manifests[number] for number in left}
        assert slow.asked == fetched


async def test_an_artifact_that_is_late_is_asked_for_again(
    chain: MemoryChain,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow = SlowFirst(chain, monkeypatch)
    slow.released.set()
    slow.failures = [ChainError(ChainReason.NO_BLOB, "not here yet")] * 2
    assert (await library.model(0)).id == 0
    assert slow.asked == 3


async def test_what_cannot_be_had_is_told_at_once_for_some_seconds(
    chain: MemoryChain,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow = SlowFirst(chain, monkeypatch)
    slow.released.set()
    slow.failures = [ChainError(ChainReason.NO_BLOB, "nobody has it")] * 3
    for _ in range(4):
        with pytest.raises(ChainError, match="nobody has it"):
            await library.model(0)
    assert slow.asked == 3
    await trio.sleep(6)
    assert (await library.model(0)).id == 0
    with pytest.raises(ApiRefused):
        await library.model(7)
    with pytest.raises(AdapterRefused) as refusal:
        await library.bring(bytes(32))
    assert refusal.value.reason is AdapterReason.NOT_STORED
