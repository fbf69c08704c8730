"""What calls weigh: every one fits into a block, and grows with the work that it asks for."""

from __future__ import annotations

from typing import Any

import pytest
from dev_chain import DevChain, keys
from market import QUERY, WORKER, answer
from panel import Panel

from runtime.construct import CALLS, PALLETS
from runtime.frame import pallet as declared
from runtime.frame.weights import BASE_EXTRINSIC, DB_WEIGHT, DUTY_PERCENT, MAX_BLOCK, db, per_unit
from runtime.pallets.attribution.types import Opening
from runtime.pallets.inference import Inference
from runtime.primitives.types import Weight
from runtime.protocols.batch import summarise
from runtime.protocols.committee import Attestation, Verdict
from runtime.protocols.report import QueryCode

CODES = QueryCode(bytes(8192), (0,) * 512)
"""As long as the chain admits."""
DUTY = MAX_BLOCK.ref_time * DUTY_PERCENT // 100 - BASE_EXTRINSIC.ref_time


def fixed() -> list[tuple[str, str, Weight]]:
    """Return the calls whose weight does not depend on their arguments."""
    return [
        (cls.NAME, info.name, info.weight)
        for cls in PALLETS
        for info in declared.calls(cls).values()
        if isinstance(info.weight, Weight)
    ]


@pytest.mark.parametrize(("pallet", "name", "weight"), fixed(), ids=lambda value: str(value)[:24])
def test_every_call_fits_into_a_block(pallet: str, name: str, weight: Weight) -> None:
    entry = next(i for c in PALLETS if pallet == c.NAME for i in declared.calls(c).values())
    assert weight.ref_time > 0
    most = DUTY if entry.duty else MAX_BLOCK.ref_time * 70 // 100
    assert weight.ref_time <= most
    assert weight.proof_size <= MAX_BLOCK.proof_size * 70 // 100


def test_reads_writes_and_computation_add_up() -> None:
    time = 3 * DB_WEIGHT.read + 2 * DB_WEIGHT.write + 7_000_000
    assert db(3, 2, 7) == Weight(time, 5 * 512)
    assert per_unit(db(3, 2, 7), 10, 11) == Weight(time + 110, 5 * 512)


def test_a_remark_weighs_by_its_bytes() -> None:
    for name in ("remark", "remark_with_event"):
        empty, some, more = (
            CALLS.weight(CALLS.make("System", name, remark=bytes(n))).ref_time
            for n in (0, 1000, 2000)
        )
        assert more - some == some - empty > 0


def test_a_batch_weighs_more_than_its_calls() -> None:
    inner = CALLS.make("System", "remark", remark=b"")
    one = CALLS.weight(inner).ref_time
    for name in ("batch", "batch_all", "force_batch"):
        none, ten = (
            CALLS.weight(CALLS.make("Utility", name, calls=(inner,) * n)).ref_time for n in (0, 10)
        )
        assert none > 0
        assert ten - none > 10 * one


def test_duties_weigh_by_their_codes_and_the_longest_are_admitted() -> None:
    def weights(code: QueryCode) -> tuple[int, int]:
        entry = answer(bytes(32), 0, 1, 20, True)
        report: Any = entry.report
        opened = Opening(
            entry.receipt,
            type(report)(
                report.receipt_hash, 0, code, report.top, (), report.clusters, report.salt
            ),
            (),
        )
        attestation = Attestation(0, (code,) * 4, (Verdict.OK,) * 4, bytes(32))
        made = (
            CALLS.make("Attribution", "publish", batch=0, openings=(opened,) * 4),
            CALLS.make("Attribution", "reveal", batch=0, attestation=attestation),
        )
        first, second = (CALLS.weight(call).ref_time for call in made)
        return first, second

    for short, long in zip(weights(QUERY), weights(CODES), strict=True):
        assert short < long <= DUTY


def test_a_block_takes_duties_up_to_their_share_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panel = Panel()
    entry = next(i for i in declared.calls(Inference).values() if i.name == "submit_receipts")
    assert isinstance(entry.weight, Weight)
    share = 2 * (entry.weight.ref_time + BASE_EXTRINSIC.ref_time)
    panel.chain.make_block()
    duties = []
    for nonce in range(3):
        entries = [answer(panel.genesis, 0, nonce + 1, 20, True)]
        duties.append(
            panel.chain.sign(
                WORKER,
                "Inference",
                "submit_receipts",
                nonce=nonce,
                session=0,
                batch=summarise(entries),
                voucher=panel.voucher(nonce + 1),
            )
        )
    monkeypatch.setattr("runtime.block._DUTY_TIME", share)
    remark = panel.chain.sign(keys("Bob"), "System", "remark", remark=b"")
    made = panel.chain.make_block(*duties, remark)
    assert made.refused == ()
    assert list(made.block.extrinsics[1:]) == [*duties[:2], remark]
    assert panel.chain.make_block(duties[2]).named("ReceiptsSubmitted")


def test_the_fee_rises_with_the_weight(chain: DevChain) -> None:
    fee = chain.runtime.transaction_payment.fee
    heavy, light = db(1000, 100, 1000), db(1, 1, 1)
    assert fee(100, heavy, 0) > fee(100, light, 0)
