"""A market with several validators: who judges whom, opinion by opinion, in real blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dev_chain import ENDOWMENT, OPEN, PEOPLE, Made, account, keys
from market import HOT, QUERY, WORKER, answer, prepared, register, vouch

from node.client.signing import KeyPair
from runtime.frame.currency import HoldReason
from runtime.frame.origin import Signed
from runtime.pallets.attribution.types import Duty, Opening
from runtime.pallets.balances.pallet import Burned
from runtime.pallets.inference.types import BatchState
from runtime.primitives.keys import ss58_encode
from runtime.protocols import merkle
from runtime.protocols.batch import Entry, leaves, summarise
from runtime.protocols.committee import Attestation, Verdict, commitment
from runtime.protocols.report import QueryCode
from runtime.protocols.settlement import Role
from runtime.protocols.voucher import SignedVoucher

STAKES = {"Alice": 1000, "Bob": 100, "Charlie": 200, "Ferdie": 300}
"""Alice executes; the others are eligible: Dave owns the model and Eve is the customer."""
NO_CODE = QueryCode(b"", ())


class Opinion(NamedTuple):
    """What a member finds of every drawn receipt."""

    verdict: Verdict = Verdict.OK
    code: QueryCode = QUERY


OK = Opinion()


def worker_of(validator: str) -> KeyPair:
    """Return the key of a validator's worker."""
    return WORKER if validator == "Alice" else keys(f"{validator}//worker", "ed25519")


