"""Committee material over the node's networks: the simulated one, and libp2p over real TCP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio

from node.client.material import MOST_ANSWER_BYTES, open_answer
from node.committee_gate import CommitteeGate
from node.network.interface import Network
from node.network.simulated import Conditions, Ether
from node.private_exchange import Found, PrivateExchange
from tests.node.committee_world import (
    EXECUTOR,
    GENESIS,
    STRANGER,
    JudgedChain,
    libp2p_line,
    signed,
    told,
    wanted,
)
from tests.patience import PATIENCE

LARGE = bytes(MOST_ANSWER_BYTES - 256)
Made = tuple[Sequence[Network], Sequence[PrivateExchange]]
Make = Callable[[], Awaitable[Made]]


@pytest.fixture(params=["simulated", pytest.param("libp2p", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest, tmp_path: Path, nursery: trio.Nursery) -> Make:
    """Make three nodes; the middle one has both others for peers, which do not have each other."""
    networks = {"simulated": _simulated, "libp2p": _libp2p}[request.param]

    async def start() -> Made:
        made = await networks(tmp_path, nursery)
        chain = JudgedChain()
        exchanges = [PrivateExchange(CommitteeGate(chain), network) for network in made]
        for exchange in exchanges:
            await nursery.start(exchange.run)
        with trio.fail_after(PATIENCE):
            while [len(network.peers()) for network in made] != [1, 2, 1]:
                await trio.sleep(0.02)
        return made, exchanges

    return start


async def _simulated(folder: Path, nursery: trio.Nursery) -> Sequence[Network]:
    ether = Ether(7, Conditions(latency=(0.0, 0.01)))
    await nursery.start(ether.run)
    made = [ether.node(name) for name in ("member", "middle", "executor")]
    ether.cut("member", "executor")
    for network in made:
        await nursery.start(network.run)
    return made


async def _libp2p(folder: Path, nursery: trio.Nursery) -> Sequence[Network]:
    return await libp2p_line(folder, GENESIS, nursery, "member", "middle", "executor")


async def test_a_mebibyte_comes_back_through_a_node_between(make: Make) -> None:
    _, (member, _, executor) = await make()
    request = wanted()

    def deliver(number: str, data: bytes) -> None:
        assert executor.inboxes.answer(number, told(request, LARGE))

    executor.inboxes.open(EXECUTOR.account_id, deliver)
    with trio.fail_after(PATIENCE):
        found = await member.ask(signed(request))
    assert found.answer is not None
    assert open_answer(found.answer, request, EXECUTOR.account_id) == LARGE


async def test_a_forger_is_told_nothing_and_is_no_peer_any_more(make: Make) -> None:
    (member_node, middle, _), (member, carrier, _) = await make()
    request = wanted()
    found = await member.ask(signed(request))
    assert found == Found(None, 1)
    assert [peer.score for peer in middle.peers()] == [0, 0]
    reply = await member._from_peer(middle.id, b"\0" + signed(wanted(), STRANGER))
    assert reply == b""
    with trio.fail_after(PATIENCE):
        while member_node.id in [peer.id for peer in middle.peers()]:
            await trio.sleep(0.02)
    assert carrier.counts["refused"] == 1
