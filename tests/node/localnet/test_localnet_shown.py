"""What is shown of a local network: figures as the nodes tell them, and who has ended, and why."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import pytest
from rich.console import Console

from node.localnet.child import Child
from node.localnet.figures import Figures, parse_figures
from node.localnet.plan import Member, Ports
from node.localnet.table import line, table
from node.localnet.watch import Row, Watched, look_at_all, watching_client
from tests.e2e.network_world import wait_until
from tests.patience import PATIENCE
from tests.ports import free_ports

METRICS = """\
# TYPE substrate_block_height gauge
substrate_block_height{status="best"} 12.0
substrate_block_height{status="finalized"} 11.0
# TYPE openledger_finality_age_seconds gauge
openledger_finality_age_seconds 0.25
# TYPE substrate_sub_libp2p_peers_count gauge
substrate_sub_libp2p_peers_count 3.0
"""
AGREEING = """\
# TYPE openledger_consensus_epoch gauge
openledger_consensus_epoch 2.0
# TYPE openledger_consensus_view gauge
openledger_consensus_view 7.0
# TYPE openledger_consensus_signing gauge
openledger_consensus_signing 1.0
"""
FIGURES = Figures(12, 11, 0.25, 3, 2, 7, True)
DEAD = Row("bob", 9945, None, -signal.SIGKILL, news="block finalised number=9")


def test_figures_are_read_from_metrics_with_and_without_an_agreement() -> None:
    assert parse_figures(METRICS) == Figures(12, 11, 0.25, 3)
    assert parse_figures(METRICS + AGREEING) == FIGURES
    with pytest.raises(ValueError, match="no figure"):
        parse_figures("")


def test_a_line_tells_heights_views_and_who_has_ended() -> None:
    rows = [Row("alice", 9944, 7, None, figures=FIGURES), DEAD]
    told = line(rows, 10.2)
    assert told == (
        "10 s  final 11  epoch 2 view 7  1 of 2 nodes sign  "
        "bob was ended by SIGKILL: block finalised number=9"
    )
    assert "nobody answers yet" in line([Row("alice", 9944, 7, None)], 1)
    ended = Row("carl", 1, None, 1, news="openledger: port 9946 is in use")
    assert "carl ended with status 1: openledger: port 9946 is in use" in line([ended], 1)


def test_the_table_names_every_process_and_the_last_words_of_the_dead() -> None:
    worker = Row("alice-worker", 8000, 9, None, is_node=False, cpu=3.0, memory=5 << 20)
    rows = [Row("alice", 9944, 7, None, figures=FIGURES, cpu=12.0, memory=99 << 20), DEAD, worker]
    shown = io.StringIO()
    Console(file=shown, width=140).print(table(rows, "network", "caption"))
    text = shown.getvalue()
    for part in ("2/7", "12 %", "99 MiB", "0 s", "yes", "ended", "alice-worker", "5 MiB"):
        assert part in text
    assert "bob was ended by SIGKILL: block finalised number=9" in text
    assert "caption" in text


async def test_a_process_that_is_no_node_is_seen_running_and_then_ended(tmp_path: Path) -> None:
    code = "import signal; print('one'); print('last words', flush=True); signal.pause()"
    child = Child("sleeper", [sys.executable, "-c", code], tmp_path / "logs" / "log")
    one = Watched(child, Member("sleeper", tmp_path, Ports(*free_ports(4))))
    async with watching_client() as client:
        child.start()
        try:
            (running,) = await look_at_all([one], client)
            assert (running.pid, running.figures) == (child.pid, None)
            assert running.memory is not None
            wait_until(lambda: child.last_line() == "last words", PATIENCE, "it speaks")
        finally:
            child.kill()
        (ended,) = await look_at_all([one], client)
    assert (ended.pid, ended.status, ended.news) == (None, -signal.SIGKILL, "last words")
