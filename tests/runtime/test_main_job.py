"""The rules alone, from a Datanet's creation to the last unit of a settled inference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from dev_chain import next_claim

from node.client.signing import KeyPair, from_uri
from runtime import construct, executive
from runtime.frame.event_records import EventRecord
from runtime.pallets.attribution.types import Opening
from runtime.pallets.datanets.types import Policy
from runtime.pallets.inference.pallet import ownership_message
from runtime.pallets.models.types import Artifact, DatanetVersion, Roots
from runtime.primitives.digest import pre_digest_item
from runtime.primitives.errors import InvalidTransaction
from runtime.primitives.extrinsic import (
    Extensions,
    Immortal,
    SignedPart,
    UncheckedExtrinsic,
    signing_payload,
)
from runtime.primitives.header import Header
from runtime.primitives.keys import ss58_encode
from runtime.primitives.types import Id
from runtime.protocols import merkle, receipt, report, voucher
from runtime.protocols.batch import Entry, leaves, summarise
from runtime.protocols.committee import Attestation, Verdict, commitment
from runtime.protocols.ids import RecordId
from runtime.protocols.price import Price, cost
from runtime.protocols.record_batch import encode_batch
from runtime.protocols.record_batch import summarise as summarise_records
from runtime.protocols.report import QueryCode, Report, Scored
from runtime.protocols.weights import cluster_scores, weights
from runtime.state.overlay import Overlay
from runtime.state.store import LayeredState, MemoryState, State

OPEN = 10**18
LAYOUT = (4, 4)
QUERY = QueryCode(bytes((10, 20, 246, 7, 1, 2, 3, 4)), (0, 1))
ALICE, BOB, CHARLIE, DAVE, EVE = (
    from_uri(f"//{name}") for name in ("Alice", "Bob", "Charlie", "Dave", "Eve")
)
WORKER = from_uri("//Alice//worker")
HOT = from_uri("//Eve//voucher")


@dataclass
class Chain:
    """A chain of one author in memory."""

    state: State
    header: Header
    events: list[EventRecord] = field(default_factory=list)

    @property
    def runtime(self) -> construct.Runtime:
        return construct.Runtime(Overlay(self.state))

    @property
    def genesis(self) -> bytes:
        return self.runtime.system.block_hash[0]

    def block(self, *extrinsics: bytes) -> None:
        claim = next_claim(self.runtime, self.header)
        built = executive.build_block(
            self.header,
            self.state,
            timestamp=1000 * (self.header.number + 1),
            digest=(pre_digest_item(claim),),
            candidates=extrinsics,
            full=lambda: False,
        )
        assert built.refused == ()
        outcome = executive.apply_block(self.header, self.state, built.block)
        assert outcome == built.outcome
        self.state = LayeredState(self.state, outcome.changes, outcome.update)
        self.header = outcome.header
        self.runtime.check_invariants()
        raw = self.state.get(construct.storage_key("System", "Events"))
        assert raw is not None
        self.events = list(construct.EVENTS.decode(raw))

    def call(self, signer: KeyPair, pallet: str, call: str, /, **arguments: Any) -> Any:
        """Make a call in a block of its own and return the event that is not bookkeeping."""
        self.block(self.sign(signer, pallet, call, **arguments))
        outcome = [e for e in self.events if e.extrinsic == 1][-1]
        assert outcome.name == "ExtrinsicSuccess", outcome
        return [e.event for e in self.events if e.extrinsic == 1 and e.pallet == pallet][-1]

    def sign(self, signer: KeyPair, pallet: str, call_name: str, /, **arguments: Any) -> bytes:
        call = construct.encode_call(pallet, call_name, **arguments)
        nonce = self.runtime.system.account[signer.account_id].nonce
        extensions = Extensions(Immortal(), nonce, 0)
        genesis = self.genesis if self.header.number else self.header.hash()
        payload = signing_payload(
            call,
            extensions,
            spec_version=1,
            transaction_version=1,
            genesis_hash=genesis,
            birth_hash=genesis,
        )
        signed = SignedPart(Id(signer.account_id), signer.sign(payload), extensions)
        return UncheckedExtrinsic(signed, call).encode()

    def until(self, pallet: str, name: str, limit: int = 40) -> Any:
        """Make empty blocks until an event happens."""
        for _ in range(limit):
            self.block()
            for record in self.events:
                if (record.pallet, record.name) == (pallet, name):
                    return record.event
        raise AssertionError(f"no {pallet}.{name} in {limit} blocks")


@pytest.fixture
def chain() -> Chain:
    people = (ALICE, BOB, CHARLIE, DAVE, EVE)
    state = MemoryState(
        construct.genesis_state(
            {
                "balances": {
                    "balances": [[ss58_encode(p.account_id), str(10**6 * OPEN)] for p in people]
                },
                "session": {
                    "validators": [[ss58_encode(ALICE.account_id), "0x" + "11" * 32, "1000"]]
                },
                "sudo": {"key": ss58_encode(ALICE.account_id)},
                "models": {"bases": [["open-nano", "0x" + "22" * 32, str(10**16)]]},
                "inference": {"windows": [5, 5, 10, 10]},
                "attribution": {"allow_self_attestation": True},
            }
        )
    )
    return Chain(state, executive.genesis_header(state.root))


PRICE = Price(10**15, 2 * 10**15, 10**16)


def launch_model(chain: Chain) -> None:
    chain.call(
        DAVE,
        "Datanets",
        "create",
        name=b"manuals",
        schema=(b"title", b"text"),
        policy=Policy(True, OPEN // 10, OPEN),
    )
    for who, text in ((BOB, "alpha"), (CHARLIE, "beta")):
        records = tuple((f"{text} {i}", f"The text of {text} number {i}.") for i in range(3))
        blob = encode_batch(records, 2)
        summary, _ = summarise_records(blob, records)
        submitted = chain.call(
            who,
            "Datanets",
            "submit_batch",
            datanet=0,
            sub_root=summary.sub_root,
            count=summary.count,
            bytes_=len(blob),
            blob=summary.blob_hash,
            licence=b"CC0-1.0",
            bond=OPEN,
        )
        assert chain.runtime.declared_blob(summary.blob_hash) == len(blob)
        chain.call(DAVE, "Datanets", "accept", datanet=0, batch=submitted.batch)
    chain.call(DAVE, "Datanets", "publish_version", datanet=0)
    chain.call(
        DAVE,
        "Models",
        "propose",
        name=b"manual-writer",
        base=0,
        parent=None,
        royalty=0,
        datanets=(DatanetVersion(0, 0),),
        stake=10 * OPEN,
    )
    chain.call(CHARLIE, "Models", "back", model=0, amount=5 * OPEN)
    artifact = Artifact(
        bytes([9]) * 32,
        1000,
        bytes([8]) * 32,
        Roots(*[bytes([i]) * 32 for i in range(5)]),
        LAYOUT,
        0,
    )
    chain.call(DAVE, "Models", "submit_artifact", model=0, artifact=artifact)
    chain.call(DAVE, "Models", "launch", model=0, price=PRICE)


def open_session(chain: Chain) -> None:
    proof = WORKER.sign(ownership_message(chain.genesis, WORKER.account_id, ALICE.account_id))
    chain.call(
        ALICE,
        "Inference",
        "register_worker",
        key=WORKER.account_id,
        proof=proof,
        endpoint=b"http://127.0.0.1:8000",
        models=(),
        capacity=4,
    )
    chain.call(
        EVE,
        "Inference",
        "open_session",
        model=0,
        executor=WORKER.account_id,
        voucher_key=HOT.account_id,
        escrow=100 * OPEN,
        max_fee=10 * OPEN,
        ttl=1000,
    )


def answer(chain: Chain, nonce: int) -> Entry:
    due = cost(PRICE, 10, 20)
    given = receipt.Receipt(
        genesis=chain.genesis,
        session=0,
        nonce=nonce,
        request_hash=bytes(32),
        response_hash=receipt.response_hash(range(20)),
        prompt_tokens=10,
        completion_tokens=20,
        compute=due.compute,
        premium=due.premium,
        manifest_hash=bytes(32),
        engine_hash=bytes(32),
        sampling_hash=bytes(32),
        logits_digest=bytes(32),
    )
    top = (Scored(RecordId(0, 1), 900), Scored(RecordId(0, 4), 100), Scored(RecordId(0, 0), -5))
    clusters = weights(cluster_scores(top, {}, {}))
    made = Report(receipt.receipt_hash(given), 0, QUERY, top, (), clusters, bytes([nonce]) * 32)
    report.check_report(made)
    return Entry(given, made)


def vouch(chain: Chain, entries: list[Entry]) -> voucher.SignedVoucher:
    latest = voucher.Voucher(
        chain.genesis, 0, entries[-1].receipt.nonce, bytes(32), 10 * OPEN, 50 * OPEN, 10_000
    )
    return voucher.SignedVoucher(latest, HOT.sign(voucher.signing_bytes(latest)))


def submit(chain: Chain, entries: list[Entry]) -> int:
    submitted = chain.call(
        WORKER,
        "Inference",
        "submit_receipts",
        session=0,
        batch=summarise(entries),
        voucher=vouch(chain, entries),
    )
    batch: int = submitted.batch
    return batch


def judge(chain: Chain, batch: int, entries: list[Entry], verdict: Verdict, code: QueryCode) -> Any:
    drawn = chain.until("Attribution", "CommitteeDrawn")
    assert drawn.self_attested
    assert drawn.seats == (ALICE.account_id,)
    attestation = Attestation(
        0, (code,) * len(drawn.receipts), (verdict,) * len(drawn.receipts), b"s" * 32
    )
    digest = commitment(chain.genesis, batch, ALICE.account_id, attestation)
    chain.call(WORKER, "Attribution", "commit", batch=batch, digest=digest)
    while chain.header.number < chain.runtime.attribution.duties[batch].commit_until:
        chain.block()
    chain.call(WORKER, "Attribution", "reveal", batch=batch, attestation=attestation)
    data = leaves(entries)
    openings = tuple(
        Opening(entries[i].receipt, entries[i].report, merkle.path(data, i)) for i in drawn.receipts
    )
    chain.call(WORKER, "Attribution", "publish", batch=batch, openings=openings)
    return drawn


def test_every_unit_of_a_fee_reaches_its_owner(chain: Chain) -> None:
    launch_model(chain)
    open_session(chain)
    entries = [answer(chain, 1), answer(chain, 2)]
    fee = sum(e.receipt.compute + e.receipt.premium for e in entries)
    before = {p: chain.runtime.balances.free(p.account_id) for p in (ALICE, BOB, CHARLIE, DAVE)}
    batch = submit(chain, entries)
    judge(chain, batch, entries, Verdict.OK, QUERY)
    chain.until("Attribution", "Agreed")
    settled = chain.until("Inference", "Settled")
    assert settled.compute + settled.premium == fee
    paid = [e.event for e in chain.events if e.name == "Paid"]
    assert sum(p.amount for p in paid) == fee
    after = {p: chain.runtime.balances.free(p.account_id) for p in before}
    contributors = {p.account: p.amount for p in paid if p.role.name == "CONTRIBUTOR"}
    premium = sum(e.receipt.premium for e in entries)
    assert sum(contributors.values()) == premium // 2
    assert contributors[BOB.account_id] == premium // 2 * 9 // 10
    assert after[BOB] - before[BOB] == contributors[BOB.account_id]
    assert after[CHARLIE] > before[CHARLIE] + contributors[CHARLIE.account_id]  # backs it too
    assert after[ALICE] > before[ALICE]
    assert chain.runtime.inference.sessions[0].held == 100 * OPEN - fee


def test_what_is_not_spent_goes_back_to_the_customer(chain: Chain) -> None:
    launch_model(chain)
    open_session(chain)
    before = chain.runtime.balances.free(EVE.account_id)
    chain.call(EVE, "Inference", "close_session", session=0)
    closed = chain.until("Inference", "SessionClosed")
    assert closed.refunded == 100 * OPEN
    fee = chain.runtime.balances.free(EVE.account_id)
    assert before < fee < before + 100 * OPEN


@pytest.mark.parametrize(
    ("verdict", "code", "fault"),
    [
        (Verdict.BAD, QUERY, True),
        (Verdict.UNAVAILABLE, QUERY, True),
        (Verdict.INCONCLUSIVE, QUERY, False),
        (Verdict.OK, QueryCode(bytes((246, 20, 10, 7, 1, 2, 3, 4)), (0, 1)), False),
    ],
)
def test_a_batch_that_the_committee_does_not_confirm_is_void_and_refunded(
    chain: Chain, verdict: Verdict, code: QueryCode, fault: bool
) -> None:
    launch_model(chain)
    open_session(chain)
    entries = [answer(chain, 1)]
    free = chain.runtime.balances.free(EVE.account_id)
    batch = submit(chain, entries)
    judge(chain, batch, entries, verdict, code)
    rejected = chain.until("Attribution", "Rejected")
    assert rejected.fault is fault
    fee = entries[0].receipt.compute + entries[0].receipt.premium
    assert chain.runtime.balances.free(EVE.account_id) == free + fee
    assert chain.runtime.inference.workers[WORKER.account_id].faults == fault


def test_an_executor_that_opens_nothing_is_at_fault(chain: Chain) -> None:
    launch_model(chain)
    open_session(chain)
    submit(chain, [answer(chain, 1)])
    rejected = chain.until("Attribution", "Rejected")
    assert rejected.fault


def test_a_receipt_is_settled_once(chain: Chain) -> None:
    launch_model(chain)
    open_session(chain)
    entries = [answer(chain, 1)]
    submit(chain, entries)
    again = chain.sign(
        WORKER,
        "Inference",
        "submit_receipts",
        session=0,
        batch=summarise(entries),
        voucher=vouch(chain, entries),
    )
    with pytest.raises(InvalidTransaction, match="STALE"):
        executive.validate_transaction(chain.state, chain.header, again)
