"""Where every unit went: what the chain's events say must explain what the balances show.

Amounts are planck. A total is what is free and what is held together, so a bond or a stake moves
nothing of it; `held` follows the bonds, stakes, deposits and escrows by themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from examples.demo.journal import Happened
from runtime.frame.currency import STAKERS, TREASURY
from runtime.pallets.datanets.pallet import Datanets
from runtime.pallets.inference.pallet import POT, Inference
from runtime.pallets.transaction_payment.pallet import AUTHOR_PERCENT, BURN_PERCENT
from runtime.protocols.settlement import Role

POTS = {Role.TREASURY: TREASURY, Role.STAKERS: STAKERS, Role.AUDIT_POT: POT, Role.UPKEEP: POT}
NAMES = {TREASURY: "treasury", STAKERS: "stakers' pot", POT: "inference pot"}


class NotConserved(Exception):
    """Money appeared or vanished: the sums of the demo contradict each other."""


@dataclass(frozen=True, slots=True)
class Balance:
    """An account at one block."""

    free: int
    held: int

    @property
    def total(self) -> int:
        """Free and held."""
        return self.free + self.held


@dataclass(frozen=True, slots=True)
class Paid:
    """One payment of a settled batch; without an account it was burned."""

    role: Role
    account: bytes | None
    datanet: int | None
    amount: int


@dataclass(slots=True)
class Moves:
    """Why one account's total changed, and what is held of it."""

    received: int = 0
    spent: int = 0
    transaction_fees: int = 0
    author_fees: int = 0
    held: int = 0
    unclaimed: int = 0

    @property
    def change(self) -> int:
        """The change of the total."""
        return (
            self.received - self.spent - self.transaction_fees + self.author_fees - self.unclaimed
        )


@dataclass(slots=True)
class Books:
    """The session's payments and every account's moves."""

    session: int
    customer: bytes = b""
    escrow: int = 0
    refund: int = 0
    compute: int = 0
    premium: int = 0
    payments: list[Paid] = field(default_factory=list)
    moves: defaultdict[bytes, Moves] = field(default_factory=lambda: defaultdict(Moves))
    burned: int = 0

    @property
    def fee(self) -> int:
        """What the customer was charged, before what unmatched premium gave back."""
        return self.compute + self.premium


def keep_books(
    happened: Iterable[Happened], session: int, author_of: Callable[[int], bytes]
) -> Books:
    """Read a session's payments, and why balances moved, out of all events since genesis.

    author_of: who made a block, and has half of its fees.
    """
    books = Books(session)
    claimed: defaultdict[bytes, int] = defaultdict(int)
    batches: set[int] = set()
    for entry in happened:
        event = entry.record.event
        match entry.record.pallet, entry.record.name:
            case "TransactionPayment", "TransactionFeePaid":
                _transaction_fee(books, event, author_of(entry.block))
            case "Inference", name:
                _inference(books, name, event, batches, claimed)
            case "Datanets" | "Models" as pallet, name:
                _bond(books, pallet, name, event)
            case _:
                pass
    for payment in books.payments:
        _receive(books, payment)
    for account, amount in claimed.items():
        books.moves[account].unclaimed -= amount
        books.moves[POT].received -= amount
    for account, moves in books.moves.items():
        if account not in NAMES:
            moves.unclaimed += sum(
                p.amount for p in books.payments if p.account == account and p.role != Role.REFUND
            )
    return books


def _transaction_fee(books: Books, event: Any, author: bytes) -> None:
    """Divide a fee as the chain does: half to the author, a fifth burned, the rest to treasury."""
    rest = event.actual_fee - event.tip
    burned = rest * BURN_PERCENT // 100
    to_author = event.tip + rest * AUTHOR_PERCENT // 100
    books.moves[event.who].transaction_fees += event.actual_fee
    books.moves[author].author_fees += to_author
    books.moves[TREASURY].received += event.actual_fee - to_author - burned
    books.burned += burned


def _inference(
    books: Books, name: str, event: Any, batches: set[int], claimed: defaultdict[bytes, int]
) -> None:
    if name == "WorkerRegistered":
        books.moves[event.validator].held += Inference.worker_deposit.value
    elif name == "Claimed":
        claimed[event.who] += event.amount
    elif name == "Paid":
        if event.batch not in batches:
            raise NotConserved(f"batch {event.batch} was paid before it was submitted")
        books.payments.append(Paid(event.role, event.account, event.datanet, event.amount))
    elif getattr(event, "session", books.session) != books.session:
        raise NotConserved(f"session {event.session} is not the demo's")
    elif name == "SessionOpened":
        books.customer, books.escrow = event.customer, event.escrow
        books.moves[event.customer].held += event.escrow
    elif name == "SessionToppedUp":
        books.escrow += event.amount
        books.moves[books.customer].held += event.amount
    elif name == "ReceiptsSubmitted":
        batches.add(event.batch)
    elif name == "Settled":
        books.compute += event.compute
        books.premium += event.premium
        books.moves[books.customer].held -= event.compute + event.premium
        books.moves[books.customer].spent += event.compute + event.premium
    elif name == "BatchVoided" or name == "SessionClosed":
        books.refund += event.refunded
        books.moves[books.customer].held -= event.refunded


def _bond(books: Books, pallet: str, name: str, event: Any) -> None:
    """Follow what is held of contributors, owners, builders and backers."""
    match pallet, name:
        case "Datanets", "Created":
            books.moves[event.owner].held += Datanets.creation_deposit.value
        case "Datanets", "BatchSubmitted":
            books.moves[event.contributor].held += event.bond
        case "Datanets", "BatchRejected" | "BondReleased" | "RecordRedundant" | "FlagResolved":
            raise NotConserved(f"the demo never expects {name}")
        case "Models", "Proposed":
            books.moves[event.owner].held += event.stake
        case "Models", "Backed":
            books.moves[event.backer].held += event.amount
        case "Models", "Unbacked":
            books.moves[event.backer].held -= event.amount
        case _:
            pass


def _receive(books: Books, payment: Paid) -> None:
    if payment.role == Role.BURN:
        books.burned += payment.amount
    elif payment.role in POTS:
        books.moves[POTS[payment.role]].received += payment.amount
    elif payment.account is None:
        raise NotConserved(f"a payment for {payment.role.name} has no account")
    else:
        books.moves[payment.account].received += payment.amount
        if payment.role != Role.REFUND:
            books.moves[POT].received += payment.amount


def check(
    books: Books,
    before: Mapping[bytes, Balance],
    after: Mapping[bytes, Balance],
    issuance: tuple[int, int],
) -> None:
    """Check that every unit of the fee, and of every balance, is explained; raises NotConserved."""
    _same("payments", sum(p.amount for p in books.payments), books.fee)
    _same("refund and fee", books.refund + books.fee, books.escrow)
    _same("the issuance", issuance[0] - issuance[1], books.burned)
    unknown = {account.hex() for account in books.moves if account not in before}
    if unknown:
        raise NotConserved(f"accounts moved that nobody looked at: {sorted(unknown)}")
    for account, old in before.items():
        new, moves = after[account], books.moves[account]
        name = NAMES.get(account, account.hex())
        _same(f"the total of {name}", new.total - old.total, moves.change)
        _same(f"what is held of {name}", new.held - old.held, moves.held)


def _same(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise NotConserved(
            f"{what}: {found} planck, but the events explain {expected} ({found - expected:+d})"
        )
