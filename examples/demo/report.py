"""What `build/demo/report.json` holds: the answer, its records, the fee, every balance.

Amounts are decimal strings of the smallest unit (10**18 of them are 1 OPEN); shares are decimal
strings between 0 and 1.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from examples.demo.accounting import Books
from examples.demo.journal import Journal
from examples.demo.people import BACKERS, BUILDER, CUSTOMER, NOBODY, VALIDATORS, name_of
from examples.demo.settings import Settings
from examples.demo.settle import Judges, Snapshot
from examples.demo.shelf import Shelf
from examples.demo.talk import Answered
from examples.demo.timeline import LANES
from runtime.primitives.fixed_point import largest_remainder
from runtime.primitives.keys import ss58_encode
from runtime.protocols.ids import PPM
from runtime.protocols.settlement import Role

Detokenise = Callable[[Sequence[int]], str]
SHOWN = frozenset(event for events in LANES.values() for event in events)
BURNED = "burn"
MICRO = 10**6


def build(
    settings: Settings,
    shelves: Sequence[Shelf],
    answers: Sequence[Answered],
    explained: Sequence[Mapping[str, Any]],
    books: Books,
    before: Snapshot,
    after: Snapshot,
    journal: Journal,
    detokenise: Detokenise,
    judges: Judges,
) -> dict[str, Any]:
    """Put the report together; `seconds` is added at the very end."""
    by_id = {shelf.id: shelf for shelf in shelves}
    told = [
        _answer(answer, found, by_id, detokenise)
        for answer, found in zip(answers, explained, strict=True)
    ]
    best = max(told, key=lambda a: (sum(s["end"] - s["start"] for s in a["spans"]), a["matched"]))
    return {
        "model": settings.model_name,
        "fee": str(books.fee),
        "compute": str(books.compute),
        "premium": str(books.premium),
        "escrow": str(books.escrow),
        "refund": str(books.refund),
        "self_attested": judges.self_attested,
        "committee": list(judges.names),
        "validators": settings.validators,
        "payments": _payments(books),
        "prompt": best["prompt"],
        "answer": best["text"],
        "spans": best["spans"],
        "records": best["records"],
        "answers": told,
        "accounts": _accounts(settings, books, before, after, shelves),
        "balances_before": _balances(before),
        "balances_after": _balances(after),
        "held_before": {ss58_encode(a): str(b.held) for a, b in before.balances.items()},
        "held_after": {ss58_encode(a): str(b.held) for a, b in after.balances.items()},
        "issuance_before": str(before.issuance),
        "issuance_after": str(after.issuance),
        "timeline": _timeline(journal, after.block),
        "blocks": after.block,
    }


def _answer(
    answer: Answered,
    explained: Mapping[str, Any],
    shelves: Mapping[int, Shelf],
    detokenise: Detokenise,
) -> dict[str, Any]:
    places = _places(answer, detokenise)
    spans = []
    for span in explained.get("spans", ()):
        start, end = places[span["start"]], places[span["end"]]
        if start < end:
            text = answer.text[start:end]
            spans.append({"start": start, "end": end, "text": text} | _named(span, shelves))
    weights = {(w["datanet"], w["record"]): w["weight_ppm"] for w in explained.get("weights", ())}
    listed = {(top["datanet"], top["record"]): top for top in explained.get("top", ())}
    ranked = sorted({*weights, *listed}, key=lambda r: (-weights.get(r, 0), r))
    records = [
        _record(place, listed.get(place), weights.get(place, 0), shelves) for place in ranked
    ]
    return {
        "prompt": answer.prompt,
        "text": answer.text,
        "spans": spans,
        "records": records,
        "matched": len(weights),
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": len(answer.output_ids),
        "fee": str(answer.fee),
        "receipt": f"0x{answer.receipt.hex()}",
        "nonce": answer.nonce,
    }


def _places(answer: Answered, detokenise: Detokenise) -> list[int]:
    """Return the character at which each output token begins, and the text's end."""
    ids = answer.output_ids
    return [
        min(len(detokenise(ids[:count]).rstrip("\ufffd")), len(answer.text))
        for count in range(len(ids) + 1)
    ]


def _named(place: Mapping[str, Any], shelves: Mapping[int, Shelf]) -> dict[str, Any]:
    shelf = shelves[place["datanet"]]
    return {
        "id": place["record"],
        "datanet_id": shelf.id,
        "datanet": shelf.example.key,
        "contributor": shelf.records[place["record"]][0],
    }


