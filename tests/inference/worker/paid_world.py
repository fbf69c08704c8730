"""A chain with two contributors, a trained and launched model, a worker and a paid session."""

from __future__ import annotations

from dataclasses import dataclass

import trio
from memory_chain import MemoryChain

from inference.attribution.attribution import AttributionConfig, build_attribution
from inference.attribution.curvature import FitOptions
from inference.backbone.model import Backbone
from inference.training.config import TrainingConfig
from inference.training.train import train
from inference.worker.artifact import build_artifact, read_artifact
from inference.worker.dataset import Dataset, fetch_dataset
from node.client.signing import KeyPair, from_uri
from runtime.pallets.datanets.types import Duplication, Policy
from runtime.pallets.inference.pallet import ownership_message
from runtime.pallets.models.types import DatanetVersion
from runtime.primitives.keys import ss58_encode
from runtime.protocols import voucher as vouchers
from runtime.protocols.price import Price
from runtime.protocols.record_batch import decode_batch, encode_batch
from runtime.protocols.record_batch import summarise as summarise_records
from runtime.protocols.record_proof import DatanetLeaf, prove_record
from runtime.protocols.records import record_leaf
from runtime.protocols.voucher import SignedVoucher, Voucher

OPEN = 10**18
ALICE, BOB, CHARLIE, DAVE, EVE = (
    from_uri(f"//{name}") for name in ("Alice", "Bob", "Charlie", "Dave", "Eve")
)
WORKER = from_uri("//Alice//worker")
HOT = from_uri("//Eve//voucher")
PRICE = Price(10**12, 2 * 10**12, 10**13)
ESCROW = 10 * OPEN
CONFIG = AttributionConfig(fit=FitOptions(coordinates=512))
CAPITALS = {
    BOB: (("France", "Paris"), ("Italy", "Rome"), ("Spain", "Madrid"), ("Norway", "Oslo")),
    CHARLIE: (("Peru", "Lima"), ("Cuba", "Havana"), ("Chile", "Santiago"), ("Egypt", "Cairo")),
}


@dataclass(frozen=True)
class Trained:
    """A dataset's adapter, as one blob."""

    dataset: Dataset
    blob: bytes


def new_chain(*others: KeyPair) -> MemoryChain:
    """Start a chain whose validators are Alice and others, and publish the Datanet."""
    people = (ALICE, BOB, CHARLIE, DAVE, EVE, *others)
    validators = [
        [ss58_encode(who.account_id), f"0x{number:02x}" + "11" * 31, "1000"]
        for number, who in enumerate((ALICE, *others), 0x11)
    ]
    chain = MemoryChain(
        {
            "balances": {
                "balances": [[ss58_encode(p.account_id), str(10**6 * OPEN)] for p in people]
            },
            "session": {"validators": validators},
            "sudo": {"key": ss58_encode(ALICE.account_id)},
            "models": {"bases": [["tiny", "0x" + "22" * 32, str(10**16)]]},
            "inference": {"windows": [20, 20, 4, 10]},
            "attribution": {"allow_self_attestation": True},
        }
    )
    chain.call(
        DAVE,
        "Datanets",
        "create",
        name=b"capitals",
        schema=(b"question", b"answer"),
        policy=Policy(True, OPEN // 10, OPEN),
    )
    for who, pairs in CAPITALS.items():
        records = tuple((f"What is the capital of {c}?", f"{t}.") for c, t in pairs)
        contribute(chain, who, records)
    chain.call(DAVE, "Datanets", "publish_version", datanet=0)
    return chain


def contribute(chain: MemoryChain, who: object, records: tuple[tuple[str, ...], ...]) -> None:
    blob = encode_batch(records, 2)
    summary, _ = summarise_records(blob, records)
    submitted = chain.call(
        who,  # type: ignore[arg-type]
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
    chain.blobs[summary.blob_hash] = blob
    chain.call(DAVE, "Datanets", "accept", datanet=0, batch=submitted.batch)


def train_artifact(backbone: Backbone, dataset: Dataset) -> Trained:
    """Train, index and pack."""
    config = TrainingConfig(rank=2, alpha=4.0, epochs=2, batch_records=4, held_out=0.25)
    adapter, receipt = train(
        backbone, dataset.records, config, dataset_root=dataset.root, workers=1
    )
    attribution = build_attribution(backbone, adapter, dataset.numbered(), CONFIG)
    return Trained(
        dataset, build_artifact("capitals", adapter, receipt, attribution, CONFIG, [dataset])
    )


def published() -> Dataset:
    """Fetch the Datanet of a new chain."""
    return trio.run(fetch_dataset, new_chain(), 0)


def launch(chain: MemoryChain, blob: bytes, version: int = 0) -> int:
    """Propose, register and launch the model."""
    proposed = chain.call(
        DAVE,
        "Models",
        "propose",
        name=b"capitals",
        base=0,
        parent=None,
        royalty=0,
        datanets=(DatanetVersion(0, version),),
        stake=10 * OPEN,
    )
    artifact = read_artifact(blob).declared()
    chain.call(DAVE, "Models", "submit_artifact", model=proposed.model, artifact=artifact)
    chain.blobs[artifact.manifest] = blob
    chain.call(DAVE, "Models", "launch", model=proposed.model, price=PRICE)
    model: int = proposed.model
    return model


def flag_copy(chain: MemoryChain) -> None:
    """Prove that the record of the third batch repeats the first record of the first."""
    leaves, records = [], []
    for position in range(3):
        batch = chain.runtime.datanets.batches[0, chain.runtime.datanets.accepted[0, position]]
        leaves.append(
            DatanetLeaf(
                batch.first_record, batch.count, batch.contributor, batch.decided, batch.sub_root
            )
        )
        records.append([record_leaf(r) for r in decode_batch(chain.blobs[batch.blob], 2)])
    proof = Duplication(
        copy=prove_record(leaves, 2, records[2], 0), original=prove_record(leaves, 0, records[0], 0)
    )
    chain.call(EVE, "Datanets", "flag_redundant", datanet=0, batch=2, proof=proof)


def register(chain: MemoryChain, worker: KeyPair = WORKER, validator: KeyPair = ALICE) -> None:
    proof = worker.sign(ownership_message(chain.genesis, worker.account_id, validator.account_id))
    chain.call(
        validator,
        "Inference",
        "register_worker",
        key=worker.account_id,
        proof=proof,
        endpoint=b"http://127.0.0.1:8000",
        models=(),
        capacity=4,
    )


def open_session(chain: MemoryChain, model: int = 0, escrow: int = ESCROW, ttl: int = 1000) -> int:
    opened = chain.call(
        EVE,
        "Inference",
        "open_session",
        model=model,
        executor=WORKER.account_id,
        voucher_key=HOT.account_id,
        escrow=escrow,
        max_fee=OPEN // 100,
        ttl=ttl,
    )
    session: int = opened.session
    return session


def vouch(
    chain: MemoryChain,
    body: bytes,
    nonce: int,
    *,
    session: int = 0,
    max_fee: int = OPEN // 100,
    authorised: int = ESCROW,
    key: object = HOT,
) -> str:
    """Sign a voucher and return its header."""
    voucher = Voucher(
        chain.genesis,
        session,
        nonce,
        vouchers.request_hash(body),
        max_fee,
        authorised,
        chain.height + 1000,
    )
    signature = key.sign(vouchers.signing_bytes(voucher))  # type: ignore[attr-defined]
    return vouchers.to_header(SignedVoucher(voucher, signature))
