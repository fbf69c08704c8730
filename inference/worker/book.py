"""The session book: vouchers taken, receipts given, batches submitted, attestations committed to.

Every change is on disk before anybody else learns of it, so after a crash no nonce is taken twice,
no signed receipt is lost and nothing is claimed twice. A voucher whose answer was cut off by a
crash stays spent and costs nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack

from inference.worker.attestations import Attestations
from inference.worker.book_file import BookFile
from inference.worker.book_rows import (
    ANSWER_COLUMNS,
    SUBMISSION_COLUMNS,
    Answered,
    Attributed,
    Submission,
    VoucherState,
    answered_of,
    pack_ids,
    pack_sampling,
    submission_of,
)
from inference.worker.book_totals import SessionTotals
from runtime.pallets.inference.types import Session
from runtime.primitives.scale import encode
from runtime.protocols import receipt as receipts
from runtime.protocols import voucher as vouchers
from runtime.protocols.batch import ReceiptBatch, summarise
from runtime.protocols.report import Report, report_bytes
from runtime.protocols.voucher import SessionView, SignedVoucher


class SessionBook:
    """Kept by one worker for one chain; every method may be called from any thread."""

    def __init__(self, path: Path, genesis: bytes, key: bytes) -> None:
        """Open the book; vouchers that a crash left open are abandoned. Raises BookError."""
        self._file = BookFile(path, genesis + key)
        self._genesis = genesis
        self.attestations = Attestations(self._file)
        self._totals = SessionTotals()
        with self._file.transaction() as rows:
            self.abandoned = rows.execute(
                "UPDATE vouchers SET state = ? WHERE state = ?",
                (VoucherState.ABANDONED, VoucherState.OPEN),
            ).rowcount

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def view(self, number: int, session: Session) -> SessionView:
        """Return what is known of a session, the chain's word joined with the book's."""
        with self._file.reading() as rows:
            totals = self._totals.of(rows, number)
            return SessionView(
                genesis=self._genesis,
                session=number,
                voucher_key=session.voucher_key,
                escrow=session.escrow,
                last_nonce=max(totals.last_nonce, session.settled_nonce),
                charged=max(totals.charged, session.settled_total),
                reserved=totals.reserved,
            )

    def accept(self, signed: SignedVoucher, body: bytes, session: Session, height: int) -> None:
        """Check a voucher and take it, durably; raises VoucherRefusal and keeps nothing."""
        voucher = signed.voucher
        with self._changing(voucher.session) as rows:
            view = self.view(voucher.session, session)
            vouchers.check_request(signed, body, view, height)
            rows.execute(
                "INSERT INTO vouchers VALUES (?, ?, ?, ?, ?, ?)",
                (
                    voucher.session,
                    voucher.nonce,
                    vouchers.encode_signed(signed),
                    body,
                    str(voucher.max_fee),
                    VoucherState.OPEN,
                ),
            )
            totals = self._totals.of(rows, voucher.session)
            totals.last_nonce = voucher.nonce
            totals.reserved += voucher.max_fee

    def answer(self, answered: Answered) -> None:
        """Keep a receipt, durably; its voucher is answered by it."""
        given = answered.signed.receipt
        with self._changing(given.session) as rows:
            max_fee = self._end(rows, given.session, given.nonce, VoucherState.ANSWERED)
            rows.execute(
                "INSERT INTO receipts (session, nonce, hash, signed, cost, prompt, output, "
                "sampling, model, height, logits, fingerprint, engine) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    given.session,
                    given.nonce,
                    answered.hash,
                    receipts.encode_signed(answered.signed),
                    str(given.cost().total()),
                    pack_ids(answered.prompt_ids),
                    pack_ids(answered.output_ids),
                    pack_sampling(answered.sampling),
                    answered.model,
                    answered.height,
                    answered.trace.logits,
                    answered.trace.fingerprint,
                    answered.engine,
                ),
            )
            totals = self._totals.of(rows, given.session)
            totals.reserved -= max_fee
            totals.charged += given.cost().total()

    def abandon(self, session: int, nonce: int) -> None:
        """Give up a voucher that could not be answered; it stays spent and costs nothing."""
        with self._changing(session) as rows:
            max_fee = self._end(rows, session, nonce, VoucherState.ABANDONED)
            self._totals.of(rows, session).reserved -= max_fee

    def voucher(self, session: int, nonce: int) -> tuple[SignedVoucher, bytes] | None:
        """Return a voucher and the body that it was signed for."""
        with self._file.reading() as rows:
            row = rows.execute(
                "SELECT signed, body FROM vouchers WHERE session = ? AND nonce = ?",
                (session, nonce),
            ).fetchone()
        return None if row is None else (vouchers.decode_signed(row[0]), row[1])

    def latest_voucher(self, session: int) -> SignedVoucher | None:
        """Return the voucher of the highest nonce; it covers all that was charged before it."""
        with self._file.reading() as rows:
            row = rows.execute(
                "SELECT signed FROM vouchers WHERE session = ? ORDER BY nonce DESC LIMIT 1",
                (session,),
            ).fetchone()
        return None if row is None else vouchers.decode_signed(row[0])

    def find(self, receipt_hash: bytes) -> Answered | None:
        """Return an answer by its receipt's hash."""
        found = self._select("hash = ?", (receipt_hash,))
        return found[0] if found else None

    def answered(self, session: int, first: int, last: int) -> list[Answered]:
        """Return a session's answers between two nonces, both included, by nonce."""
        return self._select("session = ? AND nonce BETWEEN ? AND ?", (session, first, last))

    def answers_of(self, submission: Submission) -> list[Answered]:
        """Return the answers of a submission, in the order of its batch."""
        return self._select("submission = ?", (submission.id,))

    def unattributed(self, limit: int) -> list[Answered]:
        """Return answers without a report, oldest first."""
        return self._select("attributed = 0", (), limit)

    def unsubmitted(self, session: int) -> list[Answered]:
        """Return a session's answers that no submission holds and no open request precedes."""
        with self._file.reading() as rows:
            lowest = rows.execute(
                "SELECT MIN(nonce) FROM vouchers WHERE session = ? AND state = 0", (session,)
            ).fetchone()[0]
        ready = "session = ? AND submission IS NULL AND nonce < ?"
        return self._select(ready, (session, 2**32 if lowest is None else lowest))

    def busy_sessions(self) -> list[int]:
        """Return the sessions that have receipts which no submission holds."""
        with self._file.reading() as rows:
            found = rows.execute(
                "SELECT DISTINCT session FROM receipts WHERE submission IS NULL ORDER BY session"
            ).fetchall()
        return [row[0] for row in found]

    def attribute(
        self, receipt_hash: bytes, report: Report | None, explanation: dict[str, Any] | None
    ) -> None:
        """Keep a report (None: there is none to be had) unless the receipt is in a batch."""
        state = Attributed.REFUSED if report is None else Attributed.DONE
        with self._file.transaction() as rows:
            rows.execute(
                "UPDATE receipts SET attributed = ?, report = ?, explanation = ? "
                "WHERE hash = ? AND submission IS NULL",
                (
                    state,
                    None if report is None else report_bytes(report),
                    None if explanation is None else msgpack.packb(explanation),
                    receipt_hash,
                ),
            )

    def prepare(self, session: int, batch: ReceiptBatch, voucher: SignedVoucher) -> Submission:
        """Fix a batch, durably, before it is sent; its receipts belong to it from now on."""
        with self._file.transaction() as rows:
            cursor = rows.execute(
                "INSERT INTO submissions (session, first, last, root, batch, voucher) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    session,
                    batch.first_nonce,
                    batch.last_nonce,
                    batch.root,
                    encode(ReceiptBatch, batch),
                    vouchers.encode_signed(voucher),
                ),
            )
            number = int(cursor.lastrowid or 0)
            rows.execute(
                "UPDATE receipts SET submission = ? WHERE session = ? AND submission IS NULL "
                "AND nonce BETWEEN ? AND ?",
                (number, session, batch.first_nonce, batch.last_nonce),
            )
            # A report may have come in since the batch was summed: then it is summed again.
            taken = [answered.entry() for answered in self._select("submission = ?", (number,))]
            if summarise(taken) != batch:
                raise ValueError("the receipts of this batch have changed; sum them again")
        return Submission(number, session, batch, voucher, None)

    def withdraw(self, submission: int) -> None:
        """Undo a preparation that the chain refused for good; its receipts are free again."""
        with self._file.transaction() as rows:
            rows.execute(
                "UPDATE receipts SET submission = NULL WHERE submission = ?", (submission,)
            )
            rows.execute(
                "DELETE FROM submissions WHERE id = ? AND chain_batch IS NULL", (submission,)
            )

    def submitted(self, submission: int, chain_batch: int) -> None:
        """Note which batch of the chain a submission became."""
        with self._file.transaction() as rows:
            rows.execute(
                "UPDATE submissions SET chain_batch = ? WHERE id = ?", (chain_batch, submission)
            )

    def forfeit(self, submission: int) -> None:
        """Note that a submission came too late; its receipts are never paid."""
        with self._file.transaction() as rows:
            rows.execute("UPDATE submissions SET void = 1 WHERE id = ?", (submission,))

    def void(self, chain_batch: int) -> None:
        """Note that a batch is void: the customer got its claim back."""
        with self._file.transaction() as rows:
            found = rows.execute(
                "UPDATE submissions SET void = 1 WHERE chain_batch = ? RETURNING session",
                (chain_batch,),
            ).fetchall()
        for (session,) in found:
            self._totals.forget(session)

    def pending_submissions(self) -> list[Submission]:
        """Return what was prepared and is not known to be on chain, in order."""
        return self._submissions("chain_batch IS NULL AND void = 0", ())

    def latest_submissions(self, count: int) -> list[Submission]:
        """Return the last submissions that are on chain and not void."""
        newest = "SELECT id FROM submissions ORDER BY id DESC LIMIT ?"
        where = f"chain_batch IS NOT NULL AND void = 0 AND id IN ({newest})"
        return self._submissions(where, (count,))

    def submission_of(self, chain_batch: int) -> Submission | None:
        """Return the submission that became a batch of the chain."""
        found = self._submissions("chain_batch = ?", (chain_batch,))
        return found[0] if found else None

    @contextmanager
    def _changing(self, session: int) -> Iterator[sqlite3.Connection]:
        """Write rows and totals of a session; if the disk refuses, totals are read anew."""
        try:
            with self._file.transaction() as rows:
                yield rows
        except BaseException:
            self._totals.forget(session)
            raise

    def _end(self, rows: sqlite3.Connection, session: int, nonce: int, state: VoucherState) -> int:
        self._totals.of(rows, session)
        row = rows.execute(
            "UPDATE vouchers SET state = ? WHERE session = ? AND nonce = ? AND state = ? "
            "RETURNING max_fee",
            (state, session, nonce, VoucherState.OPEN),
        ).fetchall()
        if not row:
            raise ValueError(f"voucher {nonce} of session {session} is not open")
        return int(row[0][0])

    def _select(self, where: str, values: tuple[Any, ...], limit: int = -1) -> list[Answered]:
        with self._file.reading() as rows:
            found = rows.execute(
                f"SELECT {ANSWER_COLUMNS} FROM receipts WHERE {where} "
                "ORDER BY session, nonce LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [answered_of(row) for row in found]

    def _submissions(self, where: str, values: tuple[Any, ...]) -> list[Submission]:
        with self._file.reading() as rows:
            found = rows.execute(
                f"SELECT {SUBMISSION_COLUMNS} FROM submissions WHERE {where} ORDER BY id", values
            ).fetchall()
        return [submission_of(row) for row in found]
