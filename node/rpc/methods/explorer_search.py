"""`openledger_search`: what a text that somebody pasted may mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import AnyMethod, LengthyMethod
from node.rpc.methods.explorer_blocks import BlockPages, aside
from node.rpc.params import MalformedError, Param, decoder, text, to_hex
from runtime.apis.paging import MOST, newest_first
from runtime.apis.paging import text as shown_text
from runtime.construct import Runtime
from runtime.pallets.system.types import EMPTY_ACCOUNT
from runtime.primitives.keys import AddressError, ss58_decode, ss58_encode
from runtime.state.overlay import Overlay

MOST_TEXT = 128
KINDS = (
    "Block",
    "Extrinsic",
    "Account",
    "Worker",
    "Datanet",
    "Model",
    "Session",
    "ReceiptBatch",
)
HIT = schema.shared(
    "SearchHit",
    {
        **schema.record(
            kind={"enum": list(KINDS)},
            id={**schema.TEXT, "description": "hash, address or number: what its page asks for"},
            title={**schema.TEXT, "description": "its name or number"},
        ),
        "description": "Something that a text may mean.",
    },
)
Hit = dict[str, str]


@decoder({**schema.TEXT, "maxLength": MOST_TEXT})
def _query(value: object) -> str:
    found = text(value).strip()
    if len(found) > MOST_TEXT:
        raise MalformedError(f"at most {MOST_TEXT} characters are searched for")
    return found


def search_methods(backend: Backend) -> list[AnyMethod]:
    """List the methods of this group."""

    async def search(query: str) -> object:
        """Tell what a text may be: block, extrinsic, account, worker, Datanet, model or session.

        Numbers, hashes, addresses and exact names of Datanets are always found; a part of a name
        only among the newest 100 Datanets and models.
        """
        raw = _hash(query)
        waits = raw is not None and backend.pool.extrinsic(raw) is not None
        return await aside(backend, lambda: list(_hits(backend, query, raw, waits)))

    return [
        LengthyMethod(
            "openledger_search",
            search,
            (Param("text", _query, doc="Number, hash, address or name."),),
            result=schema.array(HIT),
        )
    ]


def _hits(backend: Backend, query: str, raw: bytes | None, waits: bool) -> Iterator[Hit]:
    """Look everywhere; `raw`: the query as a hash; `waits`: the pool has an extrinsic of it."""
    if not query:
        return
    runtime = Runtime(Overlay(backend.state(None)))
    digits = query.replace(",", "")
    if digits.isascii() and digits.isdigit() and len(digits) <= 20:
        yield from _numbered(backend, runtime, int(digits))
    if raw is not None:
        yield from _hashed(backend, raw, waits)
        yield from _account(runtime, raw, known_only=True)
    with suppress(AddressError):
        yield from _account(runtime, ss58_decode(query)[0], known_only=False)
    yield from _named(runtime, query)


def _numbered(backend: Backend, runtime: Runtime, number: int) -> Iterator[Hit]:
    block_hash = backend.chain.block_hash(number) if number < 1 << 32 else None
    if block_hash is not None:
        yield _hit("Block", to_hex(block_hash), str(number))
    if number < runtime.datanets.next_datanet.get():
        yield _hit("Datanet", str(number), shown_text(runtime.datanets.datanets[number].name))
    if number < runtime.models.next_model.get():
        yield _hit("Model", str(number), shown_text(runtime.models.models[number].name))
    if number < runtime.inference.next_session.get():
        yield _hit("Session", str(number), f"Session {number}")
    if number < runtime.inference.next_batch.get():
        yield _hit("ReceiptBatch", str(number), f"Batch {number}")


def _hashed(backend: Backend, raw: bytes, waits: bool) -> Iterator[Hit]:
    header = backend.chain.header(raw)
    if header is not None:
        yield _hit("Block", to_hex(raw), str(header.number))
    if waits or BlockPages(backend).place(raw) is not None:
        yield _hit("Extrinsic", to_hex(raw), "waiting" if waits else "in a block")


def _account(runtime: Runtime, raw: bytes, *, known_only: bool) -> Iterator[Hit]:
    if len(raw) != 32:
        return
    address = ss58_encode(raw)
    if not known_only or runtime.system.account[raw] != EMPTY_ACCOUNT:
        yield _hit("Account", address, address)
    worker = runtime.inference.workers.get(raw)
    if worker is not None:
        yield _hit("Worker", address, shown_text(worker.endpoint))


def _named(runtime: Runtime, query: str) -> Iterator[Hit]:
    """Look for a name: an exact one by its key, then among the newest."""
    nets, models = runtime.datanets, runtime.models
    exact = nets.names.get(query.encode())
    if exact is not None:
        yield _hit("Datanet", str(exact), query)
    wanted = query.casefold()
    for index, net in newest_first(nets.datanets.get, nets.next_datanet.get(), None, MOST)[0]:
        if index != exact and wanted in shown_text(net.name).casefold():
            yield _hit("Datanet", str(index), shown_text(net.name))
    for index, model in newest_first(models.models.get, models.next_model.get(), None, MOST)[0]:
        if wanted in shown_text(model.name).casefold():
            yield _hit("Model", str(index), shown_text(model.name))


def _hash(query: str) -> bytes | None:
    digits = query[2:] if query[:2] in ("0x", "0X") else query
    if len(digits) != 64:
        return None
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return None


def _hit(kind: str, ident: str, title: str) -> Hit:
    found: dict[str, Any] = {"kind": kind, "id": ident, "title": title}
    return found
