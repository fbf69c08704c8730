"""A state in which every call has about as much to do as the limits admit.

Thousands of accounts and batches of records lie in it, so that tries are deep; the model has 16
Datanets, 32 backers and a line of ancestors; each stage of a judgement holds `COPIES` batches with
64 clusters and four drawn receipts. Entries are written directly: only the calls are measured.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from benches.weight_receipts import (
    DATANETS,
    DRAWN,
    GENESIS,
    NARROW,
    PRICE,
    RECEIPTS,
    RECORDS,
    WIDE,
    account,
    attested,
    opened,
    query,
    stated,
)
from benches.weight_records import add_datanets
from node.client.signing import KeyPair, from_uri
from runtime import construct
from runtime.frame.currency import HoldReason
from runtime.pallets.attribution.types import Duty, DutyStage, Published
from runtime.pallets.inference.pallet import POT
from runtime.pallets.inference.types import Batch, BatchState, Session, SessionState, Worker
from runtime.pallets.models.types import Artifact, Backer, DatanetVersion, Model, Roots, Stage
from runtime.pallets.session.types import KeyRecord
from runtime.primitives.header import Header
from runtime.primitives.keys import ss58_encode
from runtime.protocols.batch import ReceiptBatch
from runtime.protocols.committee import commitment
from runtime.state.overlay import Overlay
from runtime.state.store import MemoryState

OPEN = 10**18
COPIES = 48
NUMBER = 1_000


@cache
def key(name: str) -> KeyPair:
    return from_uri(f"//{name}", "sr25519")


CUSTOMER, OWNER, HOT = key("customer"), key("owner"), key("hot")
EXECUTOR = key("executor")
WORKERS = tuple(key(f"worker-{i}") for i in range(4))
SEATS = tuple(key(f"seat-{i}") for i in range(3))
SEAT_WORKERS = tuple(key(f"seat-worker-{i}") for i in range(3))
SENDERS = tuple(key(f"sender-{i}") for i in range(400))


class World:
    """The state, and what the calls refer to in it.

    Batches of receipts: `commit`, `reveal`, `count`, `settle`, `final` are the first ids of
    `COPIES` batches each that wait for just that; `narrow` is one to reveal with few coordinates.
    """

    def __init__(self, accounts: int = 5_000) -> None:
        people = [CUSTOMER, OWNER, EXECUTOR, *SEATS, *SENDERS]
        ids = [p.account_id for p in people] + [account("idle", i) for i in range(accounts)]
        ids += [account("contributor", i) for i in range(RECORDS)]
        ids += [account("backer", i) for i in range(32)]
        validators = [EXECUTOR.account_id, *(s.account_id for s in SEATS)]
        validators += [account("validator", i) for i in range(96)]
        config = {
            "balances": {"balances": [[ss58_encode(i), str(10**7 * OPEN)] for i in ids]},
            "session": {
                "validators": [
                    [ss58_encode(v), "0x" + f"{i:02x}" * 32, "1000"]
                    for i, v in enumerate(validators)
                ],
                "epoch_length": 10**6,
            },
            "sudo": {"key": ss58_encode(OWNER.account_id)},
            "models": {"bases": [["base", "0x" + "22" * 32, str(10**16)]]},
        }
        self.entries = construct.genesis_state(config)
        overlay = Overlay(MemoryState(self.entries))
        self.runtime = construct.Runtime(overlay)
        self.runtime.system.block_hash.insert(0, GENESIS)
        self.runtime.system.number.put(NUMBER)
        self.runtime.inference.oldest_deadline.put(NUMBER)
        self.runtime.attribution.oldest_agenda.put(NUMBER)
        self.copy, self.original = add_datanets(self.runtime, OWNER.account_id, NUMBER)
        self._models()
        self._keys()
        self._market()
        self._judgements()
        changes = {k: v for k, v in overlay.changes().items() if v is not None}
        self.entries |= changes
        self.state = MemoryState(self.entries)
        self.head = Header(bytes(32), NUMBER, self.state.root, bytes(32), ())

    def _models(self) -> None:
        """Register a line of eight: 7 ancestors, then models 7 (wide codes) and 8 (narrow)."""
        models = self.runtime.models
        used = tuple(DatanetVersion(d, 0) for d in range(DATANETS))
        backers = sorted(account("backer", i) for i in range(32))
        who = OWNER.account_id
        for model in range(10):
            layout = NARROW if model == 8 else WIDE
            artifact = Artifact(
                account("manifest", model), 1, bytes(32), Roots(*[bytes(32)] * 5), layout, 0
            )
            ancestor = model < 7
            models.models.insert(
                model,
                Model(
                    owner=account("contributor", model) if ancestor else who,
                    name=b"n" * 64,
                    base=0,
                    parent=None if model == 0 else min(model, 7) - 1,
                    royalty=100,
                    datanets=used,
                    stake=0 if ancestor else 10 * OPEN,
                    backers=tuple(Backer(b, (i + 1) * OPEN) for i, b in enumerate(backers)),
                    proposed=1,
                    stage=Stage.TRAINED if model == 9 else Stage.LAUNCHED,
                    artifact=artifact,
                    price=PRICE,
                ),
            )
        proposed = replace(models.models[9], stage=Stage.PROPOSED, artifact=None, price=None)
        few = replace(proposed, backers=proposed.backers[:31])
        models.models.insert(10, few)
        models.next_model.put(11)
        self.runtime.balances.hold(HoldReason.MODEL_STAKE, who, 100 * OPEN)
        for i, backer in enumerate(backers):
            self.runtime.balances.hold(HoldReason.MODEL_STAKE, backer, 20 * (i + 1) * OPEN)

    def _keys(self) -> None:
        """Register a session key of the first sender, which a new one would replace."""
        who, registered = SENDERS[0].account_id, account("session key")
        self.runtime.session.next_keys.insert(who, registered)
        self.runtime.session.key_owner.insert(registered, KeyRecord(who, None))

    def _market(self) -> None:
        inference, runtime = self.runtime.inference, self.runtime
        pairs = [(EXECUTOR, w) for w in WORKERS]
        pairs += list(zip(SEATS, SEAT_WORKERS, strict=True))
        for validator, worker in pairs:
            runtime.balances.hold(HoldReason.WORKER_DEPOSIT, validator.account_id, 10 * OPEN)
            runtime.system.inc_providers(worker.account_id)
            busy = worker in WORKERS
            inference.workers.insert(
                worker.account_id,
                Worker(
                    validator=validator.account_id,
                    endpoint=b"e" * 256,
                    models=tuple(range(64)),
                    capacity=1,
                    deposit=10 * OPEN,
                    registered=1,
                    retiring=False,
                    open_batches=1000 if busy else 0,
                    final_batches=0,
                    faults=0,
                    quota_epoch=0,
                    quota_used=0,
                ),
            )
            active = inference.active_workers[validator.account_id]
            inference.active_workers.insert(validator.account_id, active + 1)
        escrow = 10**6 * OPEN
        runtime.balances.hold(HoldReason.SESSION_ESCROW, CUSTOMER.account_id, 6 * escrow)
        for session in range(6):
            self._session(session, WORKERS[session % 4], 8 if session == 4 else 7, escrow)
        inference.next_session.put(6)
        inference.claimable.insert(SENDERS[0].account_id, OPEN)
        runtime.balances.mint(POT, OPEN)

    def _session(self, session: int, worker: KeyPair, model: int, escrow: int) -> None:
        expired = session == 5
        self.runtime.inference.sessions.insert(
            session,
            Session(
                customer=CUSTOMER.account_id,
                voucher_key=HOT.account_id,
                model=model,
                executor=worker.account_id,
                price=PRICE,
                escrow=escrow,
                held=escrow,
                max_fee=100 * OPEN,
                settled_nonce=0,
                settled_total=0,
                opened=1,
                expires=NUMBER if expired else 10 * NUMBER,
                closes=1 if expired else 0,
                state=SessionState.CLOSING if expired else SessionState.OPEN,
            ),
        )

    # Judgements.

    def batch(self, first: int, last: int) -> ReceiptBatch:
        """Return what a submission of `first` to `last` states."""
        return stated(self.root, first, last)

    def _judgements(self) -> None:
        self.narrow = 0
        self.root, self.narrow_openings = opened(4, NARROW)
        self._judge(0, 4, NARROW, NUMBER - 1, BatchState.OPEN, DutyStage.JUDGING)
        self.root, self.openings = opened(0, WIDE)
        first = 1
        stages = {
            "commit": (NUMBER + 5, BatchState.OPEN, DutyStage.JUDGING),
            "reveal": (NUMBER - 1, BatchState.OPEN, DutyStage.JUDGING),
            "count": (NUMBER - 10, BatchState.OPEN, DutyStage.JUDGING),
            "settle": (NUMBER - 50, BatchState.COMMITTED, DutyStage.DISPUTE),
            "final": (NUMBER - 50, BatchState.FINAL, DutyStage.DISPUTE),
        }
        self.first: dict[str, int] = {}
        for name, (commit_until, state, stage) in stages.items():
            self.first[name] = first
            for batch in range(first, first + COPIES):
                self._judge(batch, 0, WIDE, commit_until, state, stage)
            first += COPIES
        self.runtime.inference.next_batch.put(first)

    def _judge(
        self, batch: int, session: int, layout: Any, commit_until: int, state: Any, stage: Any
    ) -> None:
        attribution, inference = self.runtime.attribution, self.runtime.inference
        worker = inference.sessions[session].executor
        summary = self.batch(1, RECEIPTS)
        inference.batches.insert(batch, Batch(session, worker, summary, NUMBER - 60, state))
        seats = tuple(s.account_id for s in SEATS)
        reveal_until = commit_until + 5
        duty = Duty(
            bytes(32),
            True,
            False,
            seats,
            DRAWN,
            commit_until,
            reveal_until,
            reveal_until + 11,
            stage,
        )
        attribution.duties.insert(batch, duty)
        attestation = attested(layout)
        waiting = commit_until >= NUMBER - 1
        for seat in seats[1:] if waiting else seats:
            digest = commitment(GENESIS, batch, seat, attestation)
            attribution.commits.insert(batch, seat, digest)
            if commit_until < NUMBER and not waiting:
                attribution.reveals.insert(batch, seat, attestation)
        if commit_until == NUMBER - 1:
            digest = commitment(GENESIS, batch, seats[0], attestation)
            attribution.commits.insert(batch, seats[0], digest)
        elif commit_until < NUMBER:
            codes = (query(layout, 1),) * 4
            attribution.opened.insert(batch, Published(codes, (bytes(32),) * 4, 0, 0))
