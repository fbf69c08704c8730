"""A node on which the main job was done, asked everything that its OpenRPC document describes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from genesis.presets import development
from node.cli.session_key import session_key_seed
from node.client.rpc import NodeClient
from node.client.signing import KeyPair, sign_extrinsic
from node.paths import ChainPaths
from node.rpc.limits import RpcConfig
from node.service import NodeConfig, RunningNode, run_node
from node.storage.pruning import Pruning
from runtime.construct import encode_call, storage_key
from runtime.primitives.extrinsic import Extensions, Immortal
from runtime.primitives.keys import ss58_encode
from tests.clients import main_job
from tests.clients.main_job import BOB, CHARLIE, DAVE, EVE, FERDIE, VALIDATOR, WORKER
from tests.node.running_node import ALONE
from tests.patience import PATIENCE

NUMBER = "0x" + storage_key("System", "Number").hex()
ACCOUNTS = "0x" + storage_key("System", "Account").hex()
NOWHERE = "0x" + "77" * 32
CHILD = "0x" + b":child_storage:default:x".hex()
_PLAIN = """
archive_v1_finalizedHeight archive_v1_genesisHash author_pendingExtrinsics chainSpec_v1_chainName
chainSpec_v1_genesisHash chainSpec_v1_properties chain_getFinalizedHead openledger_chainStatus
openledger_committeeChallenge openledger_currentEpoch openledger_evidence openledger_overview
rpc_methods state_getMetadata state_getRuntimeVersion system_chain system_chainType system_health
system_localListenAddresses system_localPeerId system_name system_nodeRoles system_peers
system_properties system_reservedPeers system_syncState system_unstable_networkState system_version
"""
"""Methods that are asked without parameters."""
_LEFT_OUT = """
author_hasKey author_hasSessionKeys author_insertKey author_removeExtrinsic author_rotateKeys
author_rotateKeysWithOwner offchain_localStorageClear offchain_localStorageSet openledger_blob_put
openledger_keyProof openledger_subscribeCommitteeInbox openledger_unsubscribeCommitteeInbox
system_addLogFilter system_addReservedPeer system_removeReservedPeer system_resetLogFilter
transactionWatch_v1_unwatch
"""
LEFT_OUT = frozenset(_LEFT_OUT.split())
"""Methods that are not asked: they change the node, or need a worker's key."""


@dataclass(frozen=True)
class Asked:
    """A request and what came back: a result, or an error."""

    method: str
    params: list[Any]
    answer: dict[str, Any]


@dataclass
class Described:
    """The document, every answer and notification, and what the main job did."""

    document: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    told: list[tuple[str, Any]] = field(default_factory=list)
    """Name of the subscribing method and the result of a notification."""
    failed: str = ""
    """Hash of an extrinsic whose call failed."""
    settled: str = ""
    """Hash of the block that settled batch 0."""
    paid: list[dict[str, Any]] = field(default_factory=list)

    def result(self, method: str, *params: Any) -> Any:
        """Return the result of a request that was made."""
        (found,) = (a for a in self.asked if (a.method, a.params) == (method, list(params)))
        assert "result" in found.answer, found
        return found.answer["result"]

    def results(self, method: str) -> list[Any]:
        return [a.answer["result"] for a in self.asked if a.method == method]


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory) -> Described:
    """Do the main job and ask everything, once for all tests."""
    found = Described()
    trio.run(_ask_everything, found, tmp_path_factory.mktemp("described"))
    return found


def address(who: KeyPair) -> str:
    return ss58_encode(who.account_id)


