"""The receipt of a training run: what it takes to repeat it, and what came out.

Encoded as msgpack with the fields in their order; its hash stands in an adapter's manifest.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import msgpack

from inference.training.config import TrainingConfig
from inference.training.errors import TrainingReason, TrainingRefused

TAG = b"openledger-training-v1"
CODE_VERSION = 1
"""Rises whenever the same inputs would train another adapter."""


@dataclass(frozen=True, slots=True)
class TrainingReceipt:
    """One run.

    Attributes:
        code_version: version of this room's procedure.
        template: rule by which records become text.
        base_hash: content hash of the base model.
        dataset_root: root of the Datanet version, as the caller named it.
        records_hash: blake2b-256 over the encoded ids of all records.
        order_hash: split and order of the batches.
        config: hyper-parameters by name.
        losses: mean loss of each epoch, in nats per token, as it was trained.
        held_out_losses: mean loss of the held-out records before training and after each epoch.
        tokens: trained tokens of one epoch.
        adapter_hash: content hash of the adapter.
        versions: of the libraries that computed it.
    """

    code_version: int
    template: str
    base_hash: bytes
    dataset_root: bytes
    records_hash: bytes
    order_hash: bytes
    config: dict[str, Any]
    losses: tuple[float, ...]
    held_out_losses: tuple[float, ...]
    tokens: int
    adapter_hash: bytes
    versions: dict[str, str]

    def encode(self) -> bytes:
        """Encode as msgpack."""
        encoded: bytes = msgpack.packb(asdict(self), use_bin_type=True)
        return encoded

    @classmethod
    def decode(cls, data: bytes) -> TrainingReceipt:
        """Decode; raises BAD_RECEIPT for anything but a receipt in its one encoding."""
        try:
            fields = msgpack.unpackb(data, use_list=False)
            receipt = cls(**fields)
            if receipt.encode() == data:
                TrainingConfig(**receipt.config)
                return receipt
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise TrainingRefused(TrainingReason.BAD_RECEIPT, str(error)) from error
        raise TrainingRefused(TrainingReason.BAD_RECEIPT, "not in canonical form")

    @property
    def content_hash(self) -> bytes:
        """Hash the encoding with its tag."""
        return hashlib.blake2b(TAG + self.encode(), digest_size=32).digest()
