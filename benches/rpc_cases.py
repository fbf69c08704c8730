"""What the bench of methods asks: names, parameters, and when an answer is complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benches.rpc_socket import RpcSocket
from node.client.signing import KeyPair
from runtime.construct import storage_key
from runtime.primitives.keys import ss58_encode

DONE = b'Done"'
"""In the last event of what answers with events."""
MANY = 100
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Case:
    """A request; until: bytes in the last message of its answer, None where that is the first."""

    name: str
    method: str
    params: tuple[Any, ...] = ()
    until: bytes | None = None


async def cases(port: int, account: KeyPair, transfer: bytes) -> list[Case]:
    """List the requests, with hashes and keys of the chain that the node has."""
    socket = await RpcSocket.connect(port)
    head = await socket.call("chain_getFinalizedHead")
    accounts = "0x" + storage_key("System", "Account").hex()
    keys = await socket.call("state_getKeysPaged", accounts, MANY, None, head)
    await socket.stream.aclose()
    now, who = "0x" + storage_key("Timestamp", "Now").hex(), ss58_encode(account.account_id)
    raw = "0x" + transfer.hex()
    nonce_of = "0x" + account.account_id.hex()
    item = [{"key": now, "type": "value"}]
    return [
        Case("system_health", "system_health"),
        Case("chain_getHeader", "chain_getHeader", (head,)),
        Case("chain_getBlock", "chain_getBlock", (head,)),
        Case("chain_getBlockHash", "chain_getBlockHash", (1,)),
        Case("state_getStorage", "state_getStorage", (keys[0], head)),
        Case(f"state_queryStorageAt, {MANY} keys", "state_queryStorageAt", (keys, head)),
        Case(f"state_getKeysPaged, {PAGE}", "state_getKeysPaged", (accounts, PAGE, None, head)),
        Case("state_getReadProof", "state_getReadProof", (keys[:1], head)),
        Case(f"state_getReadProof, {MANY} keys", "state_getReadProof", (keys, head)),
        Case("state_getMetadata", "state_getMetadata"),
        Case("state_call of metadata 15", "state_call", _METADATA),
        Case("state_call of a nonce", "state_call", ("AccountNonceApi_account_nonce", nonce_of)),
        Case("state_getRuntimeVersion", "state_getRuntimeVersion"),
        Case("system_accountNextIndex", "system_accountNextIndex", (who,)),
        Case("payment_queryInfo", "payment_queryInfo", (raw,)),
        Case("system_dryRun", "system_dryRun", (raw,)),
        Case("chainHead_v1_header", "chainHead_v1_header", (FOLLOW, PINNED)),
        Case("chainHead_v1_body", "chainHead_v1_body", (FOLLOW, PINNED), DONE),
        Case("chainHead_v1_storage", "chainHead_v1_storage", (FOLLOW, PINNED, item), DONE),
        Case("chainHead_v1_call", "chainHead_v1_call", (FOLLOW, PINNED, *_VERSION), DONE),
        Case("archive_v1_header", "archive_v1_header", (head,)),
        Case("archive_v1_body", "archive_v1_body", (head,)),
        Case("archive_v1_hashByHeight", "archive_v1_hashByHeight", (1,)),
        Case("archive_v1_storage", "archive_v1_storage", (head, item), DONE),
        Case("archive_v1_call", "archive_v1_call", (head, *_VERSION)),
        Case("openledger_chainStatus", "openledger_chainStatus"),
        Case("openledger_overview", "openledger_overview"),
        Case("openledger_block", "openledger_block", (head,)),
        Case("openledger_events", "openledger_events", (head,)),
        Case("openledger_account", "openledger_account", (who,)),
        Case("openledger_datanets", "openledger_datanets"),
        Case("openledger_models", "openledger_models"),
        Case("openledger_workers", "openledger_workers"),
        Case("openledger_search", "openledger_search", (who,)),
        Case("openledger_dryRun", "openledger_dryRun", (raw,)),
        Case("rpc.discover", "rpc.discover"),
    ]


FOLLOW, PINNED = "<follow>", "<pinned>"
"""Stand for the id of a follow of the same connection, and a block that it pins."""
_METADATA = ("Metadata_metadata_at_version", "0x0f000000")
_VERSION = ("Core_version", "0x")
