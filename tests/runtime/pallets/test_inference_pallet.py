from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dev_chain import ENDOWMENT, OPEN, ROOT, DevChain, account, keys
from market import HOT, PRICE, QUERY, WORKER, answer, prepared, vouch

from runtime import executive
from runtime.construct import CALLS
from runtime.frame.currency import HoldReason
from runtime.frame.errors import DispatchError, TokenError
from runtime.frame.origin import Signed
from runtime.pallets.attribution.pallet import Error as DutyError
from runtime.pallets.attribution.types import Opening
from runtime.pallets.inference.pallet import (
    Error,
    ReceiptsSubmitted,
    SessionClosed,
    SessionClosing,
    SessionOpened,
    SessionToppedUp,
    WorkerRetired,
    WorkerUpdated,
    ownership_message,
)
from runtime.primitives.errors import InvalidTransaction, TransactionReason
from runtime.protocols import merkle
from runtime.protocols.batch import Entry, ReceiptBatch, leaves, summarise
from runtime.protocols.committee import Attestation, Verdict, commitment
from runtime.protocols.ids import RecordId
from runtime.protocols.report import ClusterWeight

EVE = account("Eve")
KEY = WORKER.account_id
AS_WORKER = Signed(KEY)
SECOND = keys("second", "ed25519")


@pytest.fixture
def market() -> DevChain:
    """Return a chain with a model, a worker and Eve's session 0."""
    chain = prepared()
    chain.call("Eve", "Inference", "open_session", **session())
    return chain


def session(**changes: Any) -> dict[str, Any]:
    return {
        "model": 0,
        "executor": KEY,
        "voucher_key": HOT.account_id,
        "escrow": 10 * OPEN,
        "max_fee": OPEN,
        "ttl": 100,
        **changes,
    }


def registration(chain: DevChain, who: str = "Alice", **changes: Any) -> dict[str, Any]:
    genesis = chain.runtime.system.block_hash[0]
    message = ownership_message(genesis, SECOND.account_id, account(who))
    return {
        "key": SECOND.account_id,
        "proof": SECOND.sign(message),
        "endpoint": b"http://second",
        "models": (),
        "capacity": 1,
        **changes,
    }


@pytest.mark.parametrize(
    ("who", "changes", "error"),
    [
        ("Bob", {}, Error.NOT_VALIDATOR),
        ("Alice", {"key": KEY}, Error.WORKER_KNOWN),
        ("Alice", {"key": HOT.account_id}, Error.BAD_PROOF),
        ("Alice", {"endpoint": b""}, Error.BAD_ENDPOINT),
        ("Alice", {"endpoint": b"x" * 257}, Error.BAD_ENDPOINT),
        ("Alice", {"endpoint": b"\xff"}, Error.BAD_ENDPOINT),
        ("Alice", {"models": tuple(range(65))}, Error.TOO_MANY_MODELS),
    ],
)
def test_a_worker_that_breaks_a_rule_is_not_registered(
    market: DevChain, who: str, changes: dict[str, Any], error: Error
) -> None:
    arguments = registration(market, "Alice", **changes)
    market.assert_refused(error, who, "Inference", "register_worker", **arguments)


def test_a_proof_for_one_validator_serves_no_other(market: DevChain) -> None:
    stolen = registration(market, "Bob")
    market.assert_refused(Error.BAD_PROOF, "Alice", "Inference", "register_worker", **stolen)


def test_a_worker_is_updated_and_retired_by_its_validator(market: DevChain) -> None:
    update = {"key": KEY, "endpoint": b"http://new", "models": (7,), "capacity": 3}
    assert market.call("Alice", "Inference", "update_worker", **update) == [
        WorkerUpdated(KEY, b"http://new")
    ]
    wrong = Error.NOT_WORKERS_VALIDATOR
    market.assert_refused(wrong, "Bob", "Inference", "update_worker", **update)
    market.assert_refused(wrong, "Bob", "Inference", "retire_worker", key=KEY)
    market.assert_refused(Error.MODEL_NOT_SERVED, "Eve", "Inference", "open_session", **session())
    unknown = {**update, "key": SECOND.account_id}
    market.assert_refused(Error.UNKNOWN_WORKER, "Alice", "Inference", "update_worker", **unknown)
    free = market.free("Alice")
    made = market.call("Alice", "Inference", "retire_worker", key=KEY)
    assert made[-1] == WorkerRetired(KEY)
    assert market.free("Alice") == free + market.runtime.inference.worker_deposit
    assert KEY not in market.runtime.system.account
    market.check()


