"""Figures of the agreement, the network, the exchanges and JSON-RPC, read when asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from consensus.core.participant import Participant
from consensus.engine.engine import Engine
from node.blob_exchange import BlobExchange
from node.network.interface import Network
from node.private_exchange import PrivateExchange
from node.rpc.server import RpcServer


def agreement_figures(agreement: Engine) -> Iterator[Metric]:
    """Yield where the agreement stands; nothing before it runs."""
    core = agreement.core
    if not isinstance(core, Participant):
        return
    status = core.status()
    for name, text, value in (
        ("openledger_consensus_epoch", "Epoch of the agreement", status.epoch),
        ("openledger_consensus_view", "View of the agreement", status.view),
        ("openledger_consensus_final_view", "Last final view of the epoch", status.final_view),
        ("openledger_consensus_signing", "1 where this validator votes", int(core.signing)),
        (
            "openledger_consensus_catching_up",
            "1 while final blocks are fetched in ranges",
            int(core.catch_up is not None),
        ),
    ):
        yield GaugeMetricFamily(name, text, value=value)


def network_figures(network: Network) -> Iterator[Metric]:
    """Yield peers and traffic."""
    counters = network.counters
    yield GaugeMetricFamily(
        "substrate_sub_libp2p_peers_count", "Connected peers", value=len(network.peers())
    )
    traffic = CounterMetricFamily(
        "substrate_sub_libp2p_network_bytes", "Bytes by direction", labels=["direction"]
    )
    traffic.add_metric(["in"], sum(t.bytes_in for t in counters.channels.values()))
    traffic.add_metric(["out"], sum(t.bytes_out for t in counters.channels.values()))
    yield traffic
    messages = CounterMetricFamily(
        "openledger_network_messages", "Messages", labels=["channel", "direction"]
    )
    for channel, t in counters.channels.items():
        messages.add_metric([channel.name.lower(), "in"], t.messages_in)
        messages.add_metric([channel.name.lower(), "out"], t.messages_out)
        messages.add_metric([channel.name.lower(), "dropped"], t.dropped_in + t.dropped_out)
    yield messages
    for name, text, value in (
        ("openledger_network_dials_failed", "Calls that failed", counters.dials_failed),
        ("openledger_network_refused_hellos", "Greetings refused", counters.refused_hellos),
        ("openledger_network_bans", "Peers banned", counters.bans),
        ("openledger_network_requests_failed", "Requests unanswered", counters.requests_failed),
    ):
        yield CounterMetricFamily(name, text, value=value)


def exchange_figures(blobs: BlobExchange, private: PrivateExchange) -> Iterator[Metric]:
    """Yield what was exchanged beside blocks."""
    for name, text, number in (
        ("openledger_blobs_missing", "Declared blobs that are not here", blobs.missing),
        ("openledger_blobs_complete", "Declared blobs that are here", blobs.complete),
    ):
        yield GaugeMetricFamily(name, text, value=number)
    counters = blobs.counters
    for name, text, number in (
        ("openledger_blobs_fetched_bytes", "Bytes fetched", counters.bytes_fetched),
        ("openledger_blobs_served_bytes", "Bytes served", counters.bytes_served),
        ("openledger_blobs_failed", "Fetches that failed", counters.fetches_failed),
    ):
        yield CounterMetricFamily(name, text, value=number)
    for name, text, figure in private.figures():
        yield GaugeMetricFamily(name, text, value=figure)


def rpc_figures(server: RpcServer) -> Iterator[Metric]:
    """Yield who talks to the node, which methods they call, and what waits for a turn."""
    sessions = server.sessions
    yield GaugeMetricFamily(
        "substrate_rpc_connections", "Open JSON-RPC connections", value=server.connections
    )
    yield GaugeMetricFamily(
        "openledger_rpc_subscriptions", "Open subscriptions", value=server.subscriptions
    )
    for name, text, value in (
        ("substrate_rpc_sessions_opened", "Connections taken", sessions.opened),
        ("substrate_rpc_sessions_closed", "Connections that ended", sessions.closed),
        ("openledger_rpc_sessions_refused", "Connections turned away", sessions.refused),
    ):
        yield CounterMetricFamily(name, text, value=value)
    finished = CounterMetricFamily(
        "substrate_rpc_calls_finished", "Calls answered", labels=["method", "is_error"]
    )
    seconds = CounterMetricFamily(
        "openledger_rpc_calls_seconds", "Time from call to answer", labels=["method"]
    )
    for method, calls in server.dispatcher.calls.items():
        if calls.count:
            finished.add_metric([method, "false"], calls.count - calls.failures)
            finished.add_metric([method, "true"], calls.failures)
            seconds.add_metric([method], calls.seconds)
    yield finished
    yield seconds
    waiting = GaugeMetricFamily(
        "openledger_rpc_waiting", "Calls that wait for a turn", labels=["work"]
    )
    refused = CounterMetricFamily(
        "openledger_rpc_refused", "Calls that found no place to wait", labels=["work"]
    )
    for work, turns in server.dispatcher.turns.items():
        waiting.add_metric([work.name.lower()], turns.waiting)
        refused.add_metric([work.name.lower()], turns.refused)
    yield waiting
    yield refused
