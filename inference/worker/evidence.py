"""What a judge needs of one answer, and how it travels from the executor to a drawn member.

It never holds the report: a member that saw the executor's codes could repeat them. The report's
hash is salted and only proves, with the path, that the receipt is the one which the batch's root
commits to.
"""

from __future__ import annotations

from dataclasses import dataclass

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from inference.trace import Trace
from inference.worker.identity import statement_hash
from node.client.material import MaterialReason, MaterialRefusal
from runtime.pallets.inference.types import Batch
from runtime.primitives.scale import H256, U32, DecodeError, decode, encode
from runtime.protocols import merkle
from runtime.protocols.batch import leaf
from runtime.protocols.receipt import SignedReceipt, response_hash
from runtime.protocols.voucher import SignedVoucher, request_hash


@dataclass(frozen=True, slots=True)
class Evidence:
    """One answer: what was asked, under which voucher, what came out, and what was signed."""

    signed: SignedReceipt
    voucher: SignedVoucher
    body: bytes
    """The HTTP request as it came; prompt and sampling follow from it and the voucher."""
    output_ids: tuple[U32, ...]
    trace: Trace
    """Its digest stands in the receipt."""
    engine: bytes
    """The executor's statement of what it computed with; its hash stands in the receipt."""


@dataclass(frozen=True, slots=True)
class Material:
    """Evidence, and the proof that it is of a batch's receipt."""

    evidence: Evidence
    report: H256
    """The report's salted hash, zeros where there is none."""
    path: tuple[H256, ...]


def seal(material: Material, box: bytes) -> bytes:
    """Encrypt for who holds the box key's secret; raises MaterialRefusal for a weak key."""
    try:
        return SealedBox(PublicKey(box)).encrypt(encode(Material, material))
    except (CryptoError, ValueError) as error:
        raise MaterialRefusal(MaterialReason.MALFORMED, "the box key is weak") from error


def unseal(sealed: bytes, secret: PrivateKey) -> Material:
    """Decrypt and decode; raises MaterialRefusal MALFORMED."""
    try:
        found: Material = decode(Material, SealedBox(secret).decrypt(sealed))
    except (CryptoError, DecodeError, ValueError) as error:
        raise MaterialRefusal(MaterialReason.MALFORMED, str(error)) from error
    return found


def is_of(material: Material, batch: Batch, position: int) -> bool:
    """Tell whether this is all that a batch commits to at a position: receipt, body and output."""
    evidence, summary = material.evidence, batch.summary
    receipt = evidence.signed.receipt
    data = leaf(receipt, material.report)
    return (
        merkle.verify_path(summary.root, data, position, summary.count, material.path)
        and receipt.request_hash == request_hash(evidence.body)
        and receipt.response_hash == response_hash(evidence.output_ids)
        and receipt.logits_digest == evidence.trace.digest
        and receipt.engine_hash == statement_hash(evidence.engine)
    )
