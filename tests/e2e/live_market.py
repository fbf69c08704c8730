"""A trained model on a chain of several validators: the tiny world of the worker's tests, live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference.worker.artifact import read_artifact
from inference.worker.node_view import NodeView
from inference.worker.registration import register
from node.client.rpc import NodeClient
from node.client.signing import KeyPair, from_uri
from runtime.construct import encode_call
from runtime.pallets.datanets.types import Policy
from runtime.pallets.models.types import DatanetVersion
from runtime.protocols.price import Price
from runtime.protocols.record_batch import encode_batch
from runtime.protocols.record_batch import summarise as summarise_records

OPEN = 10**18
BOB, CHARLIE, DAVE, EVE = (from_uri(f"//{name}") for name in ("Bob", "Charlie", "Dave", "Eve"))
HOT = from_uri("//Eve//voucher")
PRICE = Price(10**12, 2 * 10**12, 10**13)
ESCROW = 10 * OPEN
Records = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Live:
    """A connection to the chain, and calls followed to finality."""

    client: NodeClient

    async def call(self, signer: KeyPair, pallet: str, name: str, /, **arguments: Any) -> Any:
        """Make a call and return its last event of that pallet."""
        done = await self.client.submit(encode_call(pallet, name, **arguments), signer)
        return [record.event for record in done.events if record.pallet == pallet][-1]


async def publish(live: Live, contributions: dict[KeyPair, Records]) -> int:
    """Create a Datanet, contribute and publish its first version."""
    policy = Policy(True, OPEN // 10, OPEN)
    schema = (b"question", b"answer")
    created = await live.call(
        DAVE, "Datanets", "create", name=b"capitals", schema=schema, policy=policy
    )
    net: int = created.datanet
    for who, records in contributions.items():
        blob = encode_batch(records, 2)
        summary, _ = summarise_records(blob, records)
        submitted = await live.call(
            who,
            "Datanets",
            "submit_batch",
            datanet=net,
            sub_root=summary.sub_root,
            count=summary.count,
            bytes_=len(blob),
            blob=summary.blob_hash,
            licence=b"CC0-1.0",
            bond=OPEN,
        )
        await live.client.put_blob(blob)
        await live.call(DAVE, "Datanets", "accept", datanet=net, batch=submitted.batch)
    await live.call(DAVE, "Datanets", "publish_version", datanet=net)
    return net


async def launch(live: Live, datanet: int, blob: bytes) -> int:
    """Propose, register and launch a model trained on the first version; returns its id."""
    proposed = await live.call(
        DAVE,
        "Models",
        "propose",
        name=b"capitals",
        base=0,
        parent=None,
        royalty=0,
        datanets=(DatanetVersion(datanet, 0),),
        stake=10 * OPEN,
    )
    model: int = proposed.model
    artifact = read_artifact(blob).declared()
    await live.call(DAVE, "Models", "submit_artifact", model=model, artifact=artifact)
    await live.client.put_blob(blob)
    await live.call(DAVE, "Models", "launch", model=model, price=PRICE)
    return model


async def register_worker(live: Live, worker: KeyPair, validator: KeyPair) -> None:
    """Register a worker for a validator."""
    await register(NodeView(live.client), worker, validator, "http://127.0.0.1:1", (), 4)


async def open_session(live: Live, model: int, executor: KeyPair) -> int:
    """Open Eve's paid session with a worker."""
    opened = await live.call(
        EVE,
        "Inference",
        "open_session",
        model=model,
        executor=executor.account_id,
        voucher_key=HOT.account_id,
        escrow=ESCROW,
        max_fee=OPEN // 100,
        ttl=1000,
    )
    session: int = opened.session
    return session
