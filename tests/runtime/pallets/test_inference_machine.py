"""Paid sessions under random calls: what comes into escrow is paid, refunded, burned or pending."""

from __future__ import annotations

from typing import Any

from dev_chain import ENDOWMENT, OPEN, account
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from market import HOT, OTHER, QUERY, WORKER, answer, prepared, register, vouch

from runtime.frame.currency import HoldReason
from runtime.frame.origin import Signed
from runtime.pallets.attribution.types import DutyStage, Opening
from runtime.pallets.balances.pallet import Burned
from runtime.pallets.inference.pallet import Settled
from runtime.pallets.inference.types import BatchState, SessionState
from runtime.primitives.errors import DispatchFailure
from runtime.protocols import merkle
from runtime.protocols.batch import Entry, leaves, summarise
from runtime.protocols.committee import Attestation, Verdict, commitment
from runtime.protocols.report import QueryCode

small = st.integers(0, 3)


class Market(RuleBasedStateMachine):
    """One executor, customers that open and close at will, a committee of any opinion."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = prepared()
        self.inference = self.chain.runtime.inference
        self.attribution = self.chain.runtime.attribution
        self.issuance = self.chain.runtime.balances.total_issuance.get()
        self.genesis = self.chain.runtime.system.block_hash[0]
        self.entries: dict[int, list[Entry]] = {}
        self.settled: set[int] = set()
        self.nonces: set[tuple[int, int]] = set()

    def attempt(self, origin: Any, pallet: str, name: str, /, **arguments: Any) -> list[Any] | None:
        before = self.chain.overlay.changes()
        try:
            return self.chain.call(origin, pallet, name, **arguments)
        except DispatchFailure:
            assert self.chain.overlay.changes() == before
            return None

    def as_worker(self) -> Signed:
        return Signed(WORKER.account_id)

    @initialize(escrow=st.sampled_from([5 * OPEN, 50 * OPEN]))
    def first_sessions(self, escrow: int) -> None:
        self.open_session("Eve", escrow, OPEN, 400)
        self.open_session("Ferdie", OPEN, OPEN, 40)

    @rule(
        who=st.sampled_from(["Eve", "Ferdie"]),
        escrow=st.sampled_from([0, OPEN // 50, 5 * OPEN, 2 * ENDOWMENT]),
        max_fee=st.sampled_from([0, OPEN // 50, OPEN]),
        ttl=st.sampled_from([9, 10, 40]),
    )
    def open_session(self, who: str, escrow: int, max_fee: int, ttl: int) -> None:
        self.attempt(
            who,
            "Inference",
            "open_session",
            model=0,
            executor=WORKER.account_id,
            voucher_key=HOT.account_id,
            escrow=escrow,
            max_fee=max_fee,
            ttl=ttl,
        )

    @rule(who=st.sampled_from(["Eve", "Ferdie"]), session=small, amount=st.sampled_from([1, OPEN]))
    def top_up(self, who: str, session: int, amount: int) -> None:
        self.attempt(who, "Inference", "top_up", session=session, amount=amount)

    @rule(
        who=st.sampled_from(["Eve", "Ferdie"]),
        session=small,
        name=st.sampled_from(["close_session", "force_close"]),
    )
    def close(self, who: str, session: int, name: str) -> None:
        self.attempt(who, "Inference", name, session=session)

    @rule(
        session=st.sampled_from([0, 0, 0, 1, 1, 2, 7]),
        step=st.sampled_from([1, 1, 2, 0]),
        count=st.integers(1, 3),
        tokens=st.sampled_from([20, 100, 1, 0, 20_000]),
        authorised=st.sampled_from([100 * OPEN, 100 * OPEN, OPEN // 50, 0]),
        matched=st.booleans(),
    )
    def submit(
        self, session: int, step: int, count: int, tokens: int, authorised: int, matched: bool
    ) -> None:
        found = self.inference.sessions.get(session)
        first = (found.settled_nonce if found else 0) + step
        entries = [answer(self.genesis, session, first + i, tokens, matched) for i in range(count)]
        last = first + count - 1
        signed = vouch(self.genesis, session, last, authorised)
        made = self.attempt(
            self.as_worker(),
            "Inference",
            "submit_receipts",
            session=session,
            batch=summarise(entries),
            voucher=signed,
        )
        if made is not None:
            (submitted,) = made[-1:]
            self.entries[submitted.batch] = entries
            for entry in entries:
                key = (session, entry.receipt.nonce)
                assert key not in self.nonces
                self.nonces.add(key)

    @precondition(lambda self: self.entries)
    @rule(
        data=st.data(),
        verdict=st.sampled_from([Verdict.OK, Verdict.OK, Verdict.BAD, Verdict.INCONCLUSIVE]),
        agrees=st.sampled_from([True, True, False]),
        opens=st.sampled_from([True, True, True, False]),
    )
    def judge(self, data: st.DataObject, verdict: Verdict, agrees: bool, opens: bool) -> None:
        self.pass_judgement(
            data.draw(st.sampled_from(sorted(self.entries))), verdict, agrees, opens
        )

    @rule(
        session=st.sampled_from([0, 0, 1]),
        count=st.integers(1, 3),
        tokens=st.sampled_from([20, 100]),
        matched=st.sampled_from([True, True, False]),
        verdict=st.sampled_from([Verdict.OK, Verdict.OK, Verdict.OK, Verdict.BAD]),
    )
    def serve(self, session: int, count: int, tokens: int, matched: bool, verdict: Verdict) -> None:
        """Answer, submit, be judged and settled, as it is meant to be."""
        before = len(self.entries)
        self.submit(session, 1, count, tokens, 100 * OPEN, matched)
        if len(self.entries) > before:
            self.pass_judgement(max(self.entries), verdict, True, True)
            self.step(20)

    def pass_judgement(self, batch: int, verdict: Verdict, agrees: bool, opens: bool) -> None:
        self.step_until(lambda: self.attribution.duties.get(batch) is not None, 4)
        duty = self.attribution.duties.get(batch)
        if duty is None or duty.stage != DutyStage.JUDGING:
            return
        entries = self.entries[batch]
        drawn = [entries[i] for i in duty.receipts]
        code = QUERY if agrees else OTHER
        codes = tuple(code if e.report else QueryCode(b"", ()) for e in drawn)
        attestation = Attestation(0, codes, (verdict,) * len(drawn), bytes(32))
        digest = commitment(self.genesis, batch, account("Alice"), attestation)
        self.attempt(self.as_worker(), "Attribution", "commit", batch=batch, digest=digest)
        self.step_until(lambda: self.number() > duty.commit_until, 8)
        self.attempt(
            self.as_worker(), "Attribution", "reveal", batch=batch, attestation=attestation
        )
        paths = leaves(entries)
        openings = tuple(
            Opening(entries[i].receipt, entries[i].report, merkle.path(paths, i))
            for i in duty.receipts
        )
        if opens:
            self.attempt(self.as_worker(), "Attribution", "publish", batch=batch, openings=openings)

    def number(self) -> int:
        return self.chain.runtime.system.number.get()

    def step_until(self, reached: Any, most: int) -> None:
        for _ in range(most):
            if reached():
                return
            self.step(1)

    @rule(blocks=st.sampled_from([1, 1, 3, 12, 30]))
    def step(self, blocks: int) -> None:
        for _ in range(blocks):
            number = self.number() + 1
            self.chain.runtime.system.number.put(number)
            self.chain.runtime.session.mix.put(number.to_bytes(32, "big"))
            for pallet in self.chain.runtime.pallets:
                pallet.on_initialize(number)

    @rule(
        batch=small, who=st.sampled_from(["Bob", "Dave"]), name=st.sampled_from(["settle", "claim"])
    )
    def settle_or_claim(self, batch: int, who: str, name: str) -> None:
        arguments = {"batch": batch} if name == "settle" else {}
        self.attempt(who, "Inference", name, **arguments)

    @rule(who=st.sampled_from(["Alice", "Bob", "Bob", "Bob"]))
    def retire(self, who: str) -> None:
        made = self.attempt(who, "Inference", "retire_worker", key=WORKER.account_id)
        if made and self.inference.workers.get(WORKER.account_id) is None:
            register(self.chain)

    @rule(batch=small)
    def finalize(self, batch: int) -> None:
        self.attempt("Bob", "Attribution", "finalize", batch=batch)

    @invariant()
    def everything_adds_up(self) -> None:
        self.chain.check()

    @invariant()
    def only_the_fire_lowers_the_issuance(self) -> None:
        events = [record for _, _, record in self.chain.runtime.host.events]
        burned = sum(e.amount for e in events if isinstance(e, Burned))
        assert self.chain.runtime.balances.total_issuance.get() == self.issuance - burned

    @invariant()
    def escrow_is_settled_refunded_or_held(self) -> None:
        held = self.chain.runtime.balances.held_by_reason()[HoldReason.SESSION_ESCROW]
        assert held == sum(s.held for _, s in self.inference.sessions.items())
        for session, found in self.inference.sessions.items():
            claims = {
                state: sum(
                    b.summary.compute + b.summary.premium
                    for _, b in self.inference.batches.items()
                    if b.session == session and b.state == state
                )
                for state in BatchState
            }
            pending = sum(claims[s] for s in BatchState if s < BatchState.SETTLED)
            assert found.settled_total == pending + claims[BatchState.SETTLED]
            assert found.held == found.escrow - claims[BatchState.SETTLED]
            if found.state == SessionState.CLOSED:
                assert found.held == pending

    @invariant()
    def a_batch_is_settled_once(self) -> None:
        events = [record for _, _, record in self.chain.runtime.host.events]
        settled = [e.batch for e in events if isinstance(e, Settled)]
        assert len(settled) == len(frozenset(settled))
        states = {b: found.state for b, found in self.inference.batches.items()}
        assert all(states[batch] == BatchState.SETTLED for batch in settled)


TestMarket = Market.TestCase
TestMarket.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
