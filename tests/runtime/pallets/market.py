"""A launched model, a worker, and the receipts and vouchers of paid sessions."""

from __future__ import annotations

from typing import Any

from dev_chain import OPEN, DevChain, account, keys

from node.client.signing import KeyPair
from runtime.pallets.datanets.types import Policy
from runtime.pallets.inference.pallet import ownership_message
from runtime.pallets.models.types import Artifact, DatanetVersion, Roots
from runtime.protocols import receipt, voucher
from runtime.protocols.batch import Entry
from runtime.protocols.ids import RecordId
from runtime.protocols.price import Price, cost
from runtime.protocols.report import QueryCode, Report, Scored
from runtime.protocols.weights import cluster_scores, weights

PRICE = Price(10**14, 2 * 10**14, 10**15)
QUERY = QueryCode(bytes((10, 20, 246, 7)), (0,))
OTHER = QueryCode(bytes((246, 20, 10, 7)), (0,))
WORKER, HOT = keys("worker", "ed25519"), keys("hot", "ed25519")


def prepared(**genesis: Any) -> DevChain:
    """Return a chain with a launched model and a worker of Alice's."""
    chain = DevChain(**genesis)
    policy = Policy(True, 0, 0)
    chain.call("Dave", "Datanets", "create", name=b"n", schema=(b"f",), policy=policy)
    for number, who in enumerate(("Bob", "Charlie")):
        chain.call(
            who,
            "Datanets",
            "submit_batch",
            datanet=0,
            sub_root=bytes(32),
            count=3,
            bytes_=9,
            blob=bytes([number]) * 32,
            licence=b"MIT",
            bond=0,
        )
        chain.call("Dave", "Datanets", "accept", datanet=0, batch=number)
    chain.call("Dave", "Datanets", "publish_version", datanet=0)
    used = (DatanetVersion(0, 0),)
    propose = {"name": b"m", "base": 0, "parent": None, "royalty": 0, "datanets": used}
    chain.call("Dave", "Models", "propose", **propose, stake=10 * OPEN)
    roots = Roots(*[bytes(32)] * 5)
    artifact = Artifact(bytes(32), 10, bytes(32), roots, (4,), 0)
    chain.call("Dave", "Models", "submit_artifact", model=0, artifact=artifact)
    chain.call("Dave", "Models", "launch", model=0, price=PRICE)
    register(chain)
    return chain


def register(chain: DevChain, validator: str = "Alice", worker: KeyPair = WORKER) -> None:
    genesis = chain.runtime.system.block_hash[0]
    message = ownership_message(genesis, worker.account_id, account(validator))
    chain.call(
        validator,
        "Inference",
        "register_worker",
        key=worker.account_id,
        proof=worker.sign(message),
        endpoint=b"http://worker",
        models=(),
        capacity=1,
    )


def answer(genesis: bytes, session: int, nonce: int, tokens: int, matched: bool) -> Entry:
    """Return a receipt of `tokens` in and out, with a report where it matched records."""
    due = cost(PRICE, tokens, tokens)
    given = receipt.Receipt(
        genesis=genesis,
        session=session,
        nonce=nonce,
        request_hash=bytes(32),
        response_hash=bytes(32),
        prompt_tokens=tokens,
        completion_tokens=tokens,
        compute=due.compute,
        premium=due.premium,
        manifest_hash=bytes(32),
        engine_hash=bytes(32),
        sampling_hash=bytes(32),
        logits_digest=bytes(32),
    )
    if not matched:
        return Entry(given, None)
    top = (Scored(RecordId(0, 1), 900), Scored(RecordId(0, 4), 100))
    shares = weights(cluster_scores(top, {}, {}))
    made = Report(receipt.receipt_hash(given), 0, QUERY, top, (), shares, bytes(32))
    return Entry(given, made)


def vouch(
    genesis: bytes, session: int, nonce: int, authorised: int, **changes: Any
) -> voucher.SignedVoucher:
    """Return a voucher signed with the session's hot key."""
    fields = {"genesis": genesis, "session": session, "nonce": nonce, **changes}
    latest = voucher.Voucher(
        **{"request_hash": bytes(32), "max_fee": OPEN, "valid_until": 9, **fields},
        authorised=authorised,
    )
    return voucher.SignedVoucher(latest, HOT.sign(voucher.signing_bytes(latest)))