def _record(
    place: tuple[int, int],
    top: Mapping[str, Any] | None,
    weight: int,
    shelves: Mapping[int, Shelf],
) -> dict[str, Any]:
    shelf = shelves[place[0]]
    contributor, fields = shelf.records[place[1]]
    names = shelf.example.fields
    parts = [max(0, int(top["fields"][name])) if top else 0 for name in names]
    shares = largest_remainder(MICRO, parts) if any(parts) else [0] * len(names)
    return {
        "id": place[1],
        "datanet_id": shelf.id,
        "datanet": shelf.example.key,
        "contributor": contributor,
        "score": int(top["score"]) if top else 0,
        "share": _share(weight, PPM),
        "field": names[max(range(len(names)), key=lambda at: shares[at])],
        "fields": [
            {"name": name, "share": _share(share, MICRO)}
            for name, share in zip(names, shares, strict=True)
        ],
        "text": list(fields),
    }


def _share(part: int, whole: int) -> str:
    return f"{part // whole}.{part % whole:06d}"


def _payments(books: Books) -> list[dict[str, Any]]:
    """Sum the batches' payments by role and account, contributors by what they get."""
    sums: defaultdict[tuple[Role, bytes | None, int | None], int] = defaultdict(int)
    for payment in books.payments:
        sums[payment.role, payment.account, payment.datanet] += payment.amount
    rows = []
    for (role, account, datanet), amount in sorted(
        sums.items(), key=lambda row: (row[0][0], -row[1], row[0][1] or b"")
    ):
        name = role.name.lower().replace("_", " ").removesuffix(" pot")
        role_name = "audit pot" if name == "audit" else name
        holder = _holder(role_name, account, datanet)
        rows.append(
            {
                "role": role_name,
                "account": holder if account is None else ss58_encode(account),
                "name": holder,
                "amount": str(amount),
            }
        )
    return rows


def _holder(role: str, account: bytes | None, datanet: int | None) -> str:
    """Name who holds a payment; pots have no account of their own in the event."""
    if account is not None:
        return name_of(account)
    if role == "upkeep":
        return f"upkeep of Datanet {datanet}"
    return {"treasury": "treasury", "stakers": "stakers' pot", BURNED: NOBODY}.get(role, role)


def _accounts(
    settings: Settings, books: Books, before: Snapshot, after: Snapshot, shelves: Sequence[Shelf]
) -> list[dict[str, Any]]:
    roles: defaultdict[str, list[str]] = defaultdict(list)
    for shelf in shelves:
        roles[shelf.example.owner].append(f"owner of {shelf.example.key}")
        for portion in shelf.example.portions:
            roles[portion.contributor].append(f"contributor to {shelf.example.key}")
    roles[BUILDER].append("model owner")
    for backer in BACKERS:
        roles[backer].append("backer")
    roles[CUSTOMER].append("customer")
    for place, validator in enumerate(VALIDATORS[: settings.validators]):
        roles[validator].append("validator" if place else "validator, executor")
    rows = []
    for account, old in before.balances.items():
        moves, new = books.moves[account], after.balances[account]
        name = name_of(account)
        if moves.held or moves.change or old.total != new.total:
            rows.append(
                {
                    "name": name,
                    "address": ss58_encode(account),
                    "roles": roles.get(name, ["pot"]),
                    "before": str(old.total),
                    "after": str(new.total),
                    "earned": str(moves.received),
                    "spent": str(moves.spent),
                    "transaction_fees": str(moves.transaction_fees),
                    "author_fees": str(moves.author_fees),
                    "unclaimed": str(moves.unclaimed),
                    "held": str(moves.held),
                }
            )
    return rows


def _balances(snapshot: Snapshot) -> dict[str, str]:
    return {ss58_encode(a): str(b.total) for a, b in snapshot.balances.items()}


def _timeline(journal: Journal, last: int) -> list[dict[str, Any]]:
    counted = Counter(
        (entry.block, entry.record.name)
        for entry in journal.happened
        if entry.block <= last
        and entry.record.pallet in ("Datanets", "Models", "Inference", "Attribution")
        and entry.record.name in SHOWN
    )
    return [
        {"block": block, "event": name, "count": count}
        for (block, name), count in sorted(counted.items())
    ]
