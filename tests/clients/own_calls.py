"""What a client has to be told to call our pallets: the settled market, and records of its own."""

from __future__ import annotations

import base64
import json
from typing import Any

from runtime.primitives.keys import ss58_encode
from runtime.protocols.record_batch import RecordBatch, encode_batch, summarise
from tests.clients.main_job import WORKER
from tests.clients.settled_chain import Settled


def facts_for(settled: Settled, text: str) -> str:
    """Return the settled market's facts, a worker and a batch of records about `text`, as JSON."""
    batch = declared(text)
    facts: dict[str, Any] = json.loads(settled.facts())
    facts["data"] = base64.b64encode(encoded(text)).decode()
    facts["executor"] = ss58_encode(WORKER.account_id)
    facts["records"] = {
        "sub_root": "0x" + batch.sub_root.hex(),
        "count": batch.count,
        "bytes": batch.bytes_,
        "blob": "0x" + batch.blob_hash.hex(),
        "licence": "CC0-1.0",
    }
    return json.dumps(facts)


def declared(text: str) -> RecordBatch:
    """Return what a contributor declares about two records."""
    return summarise(encoded(text), _records(text))[0]


def encoded(text: str) -> bytes:
    """Return the records' bytes, as they are uploaded."""
    return encode_batch(_records(text), 2)


def _records(text: str) -> list[tuple[str, str]]:
    return [(text, f"Record {number} of {text}.") for number in (1, 2)]
