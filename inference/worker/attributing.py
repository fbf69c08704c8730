"""Which records shaped each answer: computed behind the answers, kept in the book.

Copies that were found on chain count for their originals, so a report is made anew if a record that
it names proved to be a copy before its receipt was submitted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import trio

from inference.attribution.fields import field_split
from inference.log import Log
from inference.worker.book import SessionBook
from inference.worker.book_rows import Answered
from inference.worker.chain_view import ChainView
from inference.worker.library import Library, ServedModel
from runtime.primitives.errors import Refusal
from runtime.primitives.keys import ss58_encode
from runtime.protocols.ids import RecordId
from runtime.protocols.report import Report

_LOG = Log("attribution")
_BATCH = 8
_RETRY_SECONDS = 2.0


class Attributing:
    """Works off the answers that have no report yet, one at a time on a thread of its own."""

    def __init__(self, view: ChainView, library: Library, book: SessionBook) -> None:
        self._view = view
        self._library = library
        self._book = book
        self._thread = trio.CapacityLimiter(1)
        self.done = trio.Event()
        """Set, and replaced, whenever a report is kept."""

    async def run(self, new_answer: Callable[[], trio.Event]) -> None:
        """Attribute until cancelled; `new_answer` gives the event that wakes this."""
        while True:
            wake = new_answer()
            try:
                pending = await trio.to_thread.run_sync(self._book.unattributed, _BATCH)
                for answered in pending:
                    await self._attribute(answered)
            except Exception:  # the book's disk may be full for a while
                _LOG.error("attribution not kept", trace=True)
                await trio.sleep(_RETRY_SECONDS)
                continue
            if not pending:
                await wake.wait()

    async def report(self, answered: Answered) -> tuple[Report, dict[str, Any]]:
        """Compute the report of an answer and its explanation; raises Refusal, ValueError."""
        model = await self._library.model(answered.model)
        salt = secrets.token_bytes(32)
        report = await self._compute(model, answered, salt, {})
        copies = await self._copies(report)
        if copies:
            report = await self._compute(model, answered, salt, copies)
        explanation = await trio.to_thread.run_sync(explain, model, report, limiter=self._thread)
        return report, explanation

    async def refresh(self, answered: Answered) -> Answered:
        """Return an answer whose report knows the copies that the chain knows now."""
        if answered.report is None or not await self._outdated(answered.report):
            return answered
        report, explanation = await self.report(answered)
        await trio.to_thread.run_sync(self._book.attribute, answered.hash, report, explanation)
        return replace(answered, report=report, explanation=explanation)

    async def _attribute(self, answered: Answered) -> None:
        report, explanation = None, None
        started = trio.current_time()
        try:
            report, explanation = await self.report(answered)
        except Refusal as refusal:
            # The model cannot be had now; it is asked for again, so no contributor goes unpaid.
            _LOG.warning("attribution waits", receipt=answered.hash, cause=refusal)
            await trio.sleep(_RETRY_SECONDS)
            return
        except Exception:  # a stranger's request must not stop the worker
            _LOG.error("attribution failed", trace=True, receipt=answered.hash)
        await trio.to_thread.run_sync(self._book.attribute, answered.hash, report, explanation)
        self.done.set()
        self.done = trio.Event()
        if report is not None:
            _LOG.info(
                "attributed",
                receipt=answered.hash,
                records=len(report.top),
                spans=len(report.spans),
                clusters=len(report.clusters),
                seconds=trio.current_time() - started,
            )

    async def _compute(
        self,
        model: ServedModel,
        answered: Answered,
        salt: bytes,
        copies: Mapping[RecordId, RecordId],
    ) -> Report:
        def compute() -> Report:
            attribution = model.attribution
            prompt, output = answered.prompt_ids, answered.output_ids
            query = attribution.querier.code(prompt, output)
            attributor = replace(attribution.attributor, duplicates=dict(copies))
            return attributor.report(answered.hash, query, prompt, output, salt)

        return await trio.to_thread.run_sync(compute, limiter=self._thread)

    async def _copies(self, report: Report) -> dict[RecordId, RecordId]:
        named = {scored.record for scored in report.top} | {span.record for span in report.spans}
        found = {}
        for record in sorted(named):
            original = await self._view.storage("Datanets", "Clusters", record)
            if original is not None:
                found[record] = original
        return found

    async def _outdated(self, report: Report) -> bool:
        copies = await self._copies(report)
        return any(entry.cluster in copies for entry in report.clusters)


def explain(model: ServedModel, report: Report) -> dict[str, Any]:
    """Say in words of the Datanet what a report says in numbers; scores are texts, exact."""
    attribution = model.attribution
    places = {record.record: record for record in attribution.records}
    top = []
    for scored in report.top:
        schema = model.schemas[scored.record.datanet]
        record = places[scored.record]
        parts = field_split(attribution.querier, report.query, record, len(schema), scored.score)
        top.append(
            {
                **_record(model, scored.record),
                "score": str(scored.score),
                "fields": {name: str(p) for name, p in zip(schema, parts, strict=True)},
            }
        )
    spans = [
        {
            **_record(model, span.record),
            "start": span.start,
            "end": span.end,
            "offset": span.offset,
            "bits": span.bits,
        }
        for span in report.spans
    ]
    weights = [
        {**_record(model, entry.cluster), "weight_ppm": entry.weight} for entry in report.clusters
    ]
    return {"method": report.method, "top": top, "spans": spans, "weights": weights}


def _record(model: ServedModel, record: RecordId) -> dict[str, Any]:
    owner = model.contributor(record)
    return {
        "datanet": record.datanet,
        "record": record.record,
        "contributor": None if owner is None else ss58_encode(owner),
    }