async def _ask_everything(found: Described, folder: Path) -> None:
    spec = development()
    spec = spec.model_copy(update={"consensus": spec.consensus.model_copy(update=ALONE)})
    seed = session_key_seed(spec, ChainPaths.of(folder, spec.id), "//Alice", None)
    config = NodeConfig(
        spec=spec,
        base_path=folder,
        key_seed=seed,
        init_log=True,
        rpc=RpcConfig(port=0),
        prometheus=None,
        pruning=Pruning(None),
    )
    async with trio.open_nursery() as nursery:
        node: RunningNode = await nursery.start(run_node, config)
        host, port = node.rpc_address
        url = f"ws://{host}:{port}"
        await _main_job(found, node, url)
        async with open_websocket_url(url) as socket:
            await _Asker(found, socket).everything(node)
        nursery.cancel_scope.cancel()


async def _main_job(found: Described, node: RunningNode, url: str) -> None:
    async with NodeClient.connect(url) as client:
        market = await main_job.open_market(client)
        entries = [main_job.answer(market, 1), main_job.answer(market, 2)]
        done = await main_job.settle(client, market, entries)
        found.settled = "0x" + done.block.header.hash().hex()
        found.paid = [
            {"role": paid.role, "account": paid.account, "amount": paid.amount}
            for paid in done.events("Paid")
        ]
        outcomes = await main_job.outcomes(
            client, FERDIE, [encode_call("Datanets", "publish_version", datanet=market.datanet)]
        )
        assert "Datanets.NotOwner" in repr(outcomes), outcomes
        best = node.chain.best().number
        for number in range(best, 0, -1):
            for shown in (await client.request("openledger_block", number))["extrinsics"]:
                if shown["error"]:
                    found.failed = shown["hash"]
                    return


class _Asker:
    """Requests over one connection; what is told meanwhile is kept with its subscription."""

    def __init__(self, found: Described, socket: WebSocketConnection) -> None:
        self.found = found
        self.socket = socket
        self._idents = count(1)
        self._methods: dict[str, str] = {}

    async def ask(self, method: str, *params: Any) -> Any:
        ident = next(self._idents)
        request = {"jsonrpc": "2.0", "id": ident, "method": method, "params": list(params)}
        await self.socket.send_message(orjson.dumps(request).decode())
        while (message := await self._message()).get("id") != ident:
            self._note(message)
        self.found.asked.append(Asked(method, list(params), message))
        return message.get("result")

    async def _message(self) -> dict[str, Any]:
        with trio.fail_after(PATIENCE):
            message: dict[str, Any] = orjson.loads(await self.socket.get_message())
        return message

    def _note(self, message: dict[str, Any]) -> Any:
        params = message["params"]
        self.found.told.append((self._methods[params["subscription"]], params["result"]))
        return params["result"]

    async def subscribe(self, method: str, *params: Any) -> str:
        ident: str = await self.ask(method, *params)
        self._methods[ident] = method
        return ident

    async def told(self, event: str | None = None) -> Any:
        """Wait for one notification, or until one has this `event`."""
        while True:
            result = self._note(await self._message())
            if event is None or result["event"] == event:
                return result

    async def everything(self, node: RunningNode) -> None:
        self.found.document = await self.ask("rpc.discover")
        for method, many in _requests(self.found, node).items():
            for params in many:
                await self.ask(method, *params)
        await self._subscriptions()
        await self._chain_head(node)
        await self._transactions(node)

    async def _subscriptions(self) -> None:
        """Each begins alone, is told something, and ends."""
        for method, end, params in (
            ("chain_subscribeNewHeads", "chain_unsubscribeNewHeads", []),
            ("chain_subscribeAllHeads", "chain_unsubscribeAllHeads", []),
            ("chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads", []),
            ("state_subscribeStorage", "state_unsubscribeStorage", [[NUMBER]]),
            ("state_subscribeRuntimeVersion", "state_unsubscribeRuntimeVersion", []),
            ("openledger_subscribeStatus", "openledger_unsubscribeStatus", []),
            ("openledger_subscribeJustifications", "openledger_unsubscribeJustifications", []),
        ):
            ident = await self.subscribe(method, *params)
            await self.told()
            await self.ask(end, ident)

    async def _chain_head(self, node: RunningNode) -> None:
        ident = await self.subscribe("chainHead_v1_follow", True)
        begun = await self.told("initialized")
        block = begun["finalizedBlockHashes"][-1]
        await self.ask("chainHead_v1_header", ident, block)
        query = [{"key": ACCOUNTS, "type": "descendantsValues"}]
        for method, params, event in (
            ("chainHead_v1_body", [], "operationBodyDone"),
            ("chainHead_v1_call", ["Core_version", "0x"], "operationCallDone"),
            ("chainHead_v1_storage", [query], "operationStorageDone"),
        ):
            await self.ask(method, ident, block, *params)
            await self.told(event)
        await self.ask("chainHead_v1_stopOperation", ident, "none")
        await self.ask("chainHead_v1_continue", ident, "none")
        await self.ask("chainHead_v1_unpin", ident, block)
        await self.ask("chainHead_v1_unfollow", ident)
        block = "0x" + node.chain.finalized().hash.hex()
        for method, params, event in (
            ("archive_v1_storage", [[{"key": NUMBER, "type": "value"}]], "storageDone"),
            ("archive_v1_storageDiff", [], "storageDiffDone"),
        ):
            await self.subscribe(method, block, *params)
            await self.told(event)

    async def _transactions(self, node: RunningNode) -> None:
        raw = _remark(node, EVE, 1, b"watched")
        await self.subscribe("transactionWatch_v1_submitAndWatch", raw)
        await self.told("finalized")
        ident = await self.subscribe(
            "author_submitAndWatchExtrinsic", _remark(node, EVE, 2, b"old")
        )
        await self.told()
        await self.ask("author_unwatchExtrinsic", ident)
        operation = await self.ask("transaction_v1_broadcast", _remark(node, EVE, 3, b"sent"))
        await self.ask("transaction_v1_stop", operation)
        await self.ask("author_submitExtrinsic", _remark(node, EVE, 4, b"last"))


