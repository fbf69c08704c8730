"""What a seat finds when it repeats a receipt: a verdict, and a query code of its own."""

from __future__ import annotations

from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.replay import replay
from inference.request import RequestRefused
from inference.sampling import SamplingRefused
from inference.worker.api_bodies import read_either
from inference.worker.api_errors import ApiRefused
from inference.worker.book_rows import Answered
from inference.worker.library import ServedModel
from inference.worker.pricing import prompt_ids, sampling_of
from runtime.pallets.attribution.pallet import NO_CODE
from runtime.pallets.inference.types import Session
from runtime.protocols.committee import Verdict
from runtime.protocols.receipt import ReceiptRefusal, check_receipt
from runtime.protocols.report import QueryCode
from runtime.protocols.voucher import SignedVoucher, request_hash, verify_signature


def judge(
    answered: Answered,
    signed: SignedVoucher,
    body: bytes,
    session: Session,
    model: ServedModel,
    backbone: Backbone,
    store: AdapterStore,
) -> tuple[Verdict, QueryCode]:
    """Repeat one receipt from its data alone.

    BAD where the voucher, the request, the cost or the signature is not what the receipt states, or
    where the model does not draw these tokens from this prompt. The code is computed afresh.
    """
    receipt, voucher = answered.signed.receipt, signed.voucher
    try:
        check_receipt(
            answered.signed, voucher, answered.output_ids, session.price, session.executor
        )
        request = read_either(body)
        asked = (prompt_ids(backbone, request), sampling_of(request, voucher))
    except (ReceiptRefusal, ApiRefused, SamplingRefused):
        return Verdict.BAD, NO_CODE
    stated = (
        voucher.request_hash == request_hash(body)
        and verify_signature(signed, session.voucher_key)
        and asked == (answered.prompt_ids, answered.sampling)
        and receipt.prompt_tokens == len(answered.prompt_ids)
        and receipt.sampling_hash == answered.sampling.content_hash
        and receipt.manifest_hash == model.manifest
    )
    if not stated or not _repeats(answered, model, backbone, store):
        return Verdict.BAD, NO_CODE
    code = model.attribution.querier.code(answered.prompt_ids, answered.output_ids)
    return Verdict.OK, code


def _repeats(
    answered: Answered, model: ServedModel, backbone: Backbone, store: AdapterStore
) -> bool:
    """Tell whether the model, asked again, wins every draw of this output."""
    try:
        with store.pinned(model.adapter) as packed:
            seen = replay(
                backbone, packed, answered.prompt_ids, answered.output_ids, answered.sampling
            )
    except RequestRefused:
        return False
    return seen.agrees(answered.signed.receipt.logits_digest)
