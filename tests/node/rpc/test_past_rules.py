"""A chain folder with a state of other rules than this release's: what is told, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from genesis.presets import development
from node.application import BestState
from node.chain import Chain
from node.native_runtime import NativeRuntime
from node.pool import Pool
from node.rpc.backend import Backend, NodeFacts
from node.rpc.dispatch import Dispatcher
from node.rpc.limits import RpcConfig
from node.rpc.methods.state import state_methods
from node.rpc.params import to_hex
from node.rpc.server import RpcServer
from node.storage.leveldb import Database
from node.storage.metadata import RulesDescription, RulesRecords
from runtime import executive
from runtime.api import RULES_KEY
from runtime.construct import storage_key
from runtime.frame.metadata import VERSIONS
from runtime.primitives.scale import U32, decode, encode
from runtime.primitives.version import LastRuntimeUpgrade, RuntimeVersion, offered_version
from tests.node.rpc.conftest import Served

OTHER = 7
OLD_BLOBS = {version: b"meta" + bytes((version,)) + b"of other rules" for version in (14, 15)}


def other_version() -> RuntimeVersion:
    return replace(offered_version(), spec_version=OTHER, apis=((bytes(8), 1),))


class OtherRuntime(NativeRuntime):
    """A release whose rules have another number: this is all that the folder sees of it."""

    def keep_records(self, records: RulesRecords) -> None:
        records.keep(RulesDescription(other_version(), OLD_BLOBS))


class OtherGenesis:
    """The development chain, as rules of another number would begin it."""

    def genesis_entries(self) -> dict[bytes, bytes]:
        rules = encode(LastRuntimeUpgrade, LastRuntimeUpgrade(OTHER, "openledger"))
        return development().genesis_entries() | {RULES_KEY: rules}


@asynccontextmanager
async def served(chain: Chain, runtime: NativeRuntime) -> AsyncIterator[Served]:
    pool = Pool(BestState(chain, runtime))
    backend = Backend(chain, pool, runtime, NodeFacts("other", "Development", "node", "0", {}))
    config = RpcConfig(port=0)
    dispatcher = Dispatcher(
        state_methods(backend),
        batch_length=config.limits.batch_length,
        response_bytes=config.limits.response_bytes,
    )
    server = RpcServer(dispatcher, config, lambda: (200, b"{}"))
    _, port = await server.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        yield Served(port, server)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def reopened(path: Path, before: NativeRuntime) -> AsyncIterator[Served]:
    """Open a folder with one release, then serve it with this one."""
    Chain.open(path, OtherGenesis(), before).close()
    runtime = NativeRuntime()
    chain = Chain.open(path, OtherGenesis(), runtime)
    try:
        async with served(chain, runtime) as world:
            yield world
    finally:
        chain.close()


@pytest.fixture
def ran_here(tmp_path: Path) -> AbstractAsyncContextManager[Served]:
    return reopened(tmp_path, OtherRuntime())


@pytest.fixture
def never_ran_here(tmp_path: Path) -> AbstractAsyncContextManager[Served]:
    return reopened(tmp_path, NativeRuntime())


async def test_version_and_metadata_of_a_block_are_those_of_the_rules_that_made_it(
    ran_here: AbstractAsyncContextManager[Served],
) -> None:
    async with ran_here as world:
        told = (await world.call("state_getRuntimeVersion"))["result"]
        assert (told["specVersion"], told["apis"]) == (OTHER, [["0x" + "00" * 8, 1]])
        assert (await world.call("state_getMetadata"))["result"] == to_hex(OLD_BLOBS[14])

        async def call(method: str, data: bytes = b"") -> bytes:
            answer = await world.call("state_call", method, to_hex(data))
            return bytes.fromhex(answer["result"][2:])

        assert decode(RuntimeVersion, await call("Core_version")) == other_version()
        assert decode(bytes, await call("Metadata_metadata")) == OLD_BLOBS[14]
        versions = await call("Metadata_metadata_versions")
        assert decode(tuple[U32, ...], versions) == (14, 15)
        for version in (0, 14, 15, 16, ord("v"), 270, 2**32 - 1):
            found = await call("Metadata_metadata_at_version", encode(U32, version))
            assert decode(bytes | None, found) == OLD_BLOBS.get(version)


async def test_other_calls_are_refused_by_name_and_storage_is_readable(
    ran_here: AbstractAsyncContextManager[Served],
) -> None:
    async with ran_here as world:
        nonce = "AccountNonceApi_account_nonce"
        error = (await world.call("state_call", nonce, to_hex(bytes(32))))["error"]
        assert error["code"] == 4003
        for part in (nonce, "openledger 7", "executes openledger 1", "Metadata_*"):
            assert part in error["message"]
        malformed = await world.call("state_call", "Metadata_metadata_at_version", "0x0e")
        assert "Metadata_metadata_at_version" in malformed["error"]["message"]
        key = to_hex(storage_key("System", "Number"))
        assert "error" not in await world.call("state_getStorage", key)


async def test_rules_that_never_ran_here_are_named_as_missing(
    never_ran_here: AbstractAsyncContextManager[Served],
) -> None:
    async with never_ran_here as world:
        for method in ("state_getMetadata", "state_getRuntimeVersion"):
            error = (await world.call(method))["error"]
            assert error["code"] == 4003
            for part in ("openledger 7", "never ran them", "kept: 1"):
                assert part in error["message"]


async def test_a_state_without_rules_is_refused(tmp_path: Path) -> None:
    class NoRules(OtherGenesis):
        def genesis_entries(self) -> dict[bytes, bytes]:
            return {k: v for k, v in super().genesis_entries().items() if k != RULES_KEY}

    runtime = NativeRuntime()
    chain = Chain.open(tmp_path, NoRules(), runtime)
    try:
        async with served(chain, runtime) as world:
            error = (await world.call("state_getRuntimeVersion"))["error"]
            assert "does not name the rules" in error["message"]
    finally:
        chain.close()


def test_records_are_written_once_and_again_where_the_rules_changed(tmp_path: Path) -> None:
    written: list[int] = []

    class Watched(Database):
        def write(self, changes: Any, *, sync: bool = True) -> None:
            listed = list(changes)
            written.append(len(listed))
            super().write(listed, sync=sync)

    db = Watched(tmp_path)
    records = RulesRecords(db)
    blobs = {version: executive.metadata(version) or b"" for version in VERSIONS}
    rules = RulesDescription(offered_version(), blobs)
    records.keep(rules)
    records.keep(rules)
    assert written == [4]
    records.keep(RulesDescription(offered_version(), blobs | {16: b"new"}))
    assert written == [4, 1]
    records.keep(RulesDescription(other_version(), OLD_BLOBS))
    assert records.spec_versions() == (1, OTHER)
    assert records.metadata(1, 16) == b"new"
    assert records.metadata_versions(1) == VERSIONS
    assert records.metadata_versions(OTHER) == (14, 15)
    assert decode(RuntimeVersion, records.version(OTHER) or b"") == other_version()
    assert records.version(2) is None
    db.close()