def test_a_worker_with_open_batches_retires_later(market: DevChain) -> None:
    submit(market, entries_of(market, 1))
    assert market.call("Alice", "Inference", "retire_worker", key=KEY) == []
    market.assert_refused(Error.WORKER_BUSY, "Alice", "Inference", "retire_worker", key=KEY)
    market.assert_refused(Error.WORKER_RETIRING, "Eve", "Inference", "open_session", **session())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"model": 1}, Error.UNKNOWN_MODEL),
        ({"executor": EVE}, Error.UNKNOWN_WORKER),
        ({"escrow": OPEN // 100 - 1, "max_fee": 1}, Error.BAD_ESCROW),
        ({"max_fee": 0}, Error.BAD_ESCROW),
        ({"max_fee": 10 * OPEN + 1}, Error.BAD_ESCROW),
        ({"ttl": 9}, Error.BAD_TTL),
        ({"ttl": 100_001}, Error.BAD_TTL),
        ({"escrow": 2**128 - 1}, TokenError.FUNDS_UNAVAILABLE),
    ],
)
def test_a_session_that_breaks_a_rule_is_not_opened(
    market: DevChain, changes: dict[str, Any], error: Any
) -> None:
    market.assert_refused(error, "Eve", "Inference", "open_session", **session(**changes))


def test_a_session_holds_its_escrow(market: DevChain) -> None:
    made = market.call("Eve", "Inference", "open_session", **session())
    assert made[-1] == SessionOpened(1, EVE, 0, KEY, 10 * OPEN)
    made = market.call("Eve", "Inference", "top_up", session=1, amount=5)
    assert made[-1] == SessionToppedUp(1, 5)
    assert market.runtime.balances.held(HoldReason.SESSION_ESCROW, EVE) == 20 * OPEN + 5
    market.check()


@pytest.mark.parametrize(("name", "more"), [("top_up", {"amount": 1}), ("close_session", {})])
def test_the_customer_alone_rules_an_open_session(
    market: DevChain, name: str, more: dict[str, Any]
) -> None:
    call = ("Inference", name)
    market.assert_refused(Error.NOT_CUSTOMER, "Bob", *call, session=0, **more)
    market.assert_refused(Error.UNKNOWN_SESSION, "Eve", *call, session=1, **more)
    market.call("Eve", "Inference", "close_session", session=0)
    market.assert_refused(Error.SESSION_NOT_OPEN, "Eve", *call, session=0, **more)


def test_a_closed_session_refunds_what_was_not_spent(market: DevChain) -> None:
    number = market.runtime.system.number.get()
    submit_window = market.runtime.inference.windows.get().submit
    made = market.call("Eve", "Inference", "close_session", session=0)
    assert made == [SessionClosing(0, number + submit_window)]
    market.assert_refused(Error.NOT_DUE, "Bob", "Inference", "force_close", session=0)
    market.run_to_block(number + submit_window)
    made_block = market.make_block()
    assert made_block.named("SessionClosed") == [SessionClosed(0, 10 * OPEN)]
    assert market.free("Eve") == ENDOWMENT
    late = submission(market, entries_of(market, 1))
    market.assert_refused(Error.TOO_LATE, AS_WORKER, "Inference", "submit_receipts", **late)


def entries_of(
    chain: DevChain, *nonces: int, tokens: int = 20, matched: bool = True
) -> list[Entry]:
    genesis = chain.runtime.system.block_hash[0]
    return [answer(genesis, 0, nonce, tokens, matched) for nonce in nonces]


def submission(
    chain: DevChain, entries: list[Entry], changes: dict[str, Any] | None = None, **vouching: Any
) -> dict[str, Any]:
    genesis = chain.runtime.system.block_hash[0]
    authorised = vouching.pop("authorised", 10 * OPEN)
    nonce = vouching.pop("nonce", entries[-1].receipt.nonce)
    arguments: dict[str, Any] = {
        "session": 0,
        "batch": replace(summarise(entries), **(changes or {})),
        "voucher": vouch(
            vouching.get("genesis", genesis), vouching.get("session", 0), nonce, authorised
        ),
    }
    return arguments


