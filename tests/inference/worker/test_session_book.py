"""The session book: no order of requests, crashes and restarts makes it forget or repeat."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from inference.sampling import SamplingParams
from inference.trace import Trace
from inference.worker.book import SessionBook
from inference.worker.book_file import BookError, BookReason
from inference.worker.book_rows import Answered, Attributed
from node.client.signing import from_uri
from runtime.pallets.inference.types import Session, SessionState
from runtime.protocols import voucher as vouchers
from runtime.protocols.batch import summarise
from runtime.protocols.price import Price, cost
from runtime.protocols.receipt import Receipt, SignedReceipt, response_hash, signing_bytes
from runtime.protocols.voucher import SignedVoucher, Voucher, VoucherReason, VoucherRefusal

GENESIS = b"g" * 32
HOT, KEY = from_uri("//Hot", "ed25519"), from_uri("//Worker", "ed25519")
PRICE = Price(1, 2, 10)
SESSION = Session(
    customer=bytes(32),
    voucher_key=HOT.account_id,
    model=0,
    executor=KEY.account_id,
    price=PRICE,
    escrow=5_000,
    held=5_000,
    max_fee=1_000,
    settled_nonce=0,
    settled_total=0,
    opened=1,
    expires=1_000,
    closes=0,
    state=SessionState.OPEN,
)
BODY = b"{}"


def voucher(nonce: int, max_fee: int = 500, authorised: int = 5_000) -> SignedVoucher:
    made = Voucher(GENESIS, 0, nonce, vouchers.request_hash(BODY), max_fee, authorised, 100)
    return SignedVoucher(made, HOT.sign(vouchers.signing_bytes(made)))


TRACE = Trace(bytes(32), b"fingerprint")


def answered(nonce: int, tokens: int = 3) -> Answered:
    due = cost(PRICE, 5, tokens)
    receipt = Receipt(
        genesis=GENESIS,
        session=0,
        nonce=nonce,
        request_hash=vouchers.request_hash(BODY),
        response_hash=response_hash(range(tokens)),
        prompt_tokens=5,
        completion_tokens=tokens,
        compute=due.compute,
        premium=due.premium,
        manifest_hash=bytes(32),
        engine_hash=bytes(32),
        sampling_hash=SamplingParams().content_hash,
        logits_digest=bytes(32),
    )
    signed = SignedReceipt(receipt, KEY.sign(signing_bytes(receipt)))
    return Answered(
        signed, tuple(range(5)), tuple(range(tokens)), SamplingParams(), 0, 1, TRACE, b"engine"
    )


def open_book(folder: Path) -> SessionBook:
    return SessionBook(folder / "book.sqlite", GENESIS, KEY.account_id)


class BookMachine(RuleBasedStateMachine):
    """Any order of what a worker does, against a model in plain Python."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.book = open_book(Path(self.folder.name))
        self.open: dict[int, int] = {}
        self.taken: set[int] = set()
        self.fees: dict[int, int] = {}
        self.batched: set[int] = set()

    def teardown(self) -> None:
        self.book.close()
        self.folder.cleanup()

    @rule(nonce=st.integers(0, 30), max_fee=st.integers(100, 2_000))
    def accept(self, nonce: int, max_fee: int) -> None:
        needed = sum(self.fees.values()) + sum(self.open.values()) + max_fee
        good = nonce > max(self.taken, default=0) and needed <= SESSION.escrow
        try:
            self.book.accept(voucher(nonce, max_fee), BODY, SESSION, 1)
        except VoucherRefusal:
            assert not good
        else:
            assert good
            self.taken.add(nonce)
            self.open[nonce] = max_fee

    @rule(data=st.data(), tokens=st.integers(1, 8))
    def answer(self, data: st.DataObject, tokens: int) -> None:
        if self.open:
            nonce = data.draw(st.sampled_from(sorted(self.open)))
            del self.open[nonce]
            made = answered(nonce, tokens)
            self.book.answer(made)
            self.fees[nonce] = made.signed.receipt.cost().total()

    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        if self.open:
            nonce = data.draw(st.sampled_from(sorted(self.open)))
            del self.open[nonce]
            self.book.abandon(0, nonce)

    @rule()
    def crash(self) -> None:
        self.book.close()
        self.book = open_book(Path(self.folder.name))
        assert self.book.abandoned == len(self.open)
        self.open.clear()

    @rule()
    def submit(self) -> None:
        free = self.book.unsubmitted(0)
        if free:
            batch = summarise([a.entry() for a in free])
            nonces = {a.signed.receipt.nonce for a in free}
            assert not nonces & self.batched
            assert batch.first_nonce > max(self.batched, default=0)
            assert batch.compute + batch.premium == sum(self.fees[n] for n in nonces)
            latest = self.book.latest_voucher(0)
            assert latest is not None
            self.book.prepare(0, batch, latest)
            self.batched |= nonces
            settled = sum(self.fees[n] for n in self.batched)
            vouchers.check_settlement(
                latest,
                genesis=GENESIS,
                session=0,
                voucher_key=HOT.account_id,
                last_nonce=batch.last_nonce,
                settled_total=settled,
            )

    @invariant()
    def the_book_tells_what_happened(self) -> None:
        view = self.book.view(0, SESSION)
        assert view.last_nonce == max(self.taken, default=0)
        assert view.charged == sum(self.fees.values()) <= SESSION.escrow
        assert view.reserved == sum(self.open.values())
        kept = self.book.answered(0, 0, 100)
        assert [a.signed.receipt.nonce for a in kept] == sorted(self.fees)


BookMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
test_the_book_agrees_with_a_model_of_it = BookMachine.TestCase


def test_a_nonce_is_taken_once(tmp_path: Path) -> None:
    book = open_book(tmp_path)
    book.accept(voucher(1), BODY, SESSION, 1)
    with pytest.raises(VoucherRefusal) as refusal:
        book.accept(voucher(1), BODY, SESSION, 1)
    assert refusal.value.reason is VoucherReason.STALE_NONCE
    book.close()


def test_a_report_that_comes_after_the_sum_undoes_the_batch(tmp_path: Path) -> None:
    book = open_book(tmp_path)
    book.accept(voucher(1), BODY, SESSION, 1)
    book.answer(answered(1))
    other = summarise([answered(1, tokens=4).entry()])
    with pytest.raises(ValueError, match="sum them again"):
        book.prepare(0, other, voucher(1))
    assert [a.attributed for a in book.unsubmitted(0)] == [Attributed.PENDING]
    assert book.pending_submissions() == []
    book.close()


def test_two_workers_never_share_a_book(tmp_path: Path) -> None:
    book = open_book(tmp_path)
    with pytest.raises(BookError) as refusal:
        open_book(tmp_path)
    assert refusal.value.reason is BookReason.LOCKED
    book.close()
    open_book(tmp_path).close()


def test_a_book_of_another_chain_or_key_is_refused(tmp_path: Path) -> None:
    open_book(tmp_path).close()
    with pytest.raises(BookError) as refusal:
        SessionBook(tmp_path / "book.sqlite", b"h" * 32, KEY.account_id)
    assert refusal.value.reason is BookReason.OTHER_CHAIN


def test_a_file_that_is_no_book_is_refused(tmp_path: Path) -> None:
    (tmp_path / "book.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(BookError) as refusal:
        open_book(tmp_path)
    assert refusal.value.reason is BookReason.UNREADABLE


def test_a_killed_worker_loses_no_receipt_and_reuses_no_nonce(tmp_path: Path) -> None:
    """A child answers as fast as it can and is killed; what it told us must be in its book."""
    child = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout as lines:
        told = [int(lines.readline()) for _ in range(20)]
        os.kill(child.pid, signal.SIGKILL)
        told += [int(line) for line in lines if line.endswith("\n")]
    child.wait()
    book = open_book(tmp_path)
    kept = [a.signed.receipt.nonce for a in book.answered(0, 0, 10**6)]
    assert set(told) <= set(kept)
    last = book.view(0, SESSION).last_nonce
    assert last - len(kept) == book.abandoned <= 1
    with pytest.raises(VoucherRefusal):
        book.accept(voucher(last, 1), BODY, SESSION, 1)
    book.close()


def serve_until_killed(folder: Path) -> None:
    book = open_book(folder)
    rich = Session(**{n: getattr(SESSION, n) for n in Session.__slots__} | {"escrow": 10**9})
    for nonce in range(1, 10**6):
        book.accept(voucher(nonce, 500, 10**9), BODY, rich, 1)
        book.answer(answered(nonce))
        sys.stdout.write(f"{nonce}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve_until_killed(Path(sys.argv[1]))