def _remark(node: RunningNode, who: KeyPair, nonce: int, text: bytes) -> str:
    raw = sign_extrinsic(
        encode_call("System", "remark", remark=text),
        who,
        Extensions(Immortal(), nonce, 0),
        spec_version=1,
        transaction_version=1,
        genesis_hash=node.chain.genesis_hash,
        birth_hash=node.chain.genesis_hash,
    )
    return "0x" + raw.hex()


def _requests(found: Described, node: RunningNode) -> dict[str, list[list[Any]]]:
    """Return for each method the parameters that it is asked with."""
    finalized = node.chain.finalized()
    block = "0x" + finalized.hash.hex()
    remark = _remark(node, EVE, 1, b"dry")
    blob = "0x" + main_job.artifact().manifest.hex()
    call = "0x" + encode_call("System", "remark", remark=b"hello").hex()
    plain: dict[str, list[list[Any]]] = {name: [[]] for name in _PLAIN.split()}
    pages: dict[str, list[list[Any]]] = {
        "openledger_account": [[address(who)] for who in (BOB, DAVE, EVE, WORKER, VALIDATOR)],
        "openledger_accountDatanets": [[address(BOB)], [address(EVE), 0, 100]],
        "openledger_accountModels": [[address(CHARLIE)], [address(DAVE)]],
        "openledger_accusations": [[]],
        "openledger_attribution": [[0], ["0", block], [9]],
        "openledger_attributionMethod": [[0], [7]],
        "openledger_baseModels": [[]],
        "openledger_contributor": [[0, address(BOB)], [0, address(EVE)]],
        "openledger_contributors": [[0], [0, None, 1], [5]],
        "openledger_datanet": [[0], ["0"], [1]],
        "openledger_datanetNamed": [["manuals"], ["none"]],
        "openledger_datanetVersions": [[0]],
        "openledger_datanets": [[], [None, 101], [None, 1, block]],
        "openledger_epoch": [[0], ["9"]],
        "openledger_model": [[0], [1]],
        "openledger_models": [[], [None, None, 0], [None, None, None, address(DAVE)]],
        "openledger_receiptBatches": [[], [None, None, 0]],
        "openledger_record": [[0, 4], [0, 99]],
        "openledger_recordBatches": [[0]],
        "openledger_session": [[0], ["7"]],
        "openledger_sessions": [[], [None, None, address(EVE)], [None, None, address(BOB)]],
        "openledger_whyNotPaid": [[0, address(who)] for who in (BOB, DAVE, FERDIE)],
        "openledger_worker": [[address(WORKER)], [address(BOB)]],
        "openledger_workers": [[], [None, None, address(VALIDATOR)]],
    }
    blocks: dict[str, list[list[Any]]] = {
        "openledger_block": [[], [0], [1], [found.settled], [NOWHERE], [10**9]],
        "openledger_decode": [[call], [remark], ["0xff"]],
        "openledger_events": [[], [found.settled], [NOWHERE]],
        "openledger_extrinsic": [[found.failed], [NOWHERE]],
        "openledger_search": [
            ["manu"],
            ["0"],
            [found.settled],
            [found.failed],
            [address(BOB)],
            [address(WORKER)],
            ["nothing like it"],
            [""],
        ],
        "openledger_blob_get": [[blob, 0, 8]],
        "openledger_blob_status": [[blob], [NOWHERE]],
        "openledger_dryRun": [[remark], ["0x00"]],
        "openledger_proveEpochs": [[0]],
        "openledger_proveFinality": [[1], [10**9]],
        "openledger_whyDropped": [[NOWHERE], [found.failed]],
        "openledger_committeeRequest": [["AAAA"]],
        "openledger_committeeAnswer": [["0"]],
    }
    others: dict[str, list[list[Any]]] = {
        "archive_v1_body": [[block], [NOWHERE]],
        "archive_v1_call": [[block, "Core_version", "0x"], [block, "Nothing", "0x"]],
        "archive_v1_hashByHeight": [[1], [10**9]],
        "archive_v1_header": [[block], [NOWHERE]],
        "archive_v1_stopStorage": [["none"]],
        "archive_v1_stopStorageDiff": [["none"]],
        "chain_getBlock": [[], [NOWHERE]],
        "chain_getBlockHash": [[], [1], [[0, 1]], [10**9]],
        "chain_getHeader": [[], [block], [NOWHERE]],
        "childstate_getKeys": [[CHILD]],
        "childstate_getKeysPaged": [[CHILD, None, 5]],
        "childstate_getStorage": [[CHILD, NUMBER]],
        "childstate_getStorageEntries": [[CHILD, [NUMBER]]],
        "childstate_getStorageHash": [[CHILD, NUMBER]],
        "childstate_getStorageSize": [[CHILD, NUMBER]],
        "offchain_localStorageGet": [["PERSISTENT", "0x01"]],
        "payment_queryInfo": [[remark]],
        "payment_queryFeeDetails": [[remark]],
        "state_call": [["Core_version", "0x"]],
        "state_getChildReadProof": [[CHILD, [NUMBER]]],
        "state_getKeys": [[NUMBER]],
        "state_getKeysPaged": [[ACCOUNTS, 3], [None, 2, None, block]],
        "state_getPairs": [[NUMBER]],
        "state_getReadProof": [[[NUMBER]]],
        "state_getStorage": [[NUMBER], ["0x00"]],
        "state_getStorageHash": [[NUMBER], ["0x00"]],
        "state_getStorageSize": [[NUMBER], ["0x00"]],
        "state_queryStorage": [[[NUMBER], found.settled, found.settled]],
        "state_queryStorageAt": [[[NUMBER, "0x00"]]],
        "state_traceBlock": [[found.settled]],
        "system_accountNextIndex": [[address(EVE)]],
        "system_dryRun": [[remark]],
    }
    return {**plain, **pages, **blocks, **others}
