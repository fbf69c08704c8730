"""What a signed extrinsic would do, as the node finds out by executing it on its best state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node.client.errors import CallError
from node.client.rpc import NodeClient
from runtime.construct import EVENTS
from runtime.frame.event_records import EventRecord
from runtime.primitives.extrinsic import UncheckedExtrinsic
from runtime.primitives.types import Weight

_NO_METHOD = -32601
_AHEAD = "Future: "
"""The nonce is ahead of the state: the pool keeps the transaction until those before are in."""
_ONE = b"\x04"
"""The length that a vector of one item begins with."""


@dataclass(frozen=True, slots=True)
class CallFailure:
    """The error of a call that a block would carry."""

    pallet: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.pallet}.{self.name}: {' '.join(self.text.split())}"


@dataclass(frozen=True, slots=True)
class Preview:
    """What is known before sending; `executed` is False where the node cannot try it."""

    fee: int
    """Tip included."""
    weight: Weight
    executed: bool = False
    refusal: str | None = None
    """Why no block would carry it."""
    failure: CallFailure | None = None
    events: tuple[EventRecord, ...] = ()

    @property
    def outcome(self) -> str:
        """The answer in one word: success, failure, refused, waits or unknown."""
        if not self.executed:
            return "unknown"
        if self.refusal is not None:
            return "waits" if self.refusal.startswith(_AHEAD) else "refused"
        return "success" if self.failure is None else "failure"


async def preview(client: NodeClient, signed: bytes) -> Preview:
    """Try an extrinsic; of a node that cannot, only what it costs. Raises CallError."""
    text = f"0x{signed.hex()}"
    try:
        told = await client.request("openledger_dryRun", text, None)
    except CallError as error:
        if error.code != _NO_METHOD:
            raise
        return await _price(client, text, signed)
    refusal, error_ = told["refusal"], told["error"]
    return Preview(
        fee=int(told["fee"]),
        weight=Weight(int(told["weight"]["refTime"]), int(told["weight"]["proofSize"])),
        executed=True,
        refusal=None if refusal is None else f"{refusal['reason']}: {refusal['detail']}",
        failure=None if error_ is None else _failure(error_),
        events=tuple(
            record for raw in told["events"] for record in EVENTS.decode(_ONE + _bytes(raw))
        ),
    )


async def _price(client: NodeClient, text: str, signed: bytes) -> Preview:
    told = await client.request("payment_queryInfo", text)
    part = UncheckedExtrinsic.decode(signed).signed
    tip = 0 if part is None else part.extensions.tip
    weight = told["weight"]
    sizes = [int(weight.get(new, weight.get(old))) for new, old in _WEIGHT_NAMES]
    return Preview(int(told["partialFee"]) + tip, Weight(*sizes))


_WEIGHT_NAMES = (("refTime", "ref_time"), ("proofSize", "proof_size"))


def _failure(told: Any) -> CallFailure:
    return CallFailure(told["pallet"], told["name"], told["text"])


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
