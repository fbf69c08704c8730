"""Calls of every method with right, wrong and huge parameters: each is answered, nothing is harmed.

OPENLEDGER_RPC_FUZZ_ROUNDS says how often each method is called by each client (2 without it; 200
take about half an hour), OPENLEDGER_RPC_FUZZ_SEED from which seed the calls are drawn.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import trio

from node.client.rpc import NodeClient
from runtime.construct import encode_call
from runtime.primitives.types import Id
from tests.clients.main_job import ALICE, BOB, CHARLIE, DAVE, EVE, VALIDATOR, open_market
from tests.e2e.bad_world import signed
from tests.e2e.rpc_answers import Answers, decode
from tests.e2e.rpc_calls import Calls, Described, described
from tests.e2e.rpc_node import STATES, Fuzzed, fuzzed_node
from tests.e2e.rpc_strangers import HttpStranger, SocketStranger
from tests.e2e.rpc_values import Known, Values
from tests.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROUNDS = int(os.environ.get("OPENLEDGER_RPC_FUZZ_ROUNDS", "6"))
SEED = int(os.environ.get("OPENLEDGER_RPC_FUZZ_SEED", "1"))
DEEP = 10
"""From so many rounds on there is a market on the chain, too."""
MOST_GROWTH = 96 << 20
"""Bytes of memory more than after a first, uncounted round."""
LONG: tuple[Any, ...] = (
    "9" * 1_000_000,
    "0x" + "5f" * 2_000_000,
    "z" * 1_000_000,
    "1" * 1_000_000,
    "é" * 1_000_000,
    " " * 1_000_000,
    "0x" + "00" * 1_000_000,
    "A" * 4_000_000,
    ["0x" + "00" * 500_000] * 8,
    [0] * 90_000,
    {"hash": "0x" + "0" * 1_000_000},
    10**4000,
)
LONGEST_SECONDS = 2.0
"""So long may the node itself compute while it answers one call."""


@dataclass(frozen=True)
class Met:
    """A node, what its methods are, and what is known of its chain."""

    fuzzed: Fuzzed
    document: dict[str, Any]
    methods: list[Described]
    known: Known


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Met]:
    """Start a node; at the end its log must tell of no fault."""
    with fuzzed_node(tmp_path_factory.mktemp("fuzzed")) as fuzzed:
        document = fuzzed.node.call("rpc.discover")
        methods = described(document, fuzzed.node.call("rpc_methods")["methods"])
        yield Met(fuzzed, document, methods, trio.run(_known, fuzzed))
        fuzzed.reaches(max(fuzzed.finalised()) + 3)
        fuzzed.told_no_fault()


def test_no_call_harms_the_node(met: Met) -> None:
    fuzzed = met.fuzzed
    answers = Answers(met.document)
    shapes = met.document["components"]["schemas"]
    assert len(met.methods) > 150

    async def strangers(seed: int, rounds: int) -> None:
        async with trio.open_nursery() as nursery:
            for number, kind in enumerate((HttpStranger, SocketStranger)):
                calls = Calls(met.methods, met.known, shapes, (seed, number))
                stranger = kind(fuzzed.node.port, calls, met.known, answers, seed)
                nursery.start_soon(stranger.run, rounds)

    trio.run(strangers, SEED + 1_000_000, 1)
    before = fuzzed.quiet()
    with fuzzed.on_time():
        trio.run(strangers, SEED, ROUNDS)
    fuzzed.settled(before, MOST_GROWTH)
    assert answers.seen["result"] > 100 * ROUNDS
    assert answers.seen["-32602"] > 50 * ROUNDS


def test_no_long_value_keeps_a_method_at_work(met: Met) -> None:
    answers = Answers(met.document)
    values = Values(met.known, met.document["components"]["schemas"], random.Random(SEED))
    calls = []
    for method in met.methods:
        for position in range(len(method.params)):
            given = [values.right(schema, name) for name, _, schema in method.params]
            for long in LONG if ROUNDS >= DEEP else LONG[:2]:
                params = [*given[:position], long, *given[position + 1 :]]
                calls.append({"jsonrpc": "2.0", "id": 1, "method": method.name, "params": params})
    with met.fuzzed.on_time(), httpx.Client(timeout=PATIENCE) as web:
        for call in calls:
            before = met.fuzzed.computed()
            told = web.post(met.fuzzed.node.http, json=call)
            took = min(told.elapsed.total_seconds(), met.fuzzed.computed() - before)
            shown = f"{call['method']} {[str(param)[:80] for param in call['params']]}"
            assert took < LONGEST_SECONDS, shown
            answers.check(decode(told.content), call["method"], len(told.content))


async def _known(fuzzed: Fuzzed) -> Known:
    """Learn real hashes, keys and extrinsics; submit some."""
    async with NodeClient.connect(fuzzed.node.websocket) as client:
        if ROUNDS >= DEEP:
            await open_market(client)
        raw = []
        for who in (BOB, CHARLIE, EVE):
            nonce = await client.nonce(who.account_id)
            for offset in range(3):
                call = encode_call(
                    "Balances", "transfer_keep_alive", dest=Id(DAVE.account_id), value=10**12
                )
                raw.append(signed(client, call, who, nonce + offset))
            await client.request("author_submitExtrinsic", "0x" + raw[-3].hex())
        keys = await client.request("state_getKeysPaged", "0x", 1000)
        head = await client.best()
        numbers = [0, 1, 2, head.number - STATES, head.number - 1, head.number]
        hashes = [await client.block_hash(number) for number in numbers]
        block = await client.request("chain_getBlock")
    raw += [bytes.fromhex(text[2:]) for text in block["block"]["extrinsics"]]
    return Known(
        hashes=["0x" + (found or b"").hex() for found in hashes] + ["0x" + "77" * 32],
        keys=keys,
        extrinsics=raw,
        accounts=[who.account_id for who in (ALICE, BOB, EVE, VALIDATOR)] + [bytes(32)],
    )
