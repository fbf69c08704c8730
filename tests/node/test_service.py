"""A whole node with the real rules: from a signed transfer to finality, across restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from math import inf
from pathlib import Path

import httpx
import pytest
import trio

from consensus.core.votes import VoteDomain
from consensus.engine.folder import LogFolder
from consensus.engine.refusals import SigningReason, SigningRefused
from consensus.interface import BlockRef
from genesis.presets import ENDOWMENT, UNIT, chain_spec
from genesis.spec import ChainSpec
from node import metrics_server
from node.application import BestState, NodeApplication
from node.block_file import BlockFileError, read_blocks, write_block, write_head
from node.chain import Chain
from node.cli.block_files import take
from node.client.signing import Ed25519KeyPair, KeyPair, from_uri, sign_extrinsic
from node.declarations import BLOB_MAPS, declared_size
from node.errors import NodeError, StorageLocked
from node.metrics_server import CONNECTIONS
from node.native_runtime import NativeRuntime
from node.pool import Pool
from node.rpc.limits import RpcConfig
from node.service import NodeConfig, RunningNode, run_node
from runtime.construct import Runtime, encode_call
from runtime.primitives.digest import pre_digest_item
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.scale import U64, encode
from runtime.primitives.types import Id
from runtime.primitives.version import RUNTIME_VERSION
from runtime.state.overlay import Overlay
from runtime.state.store import MemoryState
from tests.dev_chain import next_claim
from tests.patience import PATIENCE

ALICE, BOB = from_uri("//Alice"), from_uri("//Bob")


def fast_spec() -> ChainSpec:
    spec = chain_spec("dev")
    return spec.model_copy(
        update={"consensus": spec.consensus.model_copy(update={"block_interval_ms": 500})}
    )


def config(base: Path) -> NodeConfig:
    key = from_uri("//Alice", "ed25519")
    assert isinstance(key, Ed25519KeyPair)
    return NodeConfig(
        spec=fast_spec(),
        base_path=base,
        key_seed=key.seed,
        init_log=True,
        rpc=RpcConfig(port=0),
        prometheus=("127.0.0.1", 0),
    )


@asynccontextmanager
async def running(settings: NodeConfig) -> AsyncIterator[RunningNode]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(run_node, settings)
        nursery.cancel_scope.cancel()


def transfer(chain: Chain, signer: KeyPair, to: KeyPair, amount: int, nonce: int) -> bytes:
    call = encode_call("Balances", "transfer_allow_death", dest=Id(to.account_id), value=amount)
    return sign_extrinsic(
        call,
        signer,
        Extensions(Immortal(), nonce, 0),
        spec_version=RUNTIME_VERSION.spec_version,
        transaction_version=RUNTIME_VERSION.transaction_version,
        genesis_hash=chain.genesis_hash,
        birth_hash=chain.genesis_hash,
    )


def balance(chain: Chain, who: KeyPair) -> int:
    state = chain.state_at(chain.finalized().hash)
    free: int = Runtime(Overlay(state)).system.account[who.account_id].data.free
    return free


async def test_transfers_become_final_and_survive_a_restart(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with running(config(tmp_path)) as node:
            watches = []
            for nonce in range(5):
                extrinsic = transfer(node.chain, ALICE, BOB, UNIT, nonce)
                watches.append(node.pool.watch(node.pool.submit(extrinsic)))
            seen = [[status.kind.value async for status in watch] for watch in watches]
            assert seen == [["ready", "inBlock", "finalized"]] * 5
            assert balance(node.chain, BOB) == ENDOWMENT + 5 * UNIT
            head = node.chain.finalized()
        async with running(config(tmp_path)) as node:
            assert node.chain.finalized().number >= head.number
            assert balance(node.chain, BOB) == ENDOWMENT + 5 * UNIT
            await final(node, head.number + 2)


async def final(node: RunningNode, number: int) -> None:
    while node.chain.finalized().number < number:
        await trio.sleep(0.05)


async def test_metrics_health_and_rpc_answer(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with running(config(tmp_path)) as node, httpx.AsyncClient() as http:
            await final(node, 1)
            assert node.prometheus_address is not None
            base = f"http://127.0.0.1:{node.prometheus_address[1]}"
            text = (await http.get(f"{base}/metrics")).text
            for name in (
                'substrate_block_height{status="best"}',
                'substrate_block_height{status="finalized"}',
                "substrate_ready_transactions_number",
                "openledger_loop_lag_seconds_count",
            ):
                assert name in text
            health = await http.get(f"{base}/health")
            assert (health.status_code, health.json()["finalized"] >= 1) == (200, True)
            assert (await http.get(f"{base}/nothing")).status_code == 404
            assert (await http.post(f"{base}/metrics")).status_code == 405
            request = {"jsonrpc": "2.0", "id": 1, "method": "chain_getFinalizedHead", "params": []}
            answer = await http.post(f"http://127.0.0.1:{node.rpc_address[1]}", json=request)
            assert answer.json()["result"].startswith("0x")


async def test_who_holds_the_metrics_port_open_costs_no_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "REQUEST_SECONDS", inf)
    async with running(config(tmp_path)) as node, AsyncExitStack() as held:
        assert node.prometheus_address is not None
        for _ in range(CONNECTIONS):
            stream = await trio.open_tcp_stream(*node.prometheus_address)
            await held.enter_async_context(stream)
        extra = await held.enter_async_context(await trio.open_tcp_stream(*node.prometheus_address))
        with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
            assert await extra.receive_some() == b""


async def test_a_second_node_on_the_folder_is_refused(tmp_path: Path) -> None:
    async with running(config(tmp_path)):
        with pytest.raises(StorageLocked):
            await run_node(config(tmp_path))


async def test_a_port_in_use_is_told_with_the_option_that_helps(tmp_path: Path) -> None:
    async with running(config(tmp_path / "a")) as node:
        taken = node.rpc_address[1]
        with pytest.raises(NodeError, match=f"port {taken} is in use; .* --rpc-port"):
            await run_node(replace(config(tmp_path / "b"), rpc=RpcConfig(port=taken)))
        with pytest.raises(NodeError, match="--prometheus-port"):
            await run_node(replace(config(tmp_path / "c"), prometheus=("127.0.0.1", taken)))


async def test_an_authority_without_its_log_signs_nothing(tmp_path: Path) -> None:
    async with running(replace(config(tmp_path), init_log=False)) as node:
        await trio.sleep(0.7)
        assert node.chain.best() == BlockRef(node.chain.genesis_hash, 0)


async def test_a_second_process_with_the_logs_of_a_key_is_refused(tmp_path: Path) -> None:
    async with running(config(tmp_path)):
        other = config(tmp_path).paths.consensus
        with pytest.raises(SigningRefused, match="stop it first") as refusal:
            LogFolder.open(other, VoteDomain(bytes(32), 0))
        assert refusal.value.reason is SigningReason.IN_USE


async def test_a_node_without_a_key_makes_no_blocks(tmp_path: Path) -> None:
    async with running(replace(config(tmp_path), key_seed=None)) as node:
        await trio.sleep(0.7)
        assert node.chain.best() == BlockRef(node.chain.genesis_hash, 0)


async def test_exported_blocks_are_checked_and_taken_by_another_node(tmp_path: Path) -> None:
    with trio.fail_after(PATIENCE):
        async with running(config(tmp_path / "a")) as node:
            node.pool.submit(transfer(node.chain, ALICE, BOB, 7 * UNIT, 0))
            await final(node, 3)
            with (tmp_path / "blocks").open("wb") as file:
                write_head(file, node.chain.genesis_hash)
                for number in range(1, 4):
                    write_block(file, node.chain, number)
        spec = fast_spec()
        chain = Chain.open(tmp_path / "b", spec, NativeRuntime())
        with (tmp_path / "blocks").open("rb") as file:
            for carried in read_blocks(file, chain.genesis_hash):
                await take(chain, VoteDomain(chain.genesis_hash, 0), carried)
        assert chain.finalized().number == 3
        assert balance(chain, BOB) == ENDOWMENT + 7 * UNIT
        chain.close()


async def test_a_torn_or_foreign_block_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "blocks"
    chain = Chain.open(tmp_path / "db", fast_spec(), NativeRuntime())
    with path.open("wb") as file:
        write_head(file, chain.genesis_hash)
        write_block(file, chain, 0)
    whole = path.read_bytes()
    for data, told in (
        (b"nonsense", "not a file"),
        (whole.replace(chain.genesis_hash, bytes(32)), "another genesis"),
        (whole[:-1], "ends within a block"),
        (whole[:-1] + b"\xff", "damaged block"),
    ):
        path.write_bytes(data)
        with path.open("rb") as file, pytest.raises(BlockFileError, match=told):
            list(read_blocks(file, chain.genesis_hash))
    chain.close()


async def test_a_reorganisation_moves_extrinsics_back_and_forth(tmp_path: Path) -> None:
    runtime = NativeRuntime()
    chain = Chain.open(tmp_path / "db", fast_spec(), runtime)
    pool = Pool(BestState(chain, runtime))
    application = NodeApplication(chain, pool, runtime)
    genesis = chain.header(chain.genesis_hash)
    assert genesis is not None
    state = chain.state_at(chain.genesis_hash)
    digests = (pre_digest_item(next_claim(Runtime(Overlay(state)), genesis)),)
    one = transfer(chain, ALICE, BOB, UNIT, 0)
    one_hash = pool.submit(one)
    with_it = await application.build(
        chain.genesis_hash, timestamp=1000, digest=digests, full=lambda: False
    )
    pool_before = pool.pending()
    without = await application.build(
        chain.genesis_hash, timestamp=2000, digest=digests, full=lambda: True
    )
    assert pool.pending() == pool_before == [one]
    left = await application.execute(with_it)
    right = await application.execute(without)
    application.set_best(left.hash)
    assert pool.pending() == []
    application.set_best(right.hash)
    assert pool.pending() == [one]
    await application.finalize(left.hash, b"")
    assert one_hash not in pool
    assert chain.best() == chain.finalized() == left
    pool.close()
    chain.close()


def test_a_declared_blob_is_found_with_its_size() -> None:
    assert [item.name for item in BLOB_MAPS] == ["Blobs", "Blobs"]
    for item in BLOB_MAPS:
        state = MemoryState({item.key(b"\1" * 32): encode(U64, 1234)})
        assert declared_size(state, b"\1" * 32) == 1234
        assert declared_size(state, b"\2" * 32) is None
