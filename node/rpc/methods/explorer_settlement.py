"""`openledger_attribution`: a batch's report from the state, and its payments from its block."""

from __future__ import annotations

from typing import Any

from node.rpc import schema
from node.rpc.backend import Backend
from node.rpc.dispatch import LengthyMethod
from node.rpc.errors import RpcError
from node.rpc.json_values import shown
from node.rpc.methods.explorer import AT, page_name, page_of
from node.rpc.methods.explorer_arguments import params_of
from node.rpc.methods.explorer_blocks import aside, happened
from node.rpc.params import to_hex
from runtime.apis.attribution import AttributionApi
from runtime.apis.attribution_views import AttributionView
from runtime.construct import storage_item
from runtime.frame.runtime_api import api_methods
from runtime.pallets.inference.events import Paid, Settled
from runtime.pallets.inference.types import BatchState
from runtime.protocols.settlement import Payment
from runtime.state.store import MissingNode

_VIEW = shown(AttributionView)
_PAYMENT = shown(Payment)
_SETTLEMENT = schema.shared(
    "Settlement",
    {
        **schema.record(
            block=schema.HASH, number=schema.U32, payments=schema.array(_PAYMENT.schema)
        ),
        "description": "The block that settled a batch, and every part of the fee.",
    },
)
_METHOD = api_methods(AttributionApi)["attribution"]


def _shape() -> schema.Schema:
    members = schema.SHARED["AttributionView"]["properties"]
    settlement = {
        **schema.nullable(_SETTLEMENT),
        "description": "Null until it is settled, and where the state of that block is pruned.",
    }
    shape = schema.record((), **members, settlement=settlement)
    told = schema.SHARED["AttributionView"]["description"]
    return schema.shared("Attribution", {**shape, "description": told})


def attribution_method(backend: Backend) -> LengthyMethod:
    """Make the method."""
    page = page_of(backend, AttributionApi, _METHOD)

    async def attribution(batch: int, at: bytes | None) -> object:
        """Return a batch's report: judgement, clusters, whom it pays; null for an unknown batch.

        While the dispute window runs, `expected` tells what the settlement will pay as the state
        is now; afterwards `settlement` tells what was paid, read from the events of its block.
        """
        at = backend.at(at)
        view: AttributionView | None = await page(batch, at)
        if view is None:
            return None
        settled = view.batch.state == BatchState.SETTLED and view.duty is not None
        first = view.duty.final_at if view.duty else 0
        found = (
            await aside(backend, find_settlement, backend, batch, first, at) if settled else None
        )
        return {**_VIEW.write(view), "settlement": found}

    return LengthyMethod(
        page_name(_METHOD),
        attribution,
        (*params_of(_METHOD.arguments), AT),
        result=schema.nullable(_shape()),
    )


def find_settlement(backend: Backend, batch: int, first: int, at: bytes) -> dict[str, Any] | None:
    """Find the block that settled a batch, not before block `first`, by bisection.

    The chain settles a batch when its dispute window is over, unless it was too busy then.
    """
    low, high = first, backend.header(at).number
    if _is_settled(backend, batch, low):
        high = low
    while low < high:
        middle = (low + high) // 2
        if _is_settled(backend, batch, middle):
            high = middle
        else:
            low = middle + 1
    return _payments(backend, batch, low)


def _is_settled(backend: Backend, batch: int, number: int) -> bool:
    """Tell whether a batch is settled behind a block; False where that is not known any more."""
    item = storage_item("Inference", "Batches")
    block_hash = backend.chain.block_hash(number)
    if block_hash is None:
        return False
    try:
        raw = backend.state(block_hash).get(item.key(batch))
    except (RpcError, MissingNode):
        return False
    return raw is not None and item.decode_value(raw).state == BatchState.SETTLED


def _payments(backend: Backend, batch: int, number: int) -> dict[str, Any] | None:
    block_hash = backend.chain.block_hash(number)
    if block_hash is None:
        return None
    try:
        records = happened(backend.state(block_hash)).records
    except (RpcError, MissingNode):
        return None
    events = [record.event for record in records]
    if not any(isinstance(event, Settled) and event.batch == batch for event in events):
        return None
    paid = [event for event in events if isinstance(event, Paid) and event.batch == batch]
    return {
        "block": to_hex(block_hash),
        "number": number,
        "payments": [_PAYMENT.write(Payment(p.role, p.account, p.datanet, p.amount)) for p in paid],
    }
