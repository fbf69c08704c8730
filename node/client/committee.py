"""A worker's side of the exchange of committee material: ask, open an inbox, answer."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from typing import NamedTuple

from node.client.material import inbox_bytes
from node.client.rpc import NodeClient
from node.client.signing import KeyPair
from runtime.primitives.scale import encode
from runtime.primitives.types import MultiSignature


class Reply(NamedTuple):
    """An answer that a node found, None where it found none, and how many peers it asked."""

    answer: bytes | None
    peers: int


class Letter(NamedTuple):
    """A request in a worker's inbox, and the number to answer it under."""

    number: str
    request: bytes


async def ask_material(client: NodeClient, request: bytes) -> Reply:
    """Have the node search for the executor's answer; raises CallError where it refuses."""
    told = await client.request("openledger_committeeRequest", _base64(request))
    answer = told["answer"]
    return Reply(None if answer is None else base64.b64decode(answer), told["peers"])


async def read_inbox(client: NodeClient, key: KeyPair) -> AsyncGenerator[Letter, None]:
    """Yield the requests for a registered worker, until the connection breaks.

    Raises CallError where the node refuses, ConnectionLost at the end. Close it with `aclose`.
    """
    challenge = await client.request("openledger_committeeChallenge")
    signed = key.sign(
        inbox_bytes(client.genesis_hash, bytes.fromhex(challenge[2:]), key.account_id)
    )
    signature = encode(MultiSignature, signed)
    async with await client.subscribe(
        "openledger_subscribeCommitteeInbox", _hex(key.account_id), challenge, _hex(signature)
    ) as letters:
        async for letter in letters:
            yield Letter(letter["id"], base64.b64decode(letter["request"]))


async def answer_material(client: NodeClient, number: str, answer: bytes | None) -> bool:
    """Answer a request, None for nothing to say; False where the node did not take it."""
    told = None if answer is None else _base64(answer)
    return bool(await client.request("openledger_committeeAnswer", number, told))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
