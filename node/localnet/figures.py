"""How a node fares, read from its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one node at one moment; age: seconds since a block became final.

    epoch, view and signing are None as long as the node does not take part.
    """

    best: int
    final: int
    age: float
    peers: int
    epoch: int | None = None
    view: int | None = None
    signing: bool | None = None
    catching_up: bool = False


def parse_figures(text: str) -> Figures:
    """Read the text of `/metrics`; raises ValueError where it lacks the chain's height."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name + sample.labels.get("status", "")] = sample.value
    try:
        return Figures(
            best=int(found["substrate_block_heightbest"]),
            final=int(found["substrate_block_heightfinalized"]),
            age=found["openledger_finality_age_seconds"],
            peers=int(found.get("substrate_sub_libp2p_peers_count", 0)),
            epoch=_whole(found, "openledger_consensus_epoch"),
            view=_whole(found, "openledger_consensus_view"),
            signing=_truth(found, "openledger_consensus_signing"),
            catching_up=bool(found.get("openledger_consensus_catching_up")),
        )
    except KeyError as error:
        raise ValueError(f"no figure {error} among the metrics") from None


def _whole(found: Mapping[str, float], name: str) -> int | None:
    return int(found[name]) if name in found else None


def _truth(found: Mapping[str, float], name: str) -> bool | None:
    return bool(found[name]) if name in found else None


async def fetch_figures(client: httpx.AsyncClient, host: str, port: int) -> Figures | None:
    """Ask a node; None where it gives no answer."""
    try:
        response = await client.get(f"http://{host}:{port}/metrics")
        return parse_figures(response.text)
    except (httpx.HTTPError, ValueError):
        return None