def submit(chain: DevChain, entries: list[Entry]) -> int:
    made = chain.call(AS_WORKER, "Inference", "submit_receipts", **submission(chain, entries))
    submitted = made[-1]
    assert isinstance(submitted, ReceiptsSubmitted)
    return submitted.batch


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"first_nonce": 0}, Error.NONCE_SETTLED),
        ({"count": 0}, Error.BAD_TOTALS),
        ({"count": 3}, Error.BAD_TOTALS),
        ({"last_nonce": 0}, Error.BAD_TOTALS),
        ({"premium": 80 * PRICE.premium + 1}, Error.BAD_TOTALS),
        ({"compute": 10**30}, Error.BAD_TOTALS),
        ({"compute": 0}, Error.BAD_TOTALS),
        ({"unmatched": 10**30}, Error.BAD_TOTALS),
        ({"unmatched": 80 * PRICE.premium}, Error.BAD_CLUSTERS),
        ({"clusters": ()}, Error.BAD_CLUSTERS),
        ({"clusters": (ClusterWeight(RecordId(0, 1), 999_999),)}, Error.BAD_CLUSTERS),
        ({"clusters": (ClusterWeight(RecordId(0, 6), 1_000_000),)}, Error.BAD_CLUSTERS),
        ({"clusters": (ClusterWeight(RecordId(5, 0), 1_000_000),)}, Error.BAD_CLUSTERS),
        (
            {"compute": 4000 * 10**14, "premium": 4000 * PRICE.premium},
            Error.ABOVE_MAX_FEE,
        ),
    ],
)
def test_a_batch_whose_sums_lie_is_refused(
    market: DevChain, changes: dict[str, Any], error: Error
) -> None:
    arguments = submission(market, entries_of(market, 1, 2), changes)
    market.assert_refused(error, AS_WORKER, "Inference", "submit_receipts", **arguments)


@pytest.mark.parametrize(
    "vouching",
    [
        {"authorised": 1},
        {"nonce": 1},
        {"genesis": bytes([1]) * 32},
        {"session": 4},
    ],
)
def test_a_voucher_that_does_not_cover_a_batch_is_refused(
    market: DevChain, vouching: dict[str, Any]
) -> None:
    arguments = submission(market, entries_of(market, 1, 2), **vouching)
    market.assert_refused(
        Error.VOUCHER_REFUSED, AS_WORKER, "Inference", "submit_receipts", **arguments
    )


def test_a_voucher_of_another_key_is_refused(market: DevChain) -> None:
    arguments = submission(market, entries_of(market, 1))
    signed = arguments["voucher"]
    forged = replace(signed, signature=WORKER.sign(b"anything"))
    market.assert_refused(
        Error.VOUCHER_REFUSED,
        AS_WORKER,
        "Inference",
        "submit_receipts",
        **{**arguments, "voucher": forged},
    )


def test_the_executor_alone_submits_within_escrow_and_once(market: DevChain) -> None:
    entries = entries_of(market, 1, 2)
    arguments = submission(market, entries)
    call = ("Inference", "submit_receipts")
    market.assert_refused(Error.NOT_EXECUTOR, "Eve", *call, **arguments)
    market.assert_refused(Error.UNKNOWN_SESSION, AS_WORKER, *call, **{**arguments, "session": 5})
    submit(market, entries)
    market.assert_refused(Error.NONCE_SETTLED, AS_WORKER, *call, **arguments)
    dear = entries_of(market, *range(3, 30), tokens=400)
    above = submission(market, dear, authorised=100 * OPEN)
    market.assert_refused(Error.ABOVE_ESCROW, AS_WORKER, *call, **above)
    market.check()


def test_feeless_batches_have_a_quota(market: DevChain) -> None:
    most = market.runtime.inference.batches_per_epoch
    for nonce in range(1, most + 1):
        submit(market, entries_of(market, nonce))
    arguments = submission(market, entries_of(market, most + 1))
    market.assert_refused(
        Error.QUOTA_EXHAUSTED, AS_WORKER, "Inference", "submit_receipts", **arguments
    )
    market.runtime.system.number.put(market.runtime.inference.duty_epoch)
    market.call(AS_WORKER, "Inference", "submit_receipts", **arguments)


def test_nothing_is_settled_or_claimed_before_its_time(market: DevChain) -> None:
    batch = submit(market, entries_of(market, 1))
    market.assert_refused(Error.NOT_FINAL, "Bob", "Inference", "settle", batch=batch)
    market.assert_refused(Error.UNKNOWN_BATCH, "Bob", "Inference", "settle", batch=batch + 1)
    market.assert_refused(Error.NOTHING_TO_CLAIM, "Bob", "Inference", "claim")


# Feeless duties in blocks.


def feeless(chain: DevChain, pallet: str, name: str, **arguments: Any) -> bytes:
    return chain.sign(WORKER, pallet, name, **arguments)