class Panel:
    """A chain whose validators have stakes and workers, and Eve's session 0 with Alice's worker."""

    def __init__(self, stakes: Mapping[str, int] = STAKES, idle: tuple[str, ...] = ()) -> None:
        people = sorted({*PEOPLE, *stakes})
        self.validators = {account(name): name for name in stakes}
        self.chain = prepared(
            balances={"balances": [[ss58_encode(account(p)), str(ENDOWMENT)] for p in people]},
            session={
                "validators": [
                    [ss58_encode(account(name)), "0x" + f"{i:02x}" * 32, str(stake)]
                    for i, (name, stake) in enumerate(stakes.items(), 1)
                ]
            },
            attribution={"allow_self_attestation": False},
        )
        for name in stakes:
            if name != "Alice" and name not in idle:
                register(self.chain, name, worker_of(name))
        self.open_session("Eve")
        self.genesis = self.chain.runtime.system.block_hash[0]
        self.entries: dict[int, list[Entry]] = {}
        self.issuance = self.chain.runtime.balances.total_issuance.get()

    def open_session(self, customer: str) -> int:
        session = self.chain.runtime.inference.next_session.get()
        self.chain.call(
            customer,
            "Inference",
            "open_session",
            model=0,
            executor=WORKER.account_id,
            voucher_key=HOT.account_id,
            escrow=500 * OPEN,
            max_fee=OPEN,
            ttl=5000,
        )
        return session

    def submit(self, count: int = 2, session: int = 0, tokens: int = 20) -> int:
        """Submit the next receipts of a session; return the batch's id."""
        inference = self.chain.runtime.inference
        first = inference.sessions[session].settled_nonce + 1
        numbers = range(first, first + count)
        entries = [answer(self.genesis, session, n, tokens, True) for n in numbers]
        batch = inference.next_batch.get()
        self.chain.call(
            Signed(WORKER.account_id),
            "Inference",
            "submit_receipts",
            session=session,
            batch=summarise(entries),
            voucher=self.voucher(numbers[-1], session),
        )
        self.entries[batch] = entries
        return batch

    def voucher(self, nonce: int, session: int = 0) -> SignedVoucher:
        return vouch(self.genesis, session, nonce, 500 * OPEN)

    def drawn(self, batch: int) -> Duty:
        """Go on until the batch's committee is drawn."""
        for _ in range(4):
            duty = self.chain.runtime.attribution.duties.get(batch)
            if duty is not None:
                return duty
            self.block()
        raise AssertionError(f"no committee for batch {batch}")

    def attestation(self, duty: Duty, opinion: Opinion = OK) -> Attestation:
        drawn = len(duty.receipts)
        return Attestation(0, (opinion.code,) * drawn, (opinion.verdict,) * drawn, bytes(32))

    def commit(self, batch: int, seat: bytes, attestation: Attestation) -> None:
        digest = commitment(self.genesis, batch, seat, attestation)
        self.duty(seat, "commit", batch=batch, digest=digest)

    def reveal(self, batch: int, seat: bytes, attestation: Attestation) -> None:
        self.duty(seat, "reveal", batch=batch, attestation=attestation)

    def duty(self, seat: bytes, name: str, /, **arguments: Any) -> None:
        worker = Signed(worker_of(self.validators[seat]).account_id)
        self.chain.call(worker, "Attribution", name, **arguments)

    def openings(self, batch: int, duty: Duty) -> tuple[Opening, ...]:
        entries = self.entries[batch]
        data = leaves(entries)
        return tuple(
            Opening(entries[i].receipt, entries[i].report, merkle.path(data, i))
            for i in duty.receipts
        )

    def publish(self, batch: int) -> None:
        duty = self.chain.runtime.attribution.duties[batch]
        openings = self.openings(batch, duty)
        self.duty(account("Alice"), "publish", batch=batch, openings=openings)

    def judge(
        self, batch: int, opinions: Mapping[str, Opinion | None], *, opens: bool = True
    ) -> Made:
        """Let each named seat find its opinion, None for one that never reveals; count.

        A seat that is not named finds the batch in order. Returns the block that counts.
        """
        duty = self.drawn(batch)
        found = {seat: opinions.get(self.validators[seat], OK) for seat in duty.seats}
        for seat, opinion in found.items():
            self.commit(batch, seat, self.attestation(duty, opinion or OK))
        while self.chain.head.number < duty.commit_until:
            self.block()
        for seat, opinion in found.items():
            if opinion is not None:
                self.reveal(batch, seat, self.attestation(duty, opinion))
        if opens:
            self.publish(batch)
        while self.chain.head.number < duty.reveal_until:
            self.block()
        return self.block()

    def settled(self, batch: int) -> Made:
        """Go on to the block in which the batch's dispute window ends, and return it."""
        final_at = self.chain.runtime.attribution.duties[batch].final_at
        while self.chain.head.number < final_at - 1:
            self.block()
        return self.block()

    def block(self) -> Made:
        """Make a block, which checks all invariants, and check where the money is."""
        made = self.chain.make_block()
        self.check_money(made)
        return made

    def check_money(self, made: Made | None = None) -> None:
        """Check escrow, pot and issuance from the states of the batches alone."""
        runtime = self.chain.runtime
        if made is not None:
            self.issuance -= sum(e.amount for e in made.named("Burned") if isinstance(e, Burned))
        assert runtime.balances.total_issuance.get() == self.issuance
        pending = settled = 0
        for _, found in runtime.inference.batches.items():
            total = found.summary.compute + found.summary.premium
            pending += total if found.state < BatchState.SETTLED else 0
            settled += total if found.state == BatchState.SETTLED else 0
        sessions = [s for _, s in runtime.inference.sessions.items()]
        assert sum(s.settled_total for s in sessions) == pending + settled
        assert sum(s.escrow - s.held for s in sessions) == settled
        held = runtime.balances.held_by_reason()[HoldReason.SESSION_ESCROW]
        assert held == sum(s.held for s in sessions) >= pending

    def paid(self, made: Made, role: Role) -> dict[bytes | None, int]:
        """Return what a settlement paid for a role, by account."""
        return {p.account: p.amount for p in made.named("Paid") if p.role == role}

    def names(self, seats: tuple[bytes, ...]) -> set[str]:
        return {self.validators[seat] for seat in seats}
