"""Whom a node calls, and what it makes of calls that fail."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from node.network.addresses import Address
from node.network.book import Book
from node.network.dialing import Dialer, Situation
from node.network.reserved import Reserved
from node.network.settings import NetworkSettings
from node.network.wire.host import DialFailed

PEER = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
HERE = Address.parse(f"/ip4/127.0.0.1/tcp/20001/p2p/{PEER}")
THERE = Address.parse(f"/ip4/127.0.0.1/tcp/20002/p2p/{PEER}")


class Losing:
    """Every call fails; with `meets`, because the peer called us at the same time."""

    def __init__(self, *, meets: bool) -> None:
        self.connected: frozenset[str] = frozenset()
        self.ports: list[int] = []
        self._meets = meets

    async def dial(self, host: str, port: int, peer: str) -> None:
        self.ports.append(port)
        if self._meets:
            self.connected = frozenset({peer})
        raise DialFailed("the other end closed it")

    def situation(self) -> Situation:
        return Situation(self.connected, 0, frozenset())


@pytest.mark.parametrize("meets", [False, True])
async def test_only_a_peer_that_is_not_there_failed(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, meets: bool
) -> None:
    book = Book(tmp_path / "peers.json", trio.current_time)
    book.add(THERE)
    book.add(HERE)
    calls = Losing(meets=meets)
    settings = NetworkSettings(tmp_path, bytes(32))
    counted: list[bool] = []
    dialer = Dialer(settings, Reserved(), book, calls, "ours", calls.situation, counted.append)
    with trio.move_on_after(0.3):
        await dialer.run()
    known = book.peers()[PEER]
    if meets:
        assert calls.ports == [20001]
        assert (known.failures, known.addresses) == (0, [str(HERE), str(THERE)])
    else:
        assert calls.ports == [20001, 20002]
        assert (known.failures, known.addresses) == (1, [str(THERE), str(HERE)])
    assert counted == [False] * len(calls.ports)