def test_a_duty_is_free_and_its_key_needs_no_funds(market: DevChain) -> None:
    market.make_block()
    extrinsic = feeless(
        market, "Inference", "submit_receipts", **submission(market, entries_of(market, 1))
    )
    valid = executive.validate_transaction(market.state, market.head, extrinsic)
    assert valid.priority == 1 << 62
    assert len(valid.provides) == 2
    made = market.make_block(extrinsic)
    assert made.refused == ()
    assert made.named("ReceiptsSubmitted")
    assert made.named("TransactionFeePaid") == []
    assert market.runtime.system.account[KEY].nonce == 1


@pytest.mark.parametrize("vouching", [{"authorised": 1}, {"nonce": 0}])
def test_a_duty_that_would_fail_is_not_admitted(market: DevChain, vouching: dict[str, Any]) -> None:
    market.make_block()
    arguments = submission(market, entries_of(market, 1), **vouching)
    extrinsic = feeless(market, "Inference", "submit_receipts", **arguments)
    with pytest.raises(InvalidTransaction) as refused:
        executive.validate_transaction(market.state, market.head, extrinsic)
    assert refused.value.reason is TransactionReason.CUSTOM
    assert refused.value.custom == Error.VOUCHER_REFUSED
    assert len(market.make_block(extrinsic).refused) == 1


def test_nobody_makes_anothers_duty_for_free(market: DevChain) -> None:
    market.make_block()
    arguments = submission(market, entries_of(market, 1))
    extrinsic = market.sign(keys("Eve"), "Inference", "submit_receipts", **arguments)
    with pytest.raises(InvalidTransaction) as refused:
        executive.validate_transaction(market.state, market.head, extrinsic)
    assert refused.value.reason is TransactionReason.BAD_SIGNER


def test_a_worker_without_funds_makes_no_other_call(market: DevChain) -> None:
    market.make_block()
    extrinsic = feeless(market, "System", "remark", remark=b"")
    with pytest.raises(InvalidTransaction) as refused:
        executive.validate_transaction(market.state, market.head, extrinsic)
    assert refused.value.reason is TransactionReason.PAYMENT


def test_one_block_takes_a_duty_once(market: DevChain) -> None:
    market.make_block()
    arguments = submission(market, entries_of(market, 1))
    first = feeless(market, "Inference", "submit_receipts", **arguments)
    second = market.sign(WORKER, "Inference", "submit_receipts", nonce=1, **arguments)
    made = market.make_block(first, second)
    assert [refused.reason for _, refused in made.refused] == [TransactionReason.STALE]


# Judgement.


class Court:
    """A batch of session 0 whose committee is Alice alone."""

    def __init__(self, chain: DevChain, entries: list[Entry]) -> None:
        self.chain = chain
        self.entries = entries
        self.batch = submit(chain, entries)
        chain.run_to_block(4)
        duty = chain.runtime.attribution.duties.get(self.batch)
        assert duty is not None
        self.duty = duty

    def attestation(self, **changes: Any) -> Attestation:
        drawn = len(self.duty.receipts)
        fields = {"method": 0, "codes": (QUERY,) * drawn, "verdicts": (Verdict.OK,) * drawn}
        return Attestation(**{**fields, "salt": bytes(32), **changes})

    def digest(self, attestation: Attestation) -> bytes:
        genesis = self.chain.runtime.system.block_hash[0]
        return commitment(genesis, self.batch, account("Alice"), attestation)

    def commit(self, attestation: Attestation) -> None:
        arguments = {"batch": self.batch, "digest": self.digest(attestation)}
        self.chain.call(AS_WORKER, "Attribution", "commit", **arguments)

    def openings(self) -> tuple[Opening, ...]:
        data = leaves(self.entries)
        return tuple(
            Opening(self.entries[i].receipt, self.entries[i].report, merkle.path(data, i))
            for i in self.duty.receipts
        )

    def to_reveal(self) -> None:
        self.chain.run_to_block(self.duty.commit_until)

    def refused(self, error: Any, origin: Any, name: str, **arguments: Any) -> None:
        arguments = {"batch": self.batch, **arguments}
        self.chain.assert_refused(error, origin, "Attribution", name, **arguments)


@pytest.fixture
def court(market: DevChain) -> Court:
    return Court(market, entries_of(market, 1, 2, 3))


def test_members_commit_once_and_in_their_window(court: Court) -> None:
    digest = bytes(32)
    court.refused(DutyError.NOT_A_MEMBER, "Bob", "commit", digest=digest)
    court.refused(DutyError.NO_DUTY, AS_WORKER, "commit", digest=digest, batch=9)
    court.refused(DutyError.OUTSIDE_WINDOW, AS_WORKER, "reveal", attestation=court.attestation())
    court.refused(DutyError.OUTSIDE_WINDOW, AS_WORKER, "publish", openings=court.openings())
    court.commit(court.attestation())
    court.refused(DutyError.ALREADY_COMMITTED, AS_WORKER, "commit", digest=digest)
    court.to_reveal()
    court.refused(DutyError.OUTSIDE_WINDOW, AS_WORKER, "commit", digest=digest)


