"""A report as the demo writes it, made by rule and from real records of an example Datanet."""

from __future__ import annotations

from typing import Any

from genesis.datanets import load
from runtime.primitives.fixed_point import largest_remainder
from runtime.primitives.keys import ss58_encode

OPEN = 10**18
PEOPLE = ("Bob", "Charlie", "Dave", "Eve", "Ferdie")


def address(name: str) -> str:
    return ss58_encode(name.encode().ljust(32, b"\x01"))


def payments(compute: int, premium: int) -> list[dict[str, Any]]:
    treasury, burn, owner, backers, stakers, people = largest_remainder(
        premium, [500, 500, 1600, 400, 2000, 5000]
    )
    executor, committee = largest_remainder(compute, [7, 3])
    shares = largest_remainder(people, [41, 23, 17, 11, 8])
    rows = [
        ("executor", "Alice//stash", executor),
        ("committee", "Alice//stash", committee),
        *(("contributor", name, share) for name, share in zip(PEOPLE, shares, strict=True)),
        ("owner", "Dave//stash", owner),
        ("backers", "Bob//stash", backers // 2),
        ("backers", "Charlie//stash", backers - backers // 2),
        ("stakers", "stakers' pot", stakers),
        ("treasury", "treasury", treasury),
        ("burn", "nobody", burn),
    ]
    return [
        {"role": role, "name": name, "account": address(name), "amount": str(amount)}
        for role, name, amount in rows
    ]


def record(number: int, share: float) -> dict[str, Any]:
    example = load("manuals")
    chosen = example.records[number * 31]
    fields = [
        {"name": name, "share": str(part)}
        for name, part in zip(example.fields, (0.1, 0.22, 0.68), strict=True)
    ]
    return {
        "id": number * 31,
        "datanet": "manuals",
        "datanet_id": 0,
        "contributor": chosen.contributor,
        "score": 10**9 // (number + 1),
        "share": str(share),
        "field": "text",
        "fields": fields,
        "text": list(chosen.fields),
    }


def span(text: str, words: tuple[int, int], where: dict[str, Any]) -> dict[str, Any]:
    parts = text.split(" ")
    start = len(" ".join(parts[: words[0]])) + (words[0] > 0)
    end = len(" ".join(parts[: words[1]]))
    keys = ("id", "datanet", "datanet_id", "contributor")
    return {"start": start, "end": end, "text": text[start:end]} | {k: where[k] for k in keys}


def sample_report() -> dict[str, Any]:
    """Build a report whose sums hold."""
    compute, premium = 731 * OPEN // 1000 + 1, 1462 * OPEN // 1000 + 7
    records = [record(i, share) for i, share in enumerate((0.31, 0.2, 0.16, 0.12, 0.1, 0.06))]
    text = records[0]["text"][-1]
    spans = [span(text, (0, 9), records[0]), span(text, (14, 26), records[2])]
    answer = {
        "prompt": "scp(1)\ndescription\n",
        "text": text,
        "spans": spans,
        "prompt_tokens": 9,
        "completion_tokens": 60,
        "fee": str((compute + premium) // 3),
        "receipt": "0x" + "ab" * 32,
    }
    paid = payments(compute, premium)
    accounts = [
        {
            "name": row["name"],
            "address": row["account"],
            "roles": [row["role"]],
            "before": str(10**6 * OPEN),
            "after": str(10**6 * OPEN + int(row["amount"]) - OPEN // 2000),
            "earned": row["amount"],
            "transaction_fees": str(OPEN // 2000),
            "held": str(7 * OPEN + OPEN // 2),
        }
        for row in paid
        if row["role"] != "burn"
    ]
    events = (
        ("Created", 2, 3), ("BatchSubmitted", 4, 14), ("BatchAccepted", 7, 14),
        ("VersionPublished", 9, 3), ("Proposed", 10, 1), ("Backed", 11, 2),
        ("ArtifactSubmitted", 60, 1), ("Launched", 62, 1), ("WorkerRegistered", 70, 1),
        ("SessionOpened", 75, 1), ("SessionClosing", 90, 1), ("ReceiptsSubmitted", 92, 1),
        ("CommitteeDrawn", 94, 1), ("Committed", 95, 1), ("Revealed", 100, 1), ("Opened", 100, 1),
        ("SessionClosed", 101, 1), ("Agreed", 104, 1), ("Settled", 114, 1), ("Claimed", 114, 9),
    )  # fmt: skip
    return {
        "model": "manual-writer",
        "seconds": "141.3",
        "blocks": 116,
        "fee": str(compute + premium),
        "compute": str(compute),
        "premium": str(premium),
        "escrow": str(5 * OPEN),
        "refund": str(5 * OPEN - compute - premium),
        "self_attested": True,
        "committee": ["Alice//stash"],
        "validators": 1,
        "payments": paid,
        "prompt": answer["prompt"],
        "answer": text,
        "spans": spans,
        "records": records,
        "answers": [answer, answer, answer],
        "accounts": accounts,
        "timeline": [{"event": e, "block": b, "count": c} for e, b, c in events],
    }
