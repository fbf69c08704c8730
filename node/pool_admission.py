"""Who gets into the pool: replacement, eviction and shares. Decides only; changes nothing."""

from __future__ import annotations

import heapq

from node.errors import PoolReason, PoolRefusal
from node.pool_graph import PoolGraph
from node.pool_types import NEVER, Entry, PoolLimits
from node.runtime_interface import Validity
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.scale import DecodeError, encode
from runtime.primitives.types import MultiAddress

REPLACE_NUMERATOR, REPLACE_DENOMINATOR = 9, 8
UNSIGNED = b""


def signer_of(extrinsic: bytes) -> tuple[bytes, int | None]:
    """Find who signed, and with which nonce; raises InvalidTransaction(MALFORMED)."""
    try:
        signed = UncheckedExtrinsic.decode(extrinsic).signed
    except DecodeError as error:
        raise InvalidTransaction(TransactionReason.MALFORMED, str(error)) from error
    if signed is None:
        return UNSIGNED, None
    account = getattr(signed.address, "account", None)
    sender = account if isinstance(account, bytes) else encode(MultiAddress, signed.address)
    return sender, signed.extensions.nonce


def check_tags(validity: Validity) -> None:
    """Refuse what cannot be ordered; raises PoolRefusal(UNACTIONABLE or CYCLE)."""
    if not validity.provides:
        raise PoolRefusal(PoolReason.UNACTIONABLE)
    if set(validity.provides) & set(validity.requires):
        raise PoolRefusal(PoolReason.CYCLE)


def valid_till(validity: Validity, number: int) -> int:
    """Return the best block's number with which an extrinsic checked at `number` is over."""
    return min(number + validity.longevity, NEVER)


def replaced_by(graph: PoolGraph, entry: Entry) -> list[Entry]:
    """List the entries that a new one replaces.

    Raises PoolRefusal(PRIORITY_TOO_LOW) unless it offers an eighth more than all of them, and
    CYCLE where it stands on one of them.
    """
    rivals = graph.rivals(entry.provides)
    if not rivals:
        return rivals
    old = sum(rival.priority for rival in rivals)
    enough = entry.priority * REPLACE_DENOMINATOR >= old * REPLACE_NUMERATOR
    if not (enough and entry.priority > old):
        needed = max(-(-old * REPLACE_NUMERATOR // REPLACE_DENOMINATOR), old + 1)
        raise PoolRefusal(
            PoolReason.PRIORITY_TOO_LOW, f"priority {entry.priority}, {needed} is needed"
        )
    if {rival.hash for rival in rivals} & graph.ancestors(entry.requires):
        raise PoolRefusal(PoolReason.CYCLE)
    return rivals


def evicted_for(
    graph: PoolGraph, limits: PoolLimits, entry: Entry, rivals: list[Entry]
) -> list[Entry]:
    """List the entries that have to go so that a new one fits, worst first.

    Raises PoolRefusal(SENDER_FULL), or POOL_FULL where that would cost an equal or better one, or
    one that the new entry stands on.
    """
    leaving = {rival.hash for rival in rivals}
    _check_share(graph, limits, entry, leaving)
    count = len(graph.entries) - len(rivals) + 1
    size = graph.bytes - sum(len(rival.data) for rival in rivals) + len(entry.data)
    victims: list[Entry] = []
    if count <= limits.count and size <= limits.bytes:
        return victims
    kept = leaving | graph.ancestors(entry.requires)
    worse = [
        (e.priority, e.ready, -e.order, e)
        for e in graph.entries.values()
        if e.priority < entry.priority and e.hash not in kept
    ]
    heapq.heapify(worse)
    while worse:
        victim = heapq.heappop(worse)[3]
        victims.append(victim)
        count -= 1
        size -= len(victim.data)
        if count <= limits.count and size <= limits.bytes:
            return victims
    raise PoolRefusal(PoolReason.POOL_FULL)


def _check_share(graph: PoolGraph, limits: PoolLimits, entry: Entry, leaving: set[bytes]) -> None:
    own = [e for e in graph.of_sender(entry.sender) if e.hash not in leaving]
    size = sum(len(e.data) for e in own) + len(entry.data)
    if len(own) >= limits.sender_count or size > limits.sender_bytes:
        raise PoolRefusal(PoolReason.SENDER_FULL)
