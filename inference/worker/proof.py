"""What a paid answer carries so that its customer can check it."""

from __future__ import annotations

from typing import Any

from inference.worker.book_rows import Answered
from runtime.protocols.receipt import to_text

RECEIPT_EVENT = "openledger.receipt"


def proof(answered: Answered) -> dict[str, Any]:
    """Return a receipt and what it is over; amounts in planck, as texts."""
    receipt, sampling = answered.signed.receipt, answered.sampling
    name = f"0x{answered.hash.hex()}"
    return {
        "receipt": to_text(answered.signed),
        "receipt_hash": name,
        "session": receipt.session,
        "nonce": receipt.nonce,
        "compute": str(receipt.compute),
        "premium": str(receipt.premium),
        "prompt_ids": list(answered.prompt_ids),
        "output_ids": list(answered.output_ids),
        "sampling": {
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "seed": str(sampling.seed),
        },
        "manifest_hash": f"0x{receipt.manifest_hash.hex()}",
        "engine_hash": f"0x{receipt.engine_hash.hex()}",
        "logits_digest": f"0x{receipt.logits_digest.hex()}",
        "attribution_path": f"/v1/receipts/{name}/attribution",
    }
