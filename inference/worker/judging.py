"""What a seat finds when it repeats a receipt: a verdict, and a query code of its own."""

from __future__ import annotations

from inference.adapters.store import AdapterStore
from inference.api.bodies import read_either
from inference.api.errors import ApiRefused
from inference.replay import BOUNDS, replay
from inference.request import RequestRefused
from inference.sampling import SamplingParams, SamplingRefused
from inference.worker.devices import Device
from inference.worker.evidence import Evidence
from inference.worker.identity import read_statement, statement_hash
from inference.worker.library import ServedModel
from inference.worker.pricing import prompt_ids, sampling_of
from runtime.pallets.attribution.pallet import NO_CODE
from runtime.pallets.inference.types import Session
from runtime.protocols.committee import Verdict
from runtime.protocols.receipt import ReceiptRefusal, check_receipt
from runtime.protocols.report import QueryCode
from runtime.protocols.voucher import request_hash, verify_signature


def judge(
    evidence: Evidence,
    session: Session,
    model: ServedModel,
    device: Device,
    store: AdapterStore,
) -> tuple[Verdict, QueryCode]:
    """Repeat one receipt from its evidence alone.

    BAD where the voucher, the request, the cost, the trace or the signature is not what the receipt
    states, or where the model does not draw these tokens from this prompt. The code is computed
    afresh.
    """
    receipt, voucher = evidence.signed.receipt, evidence.voucher.voucher
    output = evidence.output_ids
    try:
        check_receipt(evidence.signed, voucher, output, session.price, session.executor)
        request = read_either(evidence.body)
        prompt, sampling = prompt_ids(device.backbone, request), sampling_of(request, voucher)
    except (ReceiptRefusal, ApiRefused, SamplingRefused):
        return Verdict.BAD, NO_CODE
    stated = (
        voucher.request_hash == request_hash(evidence.body)
        and verify_signature(evidence.voucher, session.voucher_key)
        and receipt.prompt_tokens == len(prompt)
        and receipt.sampling_hash == sampling.content_hash
        and receipt.manifest_hash == model.manifest
        and receipt.logits_digest == evidence.trace.digest
        and receipt.engine_hash == statement_hash(evidence.engine)
    )
    if not stated or not _repeats(evidence, prompt, sampling, model, device, store):
        return Verdict.BAD, NO_CODE
    return Verdict.OK, model.attribution.querier.code(prompt, output)


def _repeats(
    evidence: Evidence,
    prompt: tuple[int, ...],
    sampling: SamplingParams,
    model: ServedModel,
    device: Device,
    store: AdapterStore,
) -> bool:
    """Tell whether the model, asked again, wins every draw of this output."""
    backbone = device.backbone
    engine = read_statement(evidence.engine)
    if engine is None or engine.get("base") != backbone.content_hash:
        return False
    length = min(len(prompt) + len(evidence.output_ids), backbone.config.max_position_embeddings)
    executor, image = device.judging(store, model.adapter, length)
    bounds = max(device.bounds, BOUNDS[engine["class"]])
    try:
        seen = replay(executor, image, prompt, evidence.output_ids, sampling)
    except RequestRefused:
        return False
    finally:
        executor.close()
    return seen.agrees(evidence.trace, bounds)
