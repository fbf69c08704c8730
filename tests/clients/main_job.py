"""The main job over JSON-RPC: what contributors, a builder, a customer and a worker submit.

The receipts and reports are made by hand, but real: signed, hashed and priced as the chain checks
them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import trio

from node.client.errors import ClientError
from node.client.outcome import Included
from node.client.rpc import FinalizedBlock, NodeClient
from node.client.signing import KeyPair, from_uri
from runtime.construct import encode_call
from runtime.pallets.attribution.types import Opening
from runtime.pallets.datanets.types import Policy
from runtime.pallets.inference.pallet import ownership_message
from runtime.pallets.models.types import Artifact, DatanetVersion, Roots
from runtime.primitives.hashing import blake2_256
from runtime.protocols import merkle, receipt, report, voucher
from runtime.protocols.batch import Entry, ReceiptBatch, leaves, summarise
from runtime.protocols.committee import Attestation, Verdict, commitment
from runtime.protocols.ids import RecordId
from runtime.protocols.price import Price, cost
from runtime.protocols.record_batch import encode_batch
from runtime.protocols.record_batch import summarise as summarise_records
from runtime.protocols.report import QueryCode, Report, Scored
from runtime.protocols.weights import cluster_scores, weights
from tests.patience import PATIENCE

MOST_BLOCKS = 300
"""So many are followed in search of an event."""
OPEN = 10**18
LAYOUT = (4, 4)
QUERY = QueryCode(bytes((10, 20, 246, 7, 1, 2, 3, 4)), (0, 1))
PRICE = Price(10**15, 2 * 10**15, 10**16)
ESCROW, MAX_FEE = 100 * OPEN, 10 * OPEN
NAME = b"manuals"
MANIFEST = b"the manifest of a hand-made adapter"
ENDPOINT = b"http://127.0.0.1:8000"
ALICE, BOB, CHARLIE, DAVE, EVE, FERDIE = (
    from_uri(f"//{name}") for name in ("Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie")
)
VALIDATOR = from_uri("//Alice//stash")
WORKER = from_uri("//Alice//worker")
HOT = from_uri("//Eve//voucher")


@dataclass(frozen=True)
class Market:
    """A Datanet, a launched model, a worker and a paid session, by their ids."""

    genesis: bytes
    datanet: int
    model: int
    session: int


@dataclass(frozen=True)
class Settlement:
    """The block in which a batch was settled, and its events."""

    batch: int
    block: FinalizedBlock

    def events(self, name: str) -> list[Any]:
        """Return the events of this batch with a name of `Inference`."""
        found = [e.event for e in self.block.events if (e.pallet, e.name) == ("Inference", name)]
        return [event for event in found if event.batch == self.batch]


async def together(*jobs: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Do jobs at the same time and return their results in the order of the jobs."""
    results: list[Any] = [None] * len(jobs)

    async def one(position: int) -> None:
        try:
            results[position] = await jobs[position]()
        except ClientError as error:
            results[position] = error

    async with trio.open_nursery() as nursery:
        for position in range(len(jobs)):
            nursery.start_soon(one, position)
    return results


async def outcomes(
    client: NodeClient, signer: KeyPair, calls: Sequence[bytes]
) -> list[Included | ClientError]:
    """Submit calls of one signer at once, in their order, and wait until all are final."""
    nonce = await client.nonce(signer.account_id)
    jobs = [
        lambda call=call, at=nonce + offset: client.submit(call, signer, nonce=at)
        for offset, call in enumerate(calls)
    ]
    return await together(*jobs)


async def in_order(client: NodeClient, signer: KeyPair, *calls: bytes) -> list[Included]:
    """Submit calls of one signer at once; raises the first error among them."""
    done = []
    for outcome in await outcomes(client, signer, calls):
        if isinstance(outcome, ClientError):
            raise outcome
        done.append(outcome)
    return done


