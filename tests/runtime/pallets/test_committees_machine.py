"""Committees of random opinions: whoever reveals, is silent, errs or lies, no unit is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dev_chain import account
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from market import OTHER, WORKER, register
from panel import NO_CODE, OK, Opinion, Panel, worker_of

from runtime.pallets.attribution.pallet import Agreed, CommitteeDrawn, Rejected
from runtime.pallets.attribution.types import DutyStage
from runtime.pallets.balances.pallet import Burned
from runtime.pallets.inference.pallet import POT, Paid, Settled
from runtime.pallets.inference.types import BatchState
from runtime.primitives.errors import DispatchFailure
from runtime.protocols.committee import Verdict
from runtime.protocols.settlement import Role

STAKES = {"Alice": 1000, "Bob": 100, "Charlie": 200, "Ferdie": 300, "Gina": 400}
OPINIONS = [
    OK,
    OK,
    OK,
    OK,
    Opinion(Verdict.BAD),
    Opinion(Verdict.UNAVAILABLE),
    Opinion(Verdict.INCONCLUSIVE),
    Opinion(code=OTHER),
    Opinion(code=NO_CODE),
]
members = st.lists(st.sampled_from(OPINIONS), min_size=3, max_size=3)
present = st.lists(st.sampled_from([True, True, True, False]), min_size=3, max_size=3)


class Committees(RuleBasedStateMachine):
    """Four validators may judge the executor; they come, go, are silent, err."""

    def __init__(self) -> None:
        super().__init__()
        self.panel = Panel(STAKES)
        self.chain = self.panel.chain
        self.inference = self.chain.runtime.inference
        self.attribution = self.chain.runtime.attribution
        self.opinions: dict[int, list[Opinion]] = {}
        self.seen = 0
        self.burned = 0

    def attempt(self, origin: Any, pallet: str, name: str, /, **arguments: Any) -> None:
        before = self.chain.overlay.changes()
        try:
            self.chain.call(origin, pallet, name, **arguments)
        except DispatchFailure:
            assert self.chain.overlay.changes() == before

    def tries(self, work: Any, *arguments: Any) -> None:
        before = self.chain.overlay.changes()
        try:
            work(*arguments)
        except DispatchFailure:
            assert self.chain.overlay.changes() == before

    def open_batches(self) -> list[int]:
        return [
            b
            for b, duty in self.attribution.duties.items()
            if duty.stage == DutyStage.JUDGING and b in self.panel.entries
        ]

    @initialize(final=st.sampled_from([0, 3, 40]), count=st.integers(1, 3))
    def begin(self, final: int, count: int) -> None:
        worker = self.inference.workers[WORKER.account_id]
        self.inference.workers.insert(WORKER.account_id, replace(worker, final_batches=final))
        self.panel.open_session("Ferdie")
        for _ in range(count):
            self.submit(0, 2, 20)
        self.step(2)

    @rule(
        session=st.sampled_from([0, 0, 1]),
        count=st.integers(1, 5),
        tokens=st.sampled_from([0, 1, 7, 20, 300]),
    )
    def submit(self, session: int, count: int, tokens: int) -> None:
        self.tries(self.panel.submit, count, session, tokens)

    @precondition(lambda self: self.open_batches())
    @rule(data=st.data(), found=members, there=present)
    def commit(self, data: st.DataObject, found: list[Opinion], there: list[bool]) -> None:
        self.commits(data.draw(st.sampled_from(self.open_batches())), found, there)

    @precondition(lambda self: self.open_batches())
    @rule(data=st.data(), there=present, opens=st.sampled_from([True, True, True, False]))
    def reveal(self, data: st.DataObject, there: list[bool], opens: bool) -> None:
        self.reveals(data.draw(st.sampled_from(self.open_batches())), there, opens)

    @precondition(lambda self: self.open_batches())
    @rule(found=members, commit=present, reveal=present, opens=st.sampled_from([True, True, False]))
    def judge(
        self, found: list[Opinion], commit: list[bool], reveal: list[bool], opens: bool
    ) -> None:
        """Judge every open batch as it is meant to be, but for who is away or errs."""
        for batch in self.open_batches():
            self.commits(batch, found, commit)
        for batch in self.open_batches():
            while self.number() <= self.attribution.duties[batch].commit_until:
                self.step(1)
            self.reveals(batch, reveal, opens)

    def commits(self, batch: int, found: list[Opinion], there: list[bool]) -> None:
        duty = self.attribution.duties[batch]
        opinions = self.opinions.setdefault(batch, found)
        for seat, opinion, is_there in zip(duty.seats, opinions, there, strict=False):
            if is_there:
                attestation = self.panel.attestation(duty, opinion)
                self.tries(self.panel.commit, batch, seat, attestation)

    def reveals(self, batch: int, there: list[bool], opens: bool) -> None:
        duty = self.attribution.duties[batch]
        opinions = self.opinions.get(batch, [OK] * 3)
        for seat, opinion, is_there in zip(duty.seats, opinions, there, strict=False):
            if is_there:
                attestation = self.panel.attestation(duty, opinion)
                self.tries(self.panel.reveal, batch, seat, attestation)
        if opens:
            self.tries(self.panel.publish, batch)

    @rule(who=st.sampled_from(["Bob", "Charlie", "Gina"]))
    def come_or_go(self, who: str) -> None:
        key = worker_of(who).account_id
        if self.inference.workers.get(key) is None:
            register(self.chain, who, worker_of(who))
        else:
            self.chain.call(who, "Inference", "retire_worker", key=key)

    @rule(
        batch=st.integers(0, 3),
        call=st.sampled_from([("Attribution", "finalize"), ("Inference", "settle")]),
    )
    def hurry(self, batch: int, call: tuple[str, str]) -> None:
        self.attempt("Bob", *call, batch=batch)

    @rule(who=st.sampled_from(["Bob", "Gina", "Charlie"]))
    def claim(self, who: str) -> None:
        self.attempt(who, "Inference", "claim")

    @rule(who=st.sampled_from(["Ferdie", "Eve"]))
    def close(self, who: str) -> None:
        session = 0 if who == "Eve" else 1
        self.attempt(who, "Inference", "close_session", session=session)

    def number(self) -> int:
        return self.chain.runtime.system.number.get()

    @rule(blocks=st.sampled_from([1, 2, 5, 12]))
    def step(self, blocks: int) -> None:
        runtime = self.chain.runtime
        for _ in range(blocks):
            number = self.number() + 1
            runtime.system.number.put(number)
            runtime.session.mix.put(number.to_bytes(32, "big"))
            for pallet in runtime.pallets:
                pallet.on_initialize(number)

    def teardown(self) -> None:
        """Whatever happened, every batch ends, and every unit of escrow has gone somewhere."""
        self.step(12)
        for session, who in ((0, "Eve"), (1, "Ferdie")):
            self.attempt(who, "Inference", "close_session", session=session)
        self.step(320)
        states = {found.state for _, found in self.inference.batches.items()}
        assert states <= {BatchState.SETTLED, BatchState.VOID}
        assert all(found.held == 0 for _, found in self.inference.sessions.items())
        self.everything_adds_up()
        self.every_settlement_pays_what_came_in()

    @invariant()
    def everything_adds_up(self) -> None:
        self.chain.check()
        events = [record for _, _, record in self.chain.runtime.host.events[self.seen :]]
        self.seen = len(self.chain.runtime.host.events)
        self.panel.issuance -= sum(e.amount for e in events if isinstance(e, Burned))
        self.panel.check_money()
        assert self.chain.free(POT) >= self.inference.audit_pot.get() >= 0

    @invariant()
    def every_settlement_pays_what_came_in(self) -> None:
        events = [record for _, _, record in self.chain.runtime.host.events]
        pot = 0
        paid = 0
        for event in events:
            if isinstance(event, Paid):
                paid += event.amount
                pot += event.amount if event.role == Role.AUDIT_POT else 0
            elif isinstance(event, Settled):
                top_up = paid - event.compute - event.premium
                assert 0 <= top_up <= pot
                pot -= top_up
                paid = 0
        assert pot == self.inference.audit_pot.get()

    @invariant()
    def a_verdict_falls_once_and_only_on_who_was_drawn(self) -> None:
        events = [record for _, _, record in self.chain.runtime.host.events]
        verdicts = [e.batch for e in events if isinstance(e, Agreed | Rejected)]
        assert len(verdicts) == len({*verdicts})
        for event in events:
            if isinstance(event, CommitteeDrawn):
                assert not {*event.seats} & {account("Alice"), account("Dave"), account("Eve")}
                assert len(event.seats) <= 3


TestCommittees = Committees.TestCase
TestCommittees.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
