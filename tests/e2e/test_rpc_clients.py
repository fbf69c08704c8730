"""A hundred clients with all kinds of subscriptions: blocks go on, and everybody hears of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from benches.rpc_clients import measure

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CLIENTS = 100


def test_blocks_go_on_under_a_hundred_clients_who_all_hear_of_them(tmp_path: Path) -> None:
    run = measure(CLIENTS, 6.0, 1, tmp_path, settle=0.5, blocks=6)
    failures = [failure for heard in run.heard for failure in heard.failures]
    assert not failures
    final = sorted(run.within(run.final))[1:-1]
    assert len(final) >= 2
    for number in final:
        assert sum(len(heard.new[number]) for heard in run.heard) == CLIENTS
        assert sum(len(heard.final[number]) for heard in run.heard) == CLIENTS
    hashes = {number: block_hash for block_hash, number in run.numbers.items()}
    for number in final:
        told = sum(len(heard.followed[hashes[number]]) for heard in run.heard)
        assert told == CLIENTS // 2
    assert sum(heard.stored for heard in run.heard) >= CLIENTS // 2 * len(final)
    assert sum(len(heard.reads) for heard in run.heard) >= CLIENTS // 10