def test_a_reveal_is_what_was_committed(court: Court) -> None:
    good = court.attestation()
    court.commit(good)
    court.to_reveal()
    other = court.attestation(salt=bytes([1]) * 32)
    court.refused(DutyError.WRONG_REVEAL, AS_WORKER, "reveal", attestation=other)
    court.chain.call(AS_WORKER, "Attribution", "reveal", batch=court.batch, attestation=good)
    court.refused(DutyError.ALREADY_REVEALED, AS_WORKER, "reveal", attestation=good)


def test_nothing_is_revealed_without_a_commitment(court: Court) -> None:
    court.to_reveal()
    court.refused(DutyError.NOT_COMMITTED, AS_WORKER, "reveal", attestation=court.attestation())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"codes": ()}, DutyError.WRONG_SHAPE),
        ({"verdicts": ()}, DutyError.WRONG_SHAPE),
        ({"method": 9}, DutyError.UNKNOWN_METHOD),
        ({"codes": (replace(QUERY, codes=b"\1"),) * 3}, DutyError.WRONG_SHAPE),
        ({"codes": (replace(QUERY, exponents=(1, 2)),) * 3}, DutyError.WRONG_SHAPE),
    ],
)
def test_a_reveal_of_another_shape_is_refused(
    court: Court, changes: dict[str, Any], error: DutyError
) -> None:
    attestation = court.attestation(**changes)
    court.commit(attestation)
    court.to_reveal()
    court.refused(error, AS_WORKER, "reveal", attestation=attestation)


def test_the_executor_opens_what_the_batch_commits_to(court: Court) -> None:
    court.to_reveal()
    good = court.openings()
    first = good[0]
    dear = replace(first, receipt=replace(first.receipt, compute=1))
    assert first.report is not None
    bent = replace(first, report=replace(first.report, method=1))
    lost = replace(first, path=())
    bare = replace(first, report=None)
    for wrong in (dear, bent, lost, bare):
        court.refused(DutyError.WRONG_OPENING, AS_WORKER, "publish", openings=(wrong, *good[1:]))
    court.refused(DutyError.WRONG_SHAPE, AS_WORKER, "publish", openings=good[1:])
    court.refused(DutyError.NOT_EXECUTOR, "Bob", "publish", openings=good)
    court.chain.call(AS_WORKER, "Attribution", "publish", batch=court.batch, openings=good)
    court.refused(DutyError.ALREADY_OPENED, AS_WORKER, "publish", openings=good)


@pytest.mark.parametrize(
    ("bend", "error"),
    [
        ({"compute": 1}, DutyError.WRONG_COST),
        ({"prompt_tokens": 19}, DutyError.WRONG_COST),
    ],
)
def test_an_opened_receipt_costs_what_its_tokens_cost(
    market: DevChain, bend: dict[str, Any], error: DutyError
) -> None:
    (entry,) = entries_of(market, 1, matched=False)
    bent = [Entry(replace(entry.receipt, **bend), None)]
    honest = summarise([entry])
    batch: ReceiptBatch = replace(honest, root=merkle.root(leaves(bent)))
    arguments = {**submission(market, [entry]), "batch": batch}
    market.call(AS_WORKER, "Inference", "submit_receipts", **arguments)
    market.run_to_block(9)
    opening = Opening(bent[0].receipt, None, ())
    market.assert_refused(error, AS_WORKER, "Attribution", "publish", batch=0, openings=(opening,))


def test_anybody_moves_a_batch_on_but_not_before_it_is_due(court: Court) -> None:
    court.refused(DutyError.NOT_DUE, "Bob", "finalize")
    court.refused(DutyError.NO_DUTY, "Bob", "finalize", batch=3)
    court.refused(DispatchError.BAD_ORIGIN, ROOT, "finalize")


def test_calls_of_duties_are_admitted_only_where_they_stand_alone(market: DevChain) -> None:
    """In a batch a duty is an ordinary call: checked again when it is made, and paid for."""
    market.make_block()
    inner = CALLS.make("Inference", "submit_receipts", **submission(market, entries_of(market, 1)))
    extrinsic = market.sign(WORKER, "Utility", "batch", calls=(inner,))
    with pytest.raises(InvalidTransaction) as refused:
        executive.validate_transaction(market.state, market.head, extrinsic)
    assert refused.value.reason is TransactionReason.PAYMENT
