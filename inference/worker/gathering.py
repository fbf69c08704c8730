"""A drawn member's side: the evidence of receipts that another worker executed.

Every answer is checked against the executor's key and the batch's root. What cannot be had in time
although others were asked is `unavailable`; where nobody could be asked, the fault may be this
side's, and the receipt is `inconclusive`.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio
from nacl.public import PrivateKey

from inference.log import Log
from inference.worker.chain_view import ChainError, ChainView
from inference.worker.evidence import Evidence, is_of, unseal
from inference.worker.figures import Figures
from inference.worker.private_line import PrivateLine
from inference.worker.pulse import Pulse
from node.client.material import MaterialRefusal, MaterialRequest, open_answer, sign_request
from node.client.signing import KeyPair
from runtime.pallets.attribution.types import Duty
from runtime.pallets.inference.types import Batch
from runtime.protocols.committee import Verdict

_LOG = Log("committee")
LAST_BLOCKS = 2
"""So many blocks before the last one that takes a commit, the search ends."""
LEAST_MISSES = 2
"""So often others must have been asked in vain before that is held against the executor."""
_LEAST_PAUSE, _MOST_PAUSE = 0.5, 4.0


def is_late(duty: Duty, height: int) -> bool:
    """Tell whether it is time to commit to what is known."""
    return height + LAST_BLOCKS >= duty.commit_until


@dataclass(slots=True)
class _Search:
    """What is known of one receipt."""

    evidence: Evidence | None = None
    misses: int = 0

    def result(self) -> Evidence | Verdict:
        if self.evidence is not None:
            return self.evidence
        return Verdict.UNAVAILABLE if self.misses >= LEAST_MISSES else Verdict.INCONCLUSIVE


class Gathering:
    """Asks executors for evidence, through this worker's node."""

    def __init__(
        self, view: ChainView, line: PrivateLine, key: KeyPair, pulse: Pulse, figures: Figures
    ) -> None:
        self._view = view
        self._line = line
        self._key = key
        self._pulse = pulse
        self._figures = figures

    async def gather(
        self, number: int, batch: Batch, duty: Duty, validator: bytes
    ) -> list[Evidence | Verdict]:
        """Return the evidence of each drawn receipt, or the verdict where there is none in time."""
        searches = {position: _Search() for position in duty.receipts}

        async def search(position: int) -> None:
            request = (number, position, validator)
            await self._search(searches[position], batch, *request)
            if all(found.evidence is not None for found in searches.values()):
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for position in duty.receipts:
                nursery.start_soon(search, position)
            await self._pulse.beyond(duty.commit_until - LAST_BLOCKS - 1)
            nursery.cancel_scope.cancel()
        results = [searches[position].result() for position in duty.receipts]
        for position, result in zip(duty.receipts, results, strict=True):
            if isinstance(result, Verdict):
                self._figures.material("missing")
                _LOG.warning("no material", batch=number, receipt=position, verdict=result.name)
        return results

    async def _search(
        self, found: _Search, batch: Batch, number: int, position: int, validator: bytes
    ) -> None:
        pause = _LEAST_PAUSE
        while found.evidence is None:
            try:
                found.evidence = await self._ask(found, batch, number, position, validator)
            except (ChainError, MaterialRefusal) as error:
                _LOG.info("material waits", batch=number, cause=error)
            if found.evidence is None:
                await trio.sleep(pause)
                pause = min(2 * pause, _MOST_PAUSE)

    async def _ask(
        self, found: _Search, batch: Batch, number: int, position: int, validator: bytes
    ) -> Evidence | None:
        secret = PrivateKey.generate()
        box = bytes(secret.public_key)
        own = self._key.account_id
        request = MaterialRequest(self._view.genesis, number, position, validator, own, box)
        reply = await self._line.ask(sign_request(request, self._key))
        if reply.answer is None:
            found.misses += reply.peers > 0
            return None
        sealed = open_answer(reply.answer, request, batch.executor)
        try:
            material = unseal(sealed, secret)
        except MaterialRefusal:
            material = None
        if material is None or not is_of(material, batch, position):
            found.misses += 1
            _LOG.warning("the executor sent something else", batch=number, receipt=position)
            return None
        self._figures.material("received")
        _LOG.info("material received", batch=number, receipt=position)
        return material.evidence
