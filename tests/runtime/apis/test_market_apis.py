"""Models, sessions, workers, accounts and epochs, of a market in which a batch was settled."""

from __future__ import annotations

import pytest
from asking import ask
from dev_chain import OPEN, DevChain, account, seated
from market import HOT, PRICE, WORKER
from panel import Panel, worker_of

from runtime.apis.accounts import AccountsApi
from runtime.apis.epochs import EpochsApi
from runtime.apis.models import ModelsApi
from runtime.apis.overview import OverviewApi
from runtime.apis.sessions import SessionsApi
from runtime.frame.currency import TREASURY, HoldReason
from runtime.pallets.balances.types import HeldAmount
from runtime.pallets.inference.types import BatchState, SessionState
from runtime.pallets.models.types import Backer, DatanetVersion, Stage

BOB, CHARLIE, DAVE, EVE = (account(name) for name in ("Bob", "Charlie", "Dave", "Eve"))


@pytest.fixture
def panel() -> Panel:
    """A settled batch of Eve's session 0, a pending one, and a session of Ferdie's."""
    panel = Panel()
    panel.chain.call("Charlie", "Models", "back", model=0, amount=3 * OPEN)
    used = (DatanetVersion(0, 0),)
    child = {"name": b"child", "base": 0, "parent": 0, "royalty": 5, "datanets": used}
    panel.chain.call("Bob", "Models", "propose", **child, stake=11 * OPEN)
    batch = panel.submit()
    panel.judge(batch, {})
    panel.settled(batch)
    panel.open_session("Ferdie")
    panel.submit(3)
    panel.block()
    return panel


def test_a_models_page_shows_lineage_stakes_and_data(panel: Panel) -> None:
    page = ask(panel.chain, ModelsApi, "model", 0)
    assert (page.name, page.owner, page.stage) == ("m", DAVE, Stage.LAUNCHED)
    assert page.backers == (Backer(CHARLIE, 3 * OPEN),)
    assert (page.stake, page.backed, page.price) == (10 * OPEN, 3 * OPEN, PRICE)
    assert page.base.name == "open-nano"
    assert [(d.datanet, d.name, d.version, d.records, d.listed) for d in page.datanets] == [
        (0, "n", 0, 6, True)
    ]
    child = ask(panel.chain, ModelsApi, "model", 1)
    assert [(a.model, a.name, a.owner) for a in child.lineage] == [(0, "m", DAVE)]
    assert (child.royalty, child.artifact, child.price) == (5, None, None)
    assert ask(panel.chain, ModelsApi, "model", 2) is None


def test_models_are_listed_by_owner_and_by_datanet(panel: Panel) -> None:
    def listed(*chosen: object) -> list[int]:
        page = ask(panel.chain, ModelsApi, "models", None, None, *chosen)
        return [row.model for row in page.models]

    assert listed() == [1, 0]
    assert listed(0, None) == [1, 0]
    assert listed(1, None) == []
    assert listed(None, BOB) == [1]
    bases = ask(panel.chain, ModelsApi, "base_models").bases
    assert [(base.base, base.name) for base in bases] == [(0, "open-nano")]


def test_a_sessions_page_accounts_for_the_whole_escrow(panel: Panel) -> None:
    page = ask(panel.chain, SessionsApi, "session", 0)
    pending, settled = page.batches.batches
    assert (pending.state, settled.state) == (BatchState.OPEN, BatchState.SETTLED)
    assert page.settled == settled.compute + settled.premium
    assert page.pending == pending.compute + pending.premium
    assert page.settled + page.pending + page.refundable == page.escrow == 500 * OPEN
    assert page.held == page.escrow - page.settled
    assert (page.customer, page.voucher_key, page.model_name) == (EVE, HOT.account_id, "m")
    assert page.worker.endpoint == "http://worker"
    assert (page.last_nonce, page.closes) == (5, None)


def test_a_closed_session_has_nothing_to_refund(panel: Panel) -> None:
    chain = panel.chain
    chain.call("Ferdie", "Inference", "close_session", session=1)
    chain.make_block()
    page = ask(chain, SessionsApi, "session", 1)
    assert (page.state, page.closes is None) == (SessionState.CLOSING, False)
    assert page.refundable == 500 * OPEN
    chain.run_to_block(page.closes + 2)
    page = ask(chain, SessionsApi, "session", 1)
    assert (page.state, page.held, page.refundable) == (SessionState.CLOSED, 0, 0)


def test_what_was_put_aside_is_none_once_a_session_is_closed(panel: Panel) -> None:
    chain = panel.chain
    (row,) = ask(chain, SessionsApi, "sessions", 1, 1, None, None, None).sessions
    assert row.escrow == 500 * OPEN
    chain.call("Ferdie", "Inference", "close_session", session=1)
    chain.make_block()
    page = ask(chain, SessionsApi, "session", 1)
    assert page.escrow == 500 * OPEN
    chain.run_to_block(page.closes + 2)
    (row,) = ask(chain, SessionsApi, "sessions", 1, 1, None, None, None).sessions
    assert (row.state, row.escrow, row.claimed) == (SessionState.CLOSED, None, 0)
    assert ask(chain, SessionsApi, "session", 1).escrow is None


