"""Step five: the session closes, the committee judges, the fee is divided; then all is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from examples.demo.accounting import Balance, Books, keep_books
from examples.demo.journal import Journal
from examples.demo.people import ACCOUNTS, CUSTOMER, VALIDATORS, key, name_of, worker_uri
from examples.demo.sankey import exact
from examples.demo.screen import Screen
from examples.demo.steady import SteadyChain, insist
from node.client.signing import from_uri
from runtime.pallets.attribution.events import CommitteeDrawn


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every account's balance at one block, and all units that exist."""

    block: int
    balances: Mapping[bytes, Balance]
    issuance: int


async def snapshot(chain: SteadyChain, block: int) -> Snapshot:
    """Read all accounts at a final block."""
    at = await insist(lambda: chain.client.block_hash(block))
    balances = {}
    workers = [from_uri(worker_uri(validator)).account_id for validator in VALIDATORS]
    for account in (*ACCOUNTS, *workers):
        balances[account] = await _balance(chain, account, at)
    issuance = await insist(lambda: chain.client.storage("Balances", "TotalIssuance", at=at))
    return Snapshot(block, balances, issuance)


async def _balance(chain: SteadyChain, account: bytes, at: bytes | None) -> Balance:
    info = await insist(lambda: chain.client.storage("System", "Account", account, at=at))
    return Balance(info.data.free, info.data.reserved)


@dataclass(frozen=True, slots=True)
class Judges:
    """Who judged the batches; self_attested: it was the executor's own validator."""

    names: tuple[str, ...]
    self_attested: bool


async def close(chain: SteadyChain, journal: Journal, session: int, screen: Screen) -> Judges:
    """Close the session and wait for its last batch; tells who judged.

    Raises RuntimeError where a batch is void.
    """
    await chain.by(key(CUSTOMER)).call(
        "Inference", "close_session", "SessionClosing", session=session
    )
    with screen.waiting("the worker submits its receipts"):
        await journal.until("Inference", "SessionClosed", lambda e: e.session == session)
    batches = [e.batch for _, e in journal.events("Inference", "ReceiptsSubmitted")]
    if not batches:
        raise RuntimeError("the worker submitted no receipts before the session closed")
    drawn = [await _settled(journal, batch, screen) for batch in batches]
    names = dict.fromkeys(name_of(seat) for found in drawn for seat in found.seats)
    return Judges(tuple(names), any(found.self_attested for found in drawn))


async def _settled(journal: Journal, batch: int, screen: Screen) -> CommitteeDrawn:
    """Wait until a batch's fee is divided; returns who judged it."""

    def same(event: Any) -> bool:
        return bool(event.batch == batch)

    block, drawn = await journal.until("Attribution", "CommitteeDrawn", same)
    found: CommitteeDrawn = drawn
    names = ", ".join(map(name_of, drawn.seats))
    whose = "its own (self-attested)" if drawn.self_attested else names or "not audited"
    screen.note(f"block {block}: committee drawn, {whose}; receipts {list(drawn.receipts)}")
    with screen.waiting("commit, reveal, dispute window"):
        await _judged(journal, batch)
    block, settled = await journal.until("Inference", "Settled", same)
    screen.note(f"block {block}: {exact(settled.compute + settled.premium)} OPEN are settled")
    return found


async def _judged(journal: Journal, batch: int) -> None:
    def over(event: object) -> bool:
        return getattr(event, "batch", None) == batch

    seen = 0
    while True:
        for entry in journal.happened[seen:]:
            name = entry.record.name
            if name in ("Settled", "BatchVoided") and over(entry.record.event):
                if name == "BatchVoided":
                    raise RuntimeError(f"the committee did not confirm batch {batch}")
                return
        seen = len(journal.happened)
        await journal.until_block(journal.height + 1)


def books_until(journal: Journal, session: int, block: int) -> Books:
    """Keep the books of all events up to a block."""
    happened = [entry for entry in journal.happened if entry.block <= block]
    return keep_books(happened, session, journal.authors.__getitem__)
