"""The executor's side of a committee: drawn members get the evidence of the drawn receipts.

Who asks, for what and when is read from the chain. The report is never handed out; it is opened on
chain once the commit window has shut.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import aclosing

import trio

from inference.log import Log
from inference.worker.book import SessionBook
from inference.worker.chain_view import ChainError, ChainView
from inference.worker.evidence import Evidence, Material, seal
from inference.worker.figures import Figures
from inference.worker.private_line import PrivateLine
from node.client.committee import Letter
from node.client.material import (
    MOST_ANSWER_BYTES,
    MaterialReason,
    MaterialRefusal,
    check_request,
    decode_request,
    sign_answer,
)
from node.client.signing import KeyPair
from runtime.primitives.errors import Refusal
from runtime.primitives.keys import ss58_encode
from runtime.protocols import merkle
from runtime.protocols.batch import leaves

_LOG = Log("committee")
_MOST_AT_ONCE = 16
_KEPT = 16


class HandingOut:
    """Answers what lies in this worker's inbox."""

    def __init__(
        self, view: ChainView, book: SessionBook, line: PrivateLine, key: KeyPair, figures: Figures
    ) -> None:
        self._view = view
        self._book = book
        self._line = line
        self._key = key
        self._figures = figures
        self._thread = trio.CapacityLimiter(1)
        self._kept: OrderedDict[tuple[int, int], Material] = OrderedDict()

    async def run(self) -> None:
        """Answer until cancelled; more than a few letters at once are left to be sent again."""
        under_way = trio.CapacityLimiter(_MOST_AT_ONCE)
        async with (
            trio.open_nursery() as nursery,
            aclosing(self._line.inbox(self._key)) as letters,
        ):
            async for letter in letters:
                if under_way.available_tokens > 0:
                    nursery.start_soon(self._reply, letter, under_way)

    async def _reply(self, letter: Letter, under_way: trio.CapacityLimiter) -> None:
        async with under_way:
            try:
                await self._line.answer(letter.number, await self._answer_or_none(letter.request))
            except ChainError as error:
                _LOG.warning("material not handed out", cause=error)

    async def _answer_or_none(self, request: bytes) -> bytes | None:
        try:
            return await self.answer(request)
        except Refusal as refusal:
            self._figures.material("refused")
            _LOG.info("request for material refused", cause=refusal)
        except Exception:  # a stranger's request must not stop the worker
            self._figures.material("failed")
            _LOG.error("request for material failed", trace=True)
        return None

    async def answer(self, data: bytes) -> bytes:
        """Return the signed and sealed answer to a request; raises MaterialRefusal, ChainError."""
        signed = decode_request(data)
        request = signed.request
        duty = await self._view.storage("Attribution", "Duties", request.batch)
        worker = await self._view.storage("Inference", "Workers", request.worker)
        check_request(signed, self._view.genesis, self._view.height, duty, worker)
        material = await trio.to_thread.run_sync(
            self._material, request.batch, request.receipt, limiter=self._thread
        )
        answer = sign_answer(request, seal(material, request.box), self._key)
        if len(answer) > MOST_ANSWER_BYTES:
            raise MaterialRefusal(MaterialReason.MALFORMED, f"{len(answer)} bytes are too many")
        self._figures.material("handed_out")
        _LOG.info(
            "material handed out",
            batch=request.batch,
            receipt=request.receipt,
            member=ss58_encode(request.validator),
        )
        return answer

    def _material(self, batch: int, position: int) -> Material:
        """Read what members need of a receipt; several ask for the same."""
        known = self._kept.get((batch, position))
        if known is not None:
            return known
        submission = self._book.submission_of(batch)
        if submission is None:
            raise MaterialRefusal(MaterialReason.NO_DUTY, "this worker did not submit the batch")
        answered = self._book.answers_of(submission)
        entries = [each.entry() for each in answered]
        drawn = answered[position]
        receipt = drawn.signed.receipt
        taken = self._book.voucher(receipt.session, receipt.nonce)
        if taken is None:
            raise MaterialRefusal(MaterialReason.NOT_DRAWN, "the voucher is not in the book")
        evidence = Evidence(drawn.signed, *taken, drawn.output_ids, drawn.trace, drawn.engine)
        path = merkle.path(leaves(entries), position)
        material = Material(evidence, entries[position].report_hash(), path)
        self._kept[batch, position] = material
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return material
