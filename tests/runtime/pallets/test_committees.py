"""Several validators judge: who is drawn, what they are paid, what a missing or false one does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from dev_chain import ENDOWMENT, OPEN, Made, account
from market import OTHER, WORKER, register
from panel import OK, Opinion, Panel, worker_of

from runtime.frame.currency import TREASURY
from runtime.frame.origin import Signed
from runtime.pallets.attribution.pallet import Agreed, Rejected
from runtime.pallets.attribution.pallet import Error as DutyError
from runtime.pallets.attribution.types import DutyStage
from runtime.pallets.inference.pallet import POT, BatchVoided, Error
from runtime.pallets.inference.types import BatchState
from runtime.protocols.batch import summarise
from runtime.protocols.committee import Verdict, draw
from runtime.protocols.settlement import Role

BAD = Opinion(Verdict.BAD)
AWAY = Opinion(Verdict.UNAVAILABLE)
UNSURE = Opinion(Verdict.INCONCLUSIVE)
DISAGREES = Opinion(code=OTHER)
MANY = {"Alice": 10**6, "Dave": 10**6, "Eve": 10**6, "Bob": 1, "Charlie": 10, "Ferdie": 1000}
FIVE = {"Alice": 1000, "Bob": 100, "Charlie": 200, "Ferdie": 300, "Gina": 400}


def fee(panel: Panel, batch: int) -> tuple[int, int]:
    summary = panel.chain.runtime.inference.batches[batch].summary
    return summary.compute, summary.premium


def serve(panel: Panel, opinions: dict[str, Opinion | None] | None = None) -> tuple[int, Made]:
    """Submit a batch, let it be judged and settled; return its block."""
    batch = panel.submit()
    duty = panel.drawn(batch)
    if duty.audited:
        panel.judge(batch, opinions or {})
    return batch, panel.settled(batch)


# Who judges.


def test_executor_customer_and_model_owner_have_no_seat_however_much_they_stake() -> None:
    panel = Panel(MANY)
    for _ in range(4):
        duty = panel.drawn(panel.submit())
        assert panel.names(duty.seats) == {"Bob", "Charlie", "Ferdie"}
        assert not duty.self_attested


def test_a_validator_without_a_worker_has_no_seat() -> None:
    panel = Panel(FIVE, idle=("Charlie",))
    duty = panel.drawn(panel.submit())
    assert panel.names(duty.seats) == {"Bob", "Ferdie", "Gina"}


def test_a_validator_whose_last_worker_retires_has_no_seat() -> None:
    panel = Panel(FIVE)
    key = worker_of("Gina").account_id
    panel.chain.call("Gina", "Inference", "retire_worker", key=key)
    duty = panel.drawn(panel.submit())
    assert panel.names(duty.seats) == {"Bob", "Charlie", "Ferdie"}


def test_a_second_worker_of_the_executors_validator_gives_it_no_seat() -> None:
    panel = Panel({"Alice": 10**9, "Bob": 1, "Charlie": 1, "Ferdie": 1})
    register(panel.chain, "Alice", worker_of("Zoe"))
    duty = panel.drawn(panel.submit())
    assert panel.names(duty.seats) == {"Bob", "Charlie", "Ferdie"}


def test_seats_are_drawn_by_stake_from_the_randomness_after_the_batch() -> None:
    stakes = {"Alice": 1, "Bob": 1, "Charlie": 10**6, "Ferdie": 10**6, "Gina": 10**6}
    panel = Panel(stakes)
    seated: Counter[str] = Counter()
    for _ in range(8):
        batch = panel.submit(1)
        submitted = panel.chain.runtime.inference.batches[batch].submitted
        duty = panel.drawn(batch)
        assert duty.seed == panel.chain.runtime.session.mixes[submitted + 2]
        eligible = [(account(n), s) for n, s in stakes.items() if n != "Alice"]
        assert duty.seats == draw(duty.seed, batch, eligible, 3)
        seated.update(panel.names(duty.seats))
    assert seated == {"Charlie": 8, "Ferdie": 8, "Gina": 8}


def test_fewer_eligible_than_seats_all_judge() -> None:
    panel = Panel({"Alice": 5, "Bob": 1, "Charlie": 1})
    batch = panel.submit()
    assert panel.names(panel.drawn(batch).seats) == {"Bob", "Charlie"}
    made = panel.judge(batch, {"Bob": None})
    assert made.named("Rejected") == [Rejected(batch, False)]  # one of two is less than two thirds


# What they conclude.


def test_a_whole_committee_shares_its_part_equally() -> None:
    panel = Panel()
    batch = panel.submit()
    made = panel.judge(batch, {})
    final_at = panel.chain.runtime.attribution.duties[batch].final_at
    assert made.named("Agreed") == [Agreed(batch, final_at)]
    made = panel.settled(batch)
    compute, premium = fee(panel, batch)
    shares = panel.paid(made, Role.COMMITTEE)
    assert shares.keys() == {account(n) for n in ("Bob", "Charlie", "Ferdie")}
    assert sum(shares.values()) == compute * 30 // 100
    assert max(shares.values()) - min(shares.values()) <= 1
    assert sum(p.amount for p in made.named("Paid")) == compute + premium
    assert panel.chain.runtime.attribution.faults[account("Bob")] == 0


def test_a_missing_reveal_is_a_fault_paid_to_the_treasury_and_two_of_three_settle() -> None:
    whole, missing = Panel(), Panel()
    _, all_there = serve(whole)
    batch, made = serve(missing, {"Charlie": None})
    compute, premium = fee(missing, batch)
    shares = missing.paid(made, Role.COMMITTEE)
    assert shares.keys() == {account("Bob"), account("Ferdie")}
    lost = compute * 30 // 100 - sum(shares.values())
    assert lost > 0
    treasury = missing.paid(made, Role.TREASURY)[None]
    assert treasury == whole.paid(all_there, Role.TREASURY)[None] + lost
    assert missing.chain.free(TREASURY) == treasury
    assert sum(p.amount for p in made.named("Paid")) == compute + premium
    faults = missing.chain.runtime.attribution.faults
    assert {n: faults[account(n)] for n in ("Bob", "Charlie", "Ferdie")} == {
        "Bob": 0,
        "Charlie": 1,
        "Ferdie": 0,
    }


@pytest.mark.parametrize("other", [None, BAD, DISAGREES, UNSURE], ids=str)
def test_two_of_three_are_enough_whatever_the_third_says(other: Opinion | None) -> None:
    panel = Panel()
    batch = panel.submit()
    assert panel.judge(batch, {"Ferdie": other}).named("Agreed")
    assert panel.settled(batch).named("Settled")


@pytest.mark.parametrize("verdict", [BAD, AWAY], ids=str)
def test_two_that_condemn_void_a_batch_with_a_fault_and_a_refund(verdict: Opinion) -> None:
    panel = Panel()
    free = panel.chain.free("Eve")
    batch = panel.submit()
    total = sum(fee(panel, batch))
    made = panel.judge(batch, {"Bob": verdict, "Ferdie": verdict})
    assert made.named("Rejected") == [Rejected(batch, True)]
    assert made.named("BatchVoided") == [BatchVoided(batch, total)]
    assert panel.chain.free("Eve") == free + total
    worker = panel.chain.runtime.inference.workers[WORKER.account_id]
    assert (worker.faults, worker.final_batches, worker.open_batches) == (1, 0, 0)
    assert panel.chain.free(POT) == 0


@pytest.mark.parametrize(
    "opinions",
    [
        {"Bob": DISAGREES, "Charlie": DISAGREES},
        {"Bob": DISAGREES, "Ferdie": BAD},
        {"Bob": UNSURE, "Charlie": UNSURE, "Ferdie": UNSURE},
        {"Bob": None, "Charlie": None},
        {"Bob": None, "Charlie": None, "Ferdie": None},
    ],
    ids=str,
)
def test_a_committee_of_no_two_thirds_voids_a_batch_without_a_fault(
    opinions: dict[str, Opinion | None],
) -> None:
    panel = Panel()
    free = panel.chain.free("Eve")
    batch = panel.submit()
    total = sum(fee(panel, batch))
    assert panel.judge(batch, opinions).named("Rejected") == [Rejected(batch, False)]
    assert panel.chain.free("Eve") == free + total
    assert panel.chain.runtime.inference.workers[WORKER.account_id].faults == 0


def test_a_batch_that_was_not_confirmed_earns_its_executor_no_rarer_audits() -> None:
    panel = Panel()
    for _ in range(2):
        panel.judge(panel.submit(), {"Bob": DISAGREES, "Charlie": DISAGREES})
    worker = panel.chain.runtime.inference.workers[WORKER.account_id]
    assert (worker.final_batches, worker.faults) == (0, 0)
    serve(panel)
    assert panel.chain.runtime.inference.workers[WORKER.account_id].final_batches == 1


def test_an_executor_that_opens_nothing_is_at_fault_though_all_members_agree() -> None:
    panel = Panel()
    batch = panel.submit()
    assert panel.judge(batch, {}, opens=False).named("Rejected") == [Rejected(batch, True)]


# Nobody to judge.


def test_without_eligible_validators_a_batch_is_drawn_again_and_void_after_three() -> None:
    panel = Panel({"Alice": 1000, "Dave": 500, "Eve": 500})
    free = panel.chain.free("Eve")
    batch = panel.submit()
    total = sum(fee(panel, batch))
    submitted = panel.chain.runtime.inference.batches[batch].submitted
    wait = panel.chain.runtime.attribution.redraw_after
    due = [submitted + 2 + wait * n for n in range(3)]
    for number, draws in zip(due, (1, 2, 0), strict=True):
        panel.chain.run_to_block(number - 1)
        assert panel.chain.runtime.inference.batches[batch].state == BatchState.OPEN
        made = panel.block()
        assert panel.chain.runtime.attribution.draws[batch] == draws
    assert made.named("Rejected") == [Rejected(batch, False)]
    assert panel.chain.free("Eve") == free + total
    assert panel.chain.runtime.attribution.duties.get(batch) is None
    assert panel.chain.runtime.inference.workers[WORKER.account_id].open_batches == 0


def test_who_becomes_eligible_meanwhile_judges() -> None:
    panel = Panel({"Alice": 1000, "Bob": 500}, idle=("Bob",))
    batch = panel.submit()
    wait = panel.chain.runtime.attribution.redraw_after
    panel.chain.run_to_block(3)
    assert panel.chain.runtime.attribution.draws[batch] == 1
    register(panel.chain, "Bob", worker_of("Bob"))
    panel.chain.run_to_block(3 + wait)
    assert panel.names(panel.drawn(batch).seats) == {"Bob"}
    assert panel.judge(batch, {}).named("Agreed")


# Batches that are not audited.


def test_unaudited_batches_feed_the_audit_pot_and_it_tops_up_the_next_audited_one() -> None:
    panel = Panel()
    for _ in range(20):
        pot = panel.chain.runtime.inference.audit_pot.get()
        batch = panel.submit()
        duty = panel.drawn(batch)
        committee = fee(panel, batch)[0] * 30 // 100
        if not duty.audited:
            assert (duty.seats, duty.receipts, duty.stage) == ((), (), DutyStage.DISPUTE)
            assert duty.final_at == panel.chain.head.number + 10
            made = panel.settled(batch)
            assert panel.paid(made, Role.AUDIT_POT) == {None: committee}
            assert panel.paid(made, Role.COMMITTEE) == {}
            assert panel.chain.runtime.inference.audit_pot.get() == pot + committee
            continue
        panel.judge(batch, {})
        made = panel.settled(batch)
        top_up = min(pot, committee)
        assert sum(panel.paid(made, Role.COMMITTEE).values()) == committee + top_up
        assert panel.chain.runtime.inference.audit_pot.get() == pot - top_up
        if top_up:
            break
    assert top_up, "no audited batch followed one that was not"
    assert panel.chain.runtime.inference.workers[WORKER.account_id].final_batches >= 2


def test_nobody_commits_to_a_batch_that_is_not_audited() -> None:
    panel = Panel()
    workers = panel.chain.runtime.inference.workers
    experienced = replace(workers[WORKER.account_id], final_batches=100)
    workers.insert(WORKER.account_id, experienced)
    batch = next(b for b in (panel.submit(1) for _ in range(9)) if not panel.drawn(b).audited)
    for name, arguments in (("commit", {"digest": bytes(32)}), ("publish", {"openings": ()})):
        error = DutyError.NOT_A_MEMBER if name == "commit" else DutyError.OUTSIDE_WINDOW
        signer = Signed(worker_of("Bob" if name == "commit" else "Alice").account_id)
        panel.chain.assert_refused(error, signer, "Attribution", name, batch=batch, **arguments)


# Batches that wait: a block moves four on.


def crowded(opened: int) -> tuple[Panel, list[int]]:
    """Return a panel before the block in which five batches' reveal windows are over.

    The chain will come to them in the order returned; the last `opened` of them will be confirmed.
    """
    panel = Panel(FIVE)
    batches = [panel.submit(1) for _ in range(5)]
    while any(panel.chain.runtime.attribution.duties.get(b) is None for b in batches):
        panel.block()
    attribution = panel.chain.runtime.attribution
    reveal_until = max(attribution.duties[b].reveal_until for b in batches)
    for batch in batches:
        duty = attribution.duties[batch]
        attribution.agenda.remove(duty.reveal_until + 1, batch)
        attribution.agenda.insert(reveal_until + 1, batch, None)
        ends = {"commit_until": reveal_until - 5, "reveal_until": reveal_until}
        attribution.duties.insert(batch, replace(duty, final_at=reveal_until + 11, **ends))
        for seat in duty.seats:
            panel.commit(batch, seat, panel.attestation(duty))
    order = [batch for batch, _ in attribution.agenda.items_under(reveal_until + 1)]
    panel.chain.run_to_block(reveal_until - 5)
    for batch in order:
        duty = panel.chain.runtime.attribution.duties[batch]
        for seat in duty.seats:
            panel.reveal(batch, seat, panel.attestation(duty))
    for batch in order[-opened:]:
        panel.publish(batch)
    panel.chain.run_to_block(reveal_until)
    return panel, order


def test_a_late_count_leaves_the_dispute_window_whole() -> None:
    panel, (*_, late) = crowded(opened=1)
    assert not panel.block().named("Agreed")
    (agreed,) = panel.block().named("Agreed")
    counted = panel.chain.head.number
    assert agreed == Agreed(late, counted + 10)
    while not panel.block().named("Settled"):
        assert panel.chain.head.number < counted + 10
    assert panel.chain.head.number == counted + 10


def test_a_batch_that_is_counted_by_a_call_keeps_its_dispute_window() -> None:
    panel, (*_, late) = crowded(opened=5)
    panel.block()
    attribution = panel.chain.runtime.attribution
    assert attribution.duties[late].stage == DutyStage.JUDGING
    panel.chain.call("Bob", "Attribution", "finalize", batch=late)
    final_at = attribution.duties[late].final_at
    assert final_at == panel.chain.head.number + 1 + 10
    while panel.chain.head.number < final_at - 1:
        panel.block()
        assert panel.chain.runtime.inference.batches[late].state == BatchState.COMMITTED
    panel.block()
    assert panel.chain.runtime.inference.batches[late].state == BatchState.SETTLED


# Accounting failures that must be impossible.


def test_nobody_is_credited_without_work() -> None:
    """No reveal, no committee share; no confirmed batch, no unit for anybody."""
    panel = Panel()
    runtime = panel.chain.runtime
    people = ("Alice", "Bob", "Charlie", "Dave", "Ferdie")
    before = {name: panel.chain.free(name) for name in people}
    panel.judge(panel.submit(), {"Bob": None, "Charlie": None, "Ferdie": None})
    panel.judge(panel.submit(), {}, opens=False)
    assert {name: panel.chain.free(name) for name in people} == before
    runtime = panel.chain.runtime
    assert [*runtime.inference.claimable.items()] == []
    assert runtime.inference.audit_pot.get() == 0
    panel.chain.assert_refused(Error.NOTHING_TO_CLAIM, "Bob", "Inference", "claim")
    batch, made = serve(panel, {"Bob": None})
    assert account("Bob") not in panel.paid(made, Role.COMMITTEE)
    assert fee(panel, batch)[0] > 0


def test_zero_requests_earn_nothing() -> None:
    panel = Panel()
    batch = panel.submit(tokens=0)
    assert fee(panel, batch) == (0, 0)
    opinion = dict.fromkeys(("Bob", "Charlie", "Ferdie"), OK)
    if panel.drawn(batch).audited:
        panel.judge(batch, opinion)
    made = panel.settled(batch)
    assert made.named("Settled")
    assert made.named("Paid") == []
    assert panel.chain.free("Eve") + 500 * OPEN == ENDOWMENT
    empty = replace(summarise(panel.entries[batch]), count=0, first_nonce=3, last_nonce=2)
    arguments = {"session": 0, "batch": empty, "voucher": panel.voucher(4)}
    signer = Signed(WORKER.account_id)
    panel.chain.assert_refused(
        Error.BAD_TOTALS, signer, "Inference", "submit_receipts", **arguments
    )


def test_a_second_validators_result_after_the_verdict_charges_nothing() -> None:
    panel = Panel()
    batch = panel.submit()
    duty = panel.drawn(batch)
    late = next(s for s in duty.seats if panel.validators[s] == "Charlie")
    attestation = panel.attestation(duty)
    panel.judge(batch, {"Charlie": None})
    reveal = {"batch": batch, "attestation": attestation}
    signer = Signed(worker_of("Charlie").account_id)
    refused = (DutyError.OUTSIDE_WINDOW, signer, "Attribution", "reveal")
    panel.chain.assert_refused(*refused, **reveal)
    panel.settled(batch)
    held = panel.chain.runtime.inference.sessions[0].held
    assert held == 500 * OPEN - sum(fee(panel, batch))
    panel.chain.assert_refused(*refused, **reveal)
    commit = {"batch": batch, "digest": bytes(32)}
    refused = (DutyError.OUTSIDE_WINDOW, signer, "Attribution", "commit")
    panel.chain.assert_refused(*refused, **commit)
    panel.chain.assert_refused(Error.NOT_FINAL, "Bob", "Inference", "settle", batch=batch)
    panel.chain.assert_refused(DutyError.NOT_DUE, "Bob", "Attribution", "finalize", batch=batch)
    for _ in range(12):
        assert not panel.block().named("Paid")
    assert panel.chain.runtime.inference.sessions[0].held == held
    assert late == account("Charlie")


def test_no_balance_is_ever_negative() -> None:
    """A batch that is void, then a session that ends: the escrow is given back exactly once."""
    panel = Panel()
    first, second = panel.submit(), panel.submit()
    panel.judge(first, {"Bob": BAD, "Charlie": BAD})
    panel.chain.call("Eve", "Inference", "close_session", session=0)
    total = sum(fee(panel, second))
    for _ in range(40):
        panel.block()
        runtime = panel.chain.runtime
        for _, info in runtime.system.account.items():
            assert min(info.data.free, info.data.reserved) >= 0
        found = runtime.inference.sessions[0]
        assert min(found.escrow, found.held, found.settled_total) >= 0
        assert runtime.inference.audit_pot.get() >= 0
    assert runtime.inference.batches[second].state == BatchState.VOID  # nobody opened it
    assert panel.chain.free("Eve") == ENDOWMENT
    assert found.escrow == found.held == found.settled_total == 0
    assert total > 0
