"""Several validators judge: who is drawn, what they are paid, what a missing or false one does."""

from __future__ import annotations

from collections import Counter

import pytest
from dev_chain import ENDOWMENT, OPEN, Made, account
from market import OTHER, WORKER, register
from panel import OK, Opinion, Panel, worker_of

from runtime.frame.currency import TREASURY
from runtime.frame.origin import Signed
from runtime.pallets.attribution.pallet import Agreed, Rejected, Stuck
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
    assert panel.chain.runtime.inference.workers[WORKER.account_id].final_batches >= 5


def test_nobody_commits_to_a_batch_that_is_not_audited() -> None:
    panel = Panel()
    workers = panel.chain.runtime.inference.workers
    workers.insert(
        WORKER.account_id, _experienced(workers[WORKER.account_id])
    )
    batch = next(b for b in (panel.submit(1) for _ in range(9)) if not panel.drawn(b).audited)
    for name, arguments in (("commit", {"digest": bytes(32)}), ("publish", {"openings": ()})):
        error = DutyError.NOT_A_MEMBER if name == "commit" else DutyError.OUTSIDE_WINDOW
        signer = Signed(worker_of("Bob" if name == "commit" else "Alice").account_id)
        panel.chain.assert_refused(error, signer, "Attribution", name, batch=batch, **arguments)


def _experienced(worker):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(worker, final_batches=100)


# Batches that wait: a block moves four on.


def test_a_late_count_leaves_the_dispute_window_whole() -> None:
    panel = Panel(FIVE)
    batches = [panel.submit(1) for _ in range(9)]
    while any(panel.chain.runtime.attribution.duties.get(b) is None for b in batches):
        panel.block()
    last = max(batches, key=lambda b: panel.chain.runtime.attribution.duties[b].reveal_until)
    # All are counted in one block or as soon after it as the budget lets them.
    agreed: dict[int, int] = {}
    for batch in batches:
        duty = panel.chain.runtime.attribution.duties[batch]
        for seat in duty.seats:
            panel.commit(batch, seat, panel.attestation(duty))
    force_same_deadline(panel, batches, panel.chain.runtime.attribution.duties[last].reveal_until)
    while panel.chain.head.number < panel.chain.runtime.attribution.duties[last].commit_until:
        panel.block()
    for batch in batches:
        duty = panel.chain.runtime.attribution.duties[batch]
        for seat in duty.seats:
            panel.duty(seat, "reveal", batch=batch, attestation=panel.attestation(duty))
        panel.publish(batch)
    settled: dict[int, int] = {}
    for _ in range(40):
        made = panel.block()
        assert not made.named("Stuck")
        agreed |= {e.batch: made.block.header.number for e in made.named("Agreed")}
        settled |= {e.batch: made.block.header.number for e in made.named("Settled")}
    assert agreed.keys() == settled.keys() == set(batches)
    assert len(set(agreed.values())) > 1
    assert all(settled[b] - agreed[b] >= 10 for b in batches)


def force_same_deadline(panel: Panel, batches: list[int], reveal_until: int) -> None:
    """Let all batches' windows end in one block, as many submissions at once make them."""
    from dataclasses import replace

    attribution = panel.chain.runtime.attribution
    for batch in batches:
        duty = attribution.duties[batch]
        attribution.agenda.remove(duty.reveal_until + 1, batch)
        attribution.agenda.insert(reveal_until + 1, batch, None)
        attribution.duties.insert(
            batch,
            replace(
                duty,
                commit_until=reveal_until - 5,
                reveal_until=reveal_until,
                final_at=reveal_until + 11,
            ),
        )