def test_sessions_and_batches_are_chosen_by_customer_model_and_worker(panel: Panel) -> None:
    chain = panel.chain
    by_customer = ask(chain, SessionsApi, "sessions", None, None, EVE)
    assert [row.session for row in by_customer.sessions] == [0]
    by_model = ask(chain, SessionsApi, "sessions", None, 1, None, 0)
    assert ([row.session for row in by_model.sessions], by_model.next) == ([1], 0)
    by_worker = ask(chain, SessionsApi, "sessions", None, None, None, None, HOT.account_id)
    assert by_worker.sessions == ()
    batches = ask(chain, SessionsApi, "receipt_batches", None, None, 0)
    assert [row.batch for row in batches.batches] == [1, 0]
    assert ask(chain, SessionsApi, "receipt_batches", None, None, 1).batches == ()


def test_workers_are_listed_by_validator(panel: Panel) -> None:
    chain = panel.chain
    seen, after = [], None
    while True:
        page = ask(chain, SessionsApi, "workers", after, 1)
        seen += [worker.key for worker in page.workers]
        after = page.next
        if after is None:
            break
    assert {*seen} == {worker_of(n).account_id for n in ("Alice", "Bob", "Charlie", "Ferdie")}
    assert len(seen) == 4
    of_bob = ask(chain, SessionsApi, "workers", None, None, BOB).workers
    assert [worker.key for worker in of_bob] == [worker_of("Bob").account_id]
    alices = ask(chain, SessionsApi, "worker", WORKER.account_id)
    assert (alices.open_batches, alices.final_batches) == (1, 1)
    assert alices.feeless_batches_left == chain.runtime.inference.batches_per_epoch - 2
    assert ask(chain, SessionsApi, "worker", BOB) is None


def test_an_accounts_page_shows_all_that_it_takes_part_in(panel: Panel) -> None:
    page = ask(panel.chain, AccountsApi, "account", CHARLIE)
    assert [(d.datanet, d.is_owner, d.records) for d in page.datanets.datanets] == [(0, False, 3)]
    assert [(m.model, m.is_owner, m.stake) for m in page.models.models] == [(0, False, 3 * OPEN)]
    assert {*page.holds} == {
        HeldAmount(HoldReason.MODEL_STAKE, 3 * OPEN),
        HeldAmount(HoldReason.WORKER_DEPOSIT, 10 * OPEN),
    }
    assert page.held == 13 * OPEN
    assert (page.validator.is_active, page.validator.workers) == (True, 1)
    registered = panel.chain.runtime.session.next_keys.get(CHARLIE)
    assert page.validator.consensus_key == registered is not None
    eve = ask(panel.chain, AccountsApi, "account", EVE)
    assert [row.session for row in eve.sessions.sessions] == [0]
    assert ask(panel.chain, AccountsApi, "account", WORKER.account_id).worker.key == (
        WORKER.account_id
    )


def test_owned_datanets_and_models_are_marked(panel: Panel) -> None:
    page = ask(panel.chain, AccountsApi, "account", DAVE)
    assert [(d.datanet, d.is_owner, d.records) for d in page.datanets.datanets] == [(0, True, 0)]
    assert [(m.model, m.is_owner, m.stake) for m in page.models.models] == [(0, True, 10 * OPEN)]


def test_an_unused_account_has_a_page_of_zeros_and_a_pot_its_name(chain: DevChain) -> None:
    chain.make_block()
    page = ask(chain, AccountsApi, "account", bytes([9]) * 32)
    assert (page.free, page.held, page.nonce, page.pot) == (0, 0, 0, None)
    assert page.datanets.datanets == ()
    assert ask(chain, AccountsApi, "account", TREASURY).pot == "treasury"


def test_the_epoch_shows_its_validators_and_what_they_did(panel: Panel) -> None:
    current = ask(panel.chain, EpochsApi, "current_epoch")
    seats = {seat.account: seat for seat in current.current.validators}
    assert {*seats} == {account(n) for n in ("Alice", "Bob", "Charlie", "Ferdie")}
    assert seats[BOB].stake == 100
    assert sum(seat.made for seat in seats.values()) == panel.chain.head.number
    assert (current.first_block, current.last_block, current.length) == (1, 600, 600)
    assert ask(panel.chain, EpochsApi, "epoch", 0) == current.current
    assert ask(panel.chain, EpochsApi, "epoch", 1) is None
    seated = panel.chain.runtime.session.members.get()
    assert [s.consensus_key for s in current.current.validators] == [
        member.consensus_key for member in seated
    ]


def test_counts_that_are_not_kept_any_more_are_none() -> None:
    chain = DevChain(session=seated("Alice", epoch_length=1))
    chain.run_to_block(12)
    gone, kept = (ask(chain, EpochsApi, "epoch", epoch) for epoch in (3, 4))
    assert (gone.counted, gone.blocks) == (False, None)
    (seat,) = gone.validators
    assert (seat.attested, seat.missed, seat.made) == (None, None, None)
    assert (kept.counted, kept.blocks, kept.validators[0].made) == (True, 0, 1)
    assert kept.validators[0].consensus_key == seat.consensus_key


def test_the_overview_counts_what_there_is(panel: Panel) -> None:
    view = ask(panel.chain, OverviewApi, "overview")
    assert (view.number, view.time) == (panel.chain.head.number, 1000 * panel.chain.head.number)
    assert (view.datanets, view.models, view.sessions, view.receipt_batches) == (1, 2, 2, 2)
    assert view.total_issuance == panel.issuance
    assert (view.validators, view.base_models, view.accusations) == (4, 1, 0)
    assert view.treasury == panel.chain.free(TREASURY)
