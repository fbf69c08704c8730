"""Sums over a session's rows, read once and then kept up to date."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from inference.worker.book_rows import VoucherState


@dataclass(slots=True)
class Totals:
    """The highest nonce taken; planck of all receipts that are not void, and of open vouchers."""

    last_nonce: int
    charged: int
    reserved: int


class SessionTotals:
    """The totals of the sessions that were asked for."""

    def __init__(self) -> None:
        self._known: dict[int, Totals] = {}

    def of(self, rows: sqlite3.Connection, session: int) -> Totals:
        """Return a session's totals; who changes its rows changes them too."""
        totals = self._known.get(session)
        if totals is None:
            totals = self._known[session] = _read(rows, session)
        return totals

    def forget(self, session: int) -> None:
        """Have a session's totals read anew."""
        self._known.pop(session, None)


def _read(rows: sqlite3.Connection, session: int) -> Totals:
    taken = rows.execute(
        "SELECT nonce, max_fee, state FROM vouchers WHERE session = ?", (session,)
    ).fetchall()
    costs = rows.execute(
        "SELECT cost FROM receipts LEFT JOIN submissions ON submission = submissions.id "
        "WHERE receipts.session = ? AND COALESCE(void, 0) = 0",
        (session,),
    ).fetchall()
    return Totals(
        last_nonce=max((nonce for nonce, _, _ in taken), default=0),
        charged=sum(int(cost) for (cost,) in costs),
        reserved=sum(int(fee) for _, fee, state in taken if state == VoucherState.OPEN),
    )
