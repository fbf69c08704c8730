"""A transaction on the terminal: the call, what it would do, what it did."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from node.cli.amounts import format_open
from node.cli.tx_dry_run import Preview
from node.cli.values_names import dashed
from node.cli.values_show import FOR_PEOPLE, FOR_PROGRAMS
from node.client.outcome import Included, named_error
from runtime.frame.calls import Call
from runtime.frame.calls import outer_table as call_table
from runtime.frame.errors import DispatchErrorValue
from runtime.frame.event_records import EventRecord
from runtime.primitives.extrinsic import Mortal, SignedPart
from runtime.primitives.keys import ss58_encode
from runtime.primitives.scale import field_types, type_name
from runtime.primitives.types import Id

_TOLD_OTHERWISE = {
    ("System", "ExtrinsicSuccess"),
    ("System", "ExtrinsicFailed"),
    ("TransactionPayment", "TransactionFeePaid"),
    ("Balances", "Withdraw"),
    ("Balances", "Deposit"),
}
"""What only says how it ended and who gets which part of the fee."""


def call_lines(call: Call) -> list[str]:
    """Describe a call for a person."""
    types = call_table().entry(call).info.arguments
    lines = [f"call      {call.pallet}.{call.name}"]
    for (name, type_), value in zip(types.items(), call.arguments, strict=True):
        lines.append(f"  {name.rstrip('_')}: {FOR_PEOPLE.text(type_, value)}")
    return lines


def command_line(call: Call) -> str:
    """Write the command that makes a call."""
    types = call_table().entry(call).info.arguments
    words = ["openledger", "tx", call.pallet.lower(), dashed(call.name)]
    for (name, type_), value in zip(types.items(), call.arguments, strict=True):
        option, text = f"--{dashed(name)}", FOR_PEOPLE.text(type_, value)
        words += [f"{option}={text}"] if text.startswith("-") else [option, text]
    return shlex.join(words)


def signed_lines(signed: SignedPart) -> list[str]:
    """Describe who signed, and for how long."""
    facts = signed_facts(signed)
    tip = f", tip {format_open(signed.extensions.tip)} OPEN" if signed.extensions.tip else ""
    return [f"from      {facts['from']}", f"          nonce {facts['nonce']}, {facts['era']}{tip}"]


def signed_facts(signed: SignedPart) -> dict[str, Any]:
    """Describe the same for a program."""
    era, address = signed.extensions.era, signed.address
    return {
        "from": ss58_encode(address.account) if isinstance(address, Id) else repr(address),
        "nonce": signed.extensions.nonce,
        "tip": str(signed.extensions.tip),
        "era": f"mortal, {era.period} blocks" if isinstance(era, Mortal) else "immortal",
    }


def preview_lines(preview: Preview) -> list[str]:
    """Describe what would happen for a person."""
    weight = preview.weight
    lines = [
        f"fee       {format_open(preview.fee)} OPEN",
        f"weight    {weight.ref_time} ps, {weight.proof_size} bytes of proof",
    ]
    match preview.outcome:
        case "unknown":
            told = "unknown: this node cannot try a transaction before it is sent"
        case "refused":
            told = f"refused, nothing is charged: {preview.refusal}"
        case "waits":
            told = f"not known before the account's other transactions: {preview.refusal}"
        case "failure":
            told = f"fails, the fee is charged: {preview.failure}"
        case outcome:
            told = outcome
    return [*lines, f"outcome   {told}", *event_lines(preview.events)]


def preview_facts(preview: Preview) -> dict[str, Any]:
    """Describe the same for a program."""
    failure, weight = preview.failure, preview.weight
    return {
        "fee": str(preview.fee),
        "weight": {"refTime": str(weight.ref_time), "proofSize": str(weight.proof_size)},
        "outcome": preview.outcome,
        "refusal": preview.refusal,
        "error": None if failure is None else asdict(failure),
        "events": event_facts(preview.events),
    }


def event_lines(records: Iterable[EventRecord]) -> list[str]:
    """Describe events for a person, without those of the outcome and the fee."""
    lines = []
    for record in records:
        if (record.pallet, record.name) not in _TOLD_OTHERWISE:
            told = ", ".join(f"{name} {text}" for name, text in _told(record.event))
            lines.append(f"  {record.pallet}.{record.name}: {told}".rstrip(": "))
    return ["events", *lines] if lines else []


def event_facts(records: Iterable[EventRecord]) -> list[dict[str, Any]]:
    """Describe events for a program."""
    return [
        {"pallet": r.pallet, "name": r.name, "fields": FOR_PROGRAMS.fields(r.event)}
        for r in records
    ]


def included_facts(done: Included) -> dict[str, Any]:
    """Describe what became of a transaction for a program."""
    failure = done.failure()
    return {
        "extrinsicHash": f"0x{done.extrinsic_hash.hex()}",
        "blockHash": f"0x{(done.block_hash or b'').hex()}",
        "index": done.index,
        "success": failure is None,
        "error": None
        if failure is None
        else {"pallet": failure.pallet, "name": failure.error, "text": failure.text},
        "feePaid": str(fee_paid(done.events)),
        "events": event_facts(done.events),
    }


def fee_paid(records: Iterable[EventRecord]) -> int:
    """Return what a transaction paid, tip included; nothing for a duty."""
    key = ("TransactionPayment", "TransactionFeePaid")
    return sum(r.event.actual_fee for r in records if (r.pallet, r.name) == key)


def _told(event: Any) -> list[tuple[str, str]]:
    told = []
    for attribute, type_ in field_types(type(event)).items():
        value = getattr(event, attribute)
        if type_name(type_) == type_name(DispatchErrorValue):
            text = str(named_error(value, b""))
        else:
            text = FOR_PEOPLE.text(type_, value)
        told.append((attribute.rstrip("_"), text))
    return told