async def open_market(client: NodeClient) -> Market:
    """Create, contribute, accept, publish, propose, back, launch, register, open a session."""
    create = encode_call(
        "Datanets",
        "create",
        name=NAME,
        schema=(b"title", b"text"),
        policy=Policy(True, OPEN // 10, OPEN),
    )
    _, created = _good(
        await together(
            lambda: client.submit(registration(client.genesis_hash), VALIDATOR),
            lambda: client.submit(create, DAVE),
        )
    )
    datanet = created.event("Datanets", "Created").datanet
    batches = _good(
        await together(
            lambda: contribute(client, datanet, BOB, "alpha"),
            lambda: contribute(client, datanet, CHARLIE, "beta"),
        )
    )
    # Bob's records come first, whichever submission did.
    *_, proposed = await in_order(
        client,
        DAVE,
        *(encode_call("Datanets", "accept", datanet=datanet, batch=b) for b in batches),
        encode_call("Datanets", "publish_version", datanet=datanet),
        proposal(datanet),
    )
    model = proposed.event("Models", "Proposed").model
    _good(
        await together(
            lambda: client.submit(
                encode_call("Models", "back", model=model, amount=5 * OPEN), CHARLIE
            ),
            lambda: in_order(
                client,
                DAVE,
                encode_call("Models", "submit_artifact", model=model, artifact=artifact()),
                encode_call("Models", "launch", model=model, price=PRICE),
            ),
        )
    )
    await client.put_blob(MANIFEST)
    opened = await client.submit(session_call(model), EVE)
    session = opened.event("Inference", "SessionOpened").session
    return Market(client.genesis_hash, datanet, model, session)


def registration(genesis: bytes) -> bytes:
    """Return the call by which the validator registers the worker's key."""
    proof = WORKER.sign(ownership_message(genesis, WORKER.account_id, VALIDATOR.account_id))
    return encode_call(
        "Inference",
        "register_worker",
        key=WORKER.account_id,
        proof=proof,
        endpoint=ENDPOINT,
        models=(),
        capacity=4,
    )


def proposal(datanet: int, **changed: Any) -> bytes:
    """Return the call by which a builder stakes on a model, with some arguments changed."""
    arguments = {
        "name": b"manual-writer",
        "base": 0,
        "parent": None,
        "royalty": 0,
        "datanets": (DatanetVersion(datanet, 0),),
        "stake": 10 * OPEN,
    }
    return encode_call("Models", "propose", **arguments | changed)


def artifact() -> Artifact:
    """Return an adapter's commitments; its manifest is the only blob that is looked at."""
    roots = Roots(*[bytes([i]) * 32 for i in range(5)])
    return Artifact(blake2_256(MANIFEST), len(MANIFEST), bytes([8]) * 32, roots, LAYOUT, 0)


def session_call(model: int, **changed: Any) -> bytes:
    """Return the call by which a customer opens a session, with some arguments changed."""
    arguments = {
        "model": model,
        "executor": WORKER.account_id,
        "voucher_key": HOT.account_id,
        "escrow": ESCROW,
        "max_fee": MAX_FEE,
        "ttl": 10_000,
    }
    return encode_call("Inference", "open_session", **arguments | changed)


def records_blob(text: str) -> bytes:
    """Return three records as a blob."""
    return encode_batch([(f"{text} {i}", f"The text of {text} number {i}.") for i in range(3)], 2)


def submission(datanet: int, text: str, **changed: Any) -> bytes:
    """Return the call that declares `records_blob`, with some arguments changed."""
    records = [(f"{text} {i}", f"The text of {text} number {i}.") for i in range(3)]
    summary, _ = summarise_records(records_blob(text), records)
    arguments = {
        "datanet": datanet,
        "sub_root": summary.sub_root,
        "count": summary.count,
        "bytes_": summary.bytes_,
        "blob": summary.blob_hash,
        "licence": b"CC0-1.0",
        "bond": OPEN,
    }
    return encode_call("Datanets", "submit_batch", **arguments | changed)


async def contribute(client: NodeClient, datanet: int, who: KeyPair, text: str) -> int:
    """Submit a batch of records and upload its bytes; returns the batch's number."""
    submitted = await client.submit(submission(datanet, text), who)
    await client.put_blob(records_blob(text))
    batch: int = submitted.event("Datanets", "BatchSubmitted").batch
    return batch


def answer(market: Market, nonce: int, *, prompt: int = 10, completion: int = 20) -> Entry:
    """Make the receipt and the report of one answer: records 1, 4 and 0 shaped it."""
    due = cost(PRICE, prompt, completion)
    given = receipt.Receipt(
        genesis=market.genesis,
        session=market.session,
        nonce=nonce,
        request_hash=bytes(32),
        response_hash=receipt.response_hash(range(completion)),
        prompt_tokens=prompt,
        completion_tokens=completion,
        compute=due.compute,
        premium=due.premium,
        manifest_hash=bytes(32),
        engine_hash=bytes(32),
        sampling_hash=bytes(32),
        logits_digest=bytes(32),
    )
    scores = ((1, 900), (4, 100), (0, -5))
    top = tuple(Scored(RecordId(market.datanet, record), score) for record, score in scores)
    clusters = weights(cluster_scores(top, {}, {}))
    made = Report(receipt.receipt_hash(given), 0, QUERY, top, (), clusters, bytes([nonce]) * 32)
    report.check_report(made)
    return Entry(given, made)


def vouch(market: Market, nonce: int, *, key: KeyPair = HOT, **changed: Any) -> Any:
    """Sign the session's latest voucher, with some fields changed."""
    fields = {
        "genesis": market.genesis,
        "session": market.session,
        "nonce": nonce,
        "request_hash": bytes(32),
        "max_fee": MAX_FEE,
        "authorised": ESCROW // 2,
        "valid_until": 10_000,
    }
    latest = voucher.Voucher(**fields | changed)
    return voucher.SignedVoucher(latest, key.sign(voucher.signing_bytes(latest)))


def receipts_call(
    market: Market, batch: ReceiptBatch, signed: Any = None, *, session: int | None = None
) -> bytes:
    """Return the call by which a worker claims the fees of a batch."""
    return encode_call(
        "Inference",
        "submit_receipts",
        session=market.session if session is None else session,
        batch=batch,
        voucher=signed or vouch(market, batch.last_nonce),
    )


def attest(receipts: int) -> Attestation:
    """Return what an honest member found."""
    return Attestation(0, (QUERY,) * receipts, (Verdict.OK,) * receipts, b"s" * 32)


def commit_call(market: Market, batch: int, attestation: Attestation) -> bytes:
    """Return the call by which the validator's worker commits to an attestation."""
    digest = commitment(market.genesis, batch, VALIDATOR.account_id, attestation)
    return encode_call("Attribution", "commit", batch=batch, digest=digest)


def reveal_call(batch: int, attestation: Attestation) -> bytes:
    """Return the call that reveals an attestation."""
    return encode_call("Attribution", "reveal", batch=batch, attestation=attestation)


def openings(entries: Sequence[Entry], receipts: Sequence[int]) -> tuple[Opening, ...]:
    """Open the drawn receipts of a batch."""
    data = leaves(entries)
    return tuple(
        Opening(entries[i].receipt, entries[i].report, merkle.path(data, i)) for i in receipts
    )


def publish_call(batch: int, opened: tuple[Opening, ...]) -> bytes:
    """Return the call by which the executor opens drawn receipts."""
    return encode_call("Attribution", "publish", batch=batch, openings=opened)


async def until(
    client: NodeClient, start: int, told: Callable[[FinalizedBlock], Any], what: str
) -> Any:
    """Follow finality from a block on until `told` finds something true in one; returns that."""
    last = start
    with trio.move_on_after(PATIENCE) as waiting:
        async with aclosing(client.finalized_blocks(start)) as blocks:
            async for block in blocks:
                found = told(block)
                if found:
                    return found
                last = block.header.number
                if last >= start + MOST_BLOCKS:
                    break
                waiting.deadline = trio.current_time() + PATIENCE
    raise AssertionError(f"{what} did not happen from block {start} to {last}, the last one")


async def height(client: NodeClient) -> int:
    """Return the number of the last finalised block."""
    header = await client.header(await client.finalized_head())
    assert header is not None
    return header.number


async def at_height(client: NodeClient, number: int) -> None:
    """Wait until a block is final."""
    await until(client, number, lambda block: block.header.number >= number, f"block {number}")


async def event_of(client: NodeClient, start: int, name: str, batch: int) -> Any:
    """Wait for an event about a batch."""

    def told(block: FinalizedBlock) -> Any:
        found = [e.event for e in block.events if e.name == name]
        return next((event for event in found if event.batch == batch), None)

    return await until(client, start, told, f"{name} of batch {batch}")


async def submit_receipts(client: NodeClient, market: Market, entries: Sequence[Entry]) -> int:
    """Claim the fees of answers; returns the batch's id."""
    done = await client.submit(receipts_call(market, summarise(entries)), WORKER)
    batch: int = done.event("Inference", "ReceiptsSubmitted").batch
    return batch


async def settle(client: NodeClient, market: Market, entries: Sequence[Entry]) -> Settlement:
    """Submit receipts, judge them by the book, and wait until their fee is divided."""
    start = await height(client)
    batch = await submit_receipts(client, market, entries)
    drawn = await event_of(client, start, "CommitteeDrawn", batch)
    found = attest(len(drawn.receipts))
    await client.submit(commit_call(market, batch, found), WORKER)
    duty = await client.storage("Attribution", "Duties", batch)
    await at_height(client, duty.commit_until)
    opened = publish_call(batch, openings(entries, drawn.receipts))
    await in_order(client, WORKER, reveal_call(batch, found), opened)
    return await settlement(client, start, batch)


async def settlement(client: NodeClient, start: int, batch: int) -> Settlement:
    """Wait until a batch is settled."""

    def told(block: FinalizedBlock) -> Settlement | None:
        found = Settlement(batch, block)
        return found if found.events("Settled") else None

    found: Settlement = await until(client, start, told, f"the settlement of batch {batch}")
    return found


def _good(results: list[Any]) -> list[Any]:
    for result in results:
        if isinstance(result, ClientError):
            raise result
    return results
