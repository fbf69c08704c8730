"""What an executor sends besides its answer: the receipt and the output's token ids.

In a JSON answer this is the field ``openledger``; in a stream it is the data of the last event,
which is named ``openledger.receipt``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from runtime.primitives.errors import Refusal
from runtime.protocols.price import Price, cost
from runtime.protocols.receipt import (
    SignedReceipt,
    check_receipt,
    from_text,
    response_hash,
    verify_signature,
)
from runtime.protocols.voucher import SignedVoucher, Voucher, VoucherRefusal, from_header

FIELD = "openledger"
RECEIPT_EVENT = "openledger.receipt"


class AnswerReason(Enum):
    """Why an answer proves nothing."""

    NO_RECEIPT = "the answer carries no receipt; do not pay for it, choose another worker"
    MALFORMED = "the receipt's part of the answer is not readable"
    WRONG_CHAIN = "the receipt is of another chain; name that chain's node with --node"
    BAD_SIGNATURE = "the session's worker did not sign this receipt"
    WRONG_COST = "the cost is not the session's price times the tokens"
    ABOVE_MAX_FEE = "the cost exceeds what one request of the session may cost"
    WRONG_RESPONSE = "the receipt was signed for other output tokens"


class AnswerRefusal(Refusal):
    """An answer without a valid receipt."""

    def __init__(self, reason: AnswerReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: AnswerReason = reason


@dataclass(frozen=True, slots=True)
class Proof:
    """A receipt with what its checks need; what is missing is not checked."""

    receipt: SignedReceipt
    output_ids: tuple[int, ...] | None
    voucher: SignedVoucher | None


def read_proof(document: object) -> Proof:
    """Find the receipt in an answer, its ``openledger`` field, or a saved line.

    Raises AnswerRefusal (NO_RECEIPT, MALFORMED), ReceiptRefusal or VoucherRefusal.
    """
    if isinstance(document, dict) and isinstance(document.get(FIELD), dict):
        document = document[FIELD]
    if isinstance(document, str):
        return Proof(from_text(document), None, None)
    if not isinstance(document, dict) or not isinstance(document.get("receipt"), str):
        raise AnswerRefusal(AnswerReason.NO_RECEIPT)
    ids, voucher = document.get("output_ids"), document.get("voucher")
    if ids is not None and not _are_ids(ids):
        raise AnswerRefusal(AnswerReason.MALFORMED, "output_ids is no list of token ids")
    return Proof(
        from_text(document["receipt"]),
        None if ids is None else tuple(ids),
        from_header(voucher) if isinstance(voucher, str) else None,
    )


def parse_proof(text: str) -> Proof:
    """Find the receipt in a text: JSON as of `read_proof`, or the receipt's base64 alone."""
    stripped = text.strip()
    if not stripped.startswith(("{", '"')):
        return read_proof(stripped)
    try:
        return read_proof(json.loads(stripped))
    except (ValueError, RecursionError) as error:
        raise AnswerRefusal(AnswerReason.MALFORMED, str(error)) from error


def check_answer(document: object, voucher: Voucher, price: Price, worker: bytes) -> Proof:
    """Check an answer against everything that its customer knows.

    Raises AnswerRefusal or ReceiptRefusal.
    """
    try:
        proof = read_proof(document)
    except VoucherRefusal as refusal:
        raise AnswerRefusal(AnswerReason.MALFORMED, str(refusal)) from refusal
    if proof.output_ids is None:
        raise AnswerRefusal(AnswerReason.MALFORMED, "output_ids is missing")
    check_receipt(proof.receipt, voucher, proof.output_ids, price, worker)
    return proof


def check_proof(
    proof: Proof, *, genesis: bytes, price: Price, max_fee: int, worker: bytes
) -> tuple[str, ...]:
    """Check a receipt against its session on chain; return what was checked.

    Raises AnswerRefusal, and ReceiptRefusal where it contradicts its voucher.
    """
    receipt = proof.receipt.receipt
    if receipt.genesis != genesis:
        raise AnswerRefusal(AnswerReason.WRONG_CHAIN)
    if not verify_signature(proof.receipt, worker):
        raise AnswerRefusal(AnswerReason.BAD_SIGNATURE)
    due = cost(price, receipt.prompt_tokens, receipt.completion_tokens)
    if receipt.cost() != due:
        raise AnswerRefusal(AnswerReason.WRONG_COST, f"{receipt.cost()}; due is {due}")
    if due.total() > max_fee:
        raise AnswerRefusal(AnswerReason.ABOVE_MAX_FEE)
    checked = ["chain", "worker's signature", "price"]
    if proof.output_ids is not None:
        if receipt.response_hash != response_hash(proof.output_ids):
            raise AnswerRefusal(AnswerReason.WRONG_RESPONSE)
        checked.append("output tokens")
    if proof.voucher is not None and proof.output_ids is not None:
        check_receipt(proof.receipt, proof.voucher.voucher, proof.output_ids, price, worker)
        checked.append("voucher")
    return tuple(checked)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(item) is int and 0 <= item < 1 << 32 for item in value
    )
