"""Answers in the shapes of OpenAI's interface; the field `openledger` carries the proof."""

from __future__ import annotations

import json
import time
from typing import Any

from inference.request import Answer, Finish
from inference.worker.book_rows import Answered
from inference.worker.serving import Admitted, Finished
from runtime.protocols.receipt import to_text

RECEIPT_EVENT = "openledger.receipt"
_FINISH = {Finish.STOP: "stop", Finish.LENGTH: "length", Finish.CANCELLED: "stop"}


class Shape:
    """Writes one request's answer, whole or in pieces."""

    def __init__(self, admitted: Admitted, model: str, *, chat: bool) -> None:
        voucher = admitted.signed.voucher
        kind = "chatcmpl" if chat else "cmpl"
        self._chat = chat
        self._id = f"{kind}-{voucher.session}-{voucher.nonce}"
        self._model = model
        self._created = int(time.time())

    def whole(self, finished: Finished) -> dict[str, Any]:
        """Return a finished answer."""
        answer = finished.answer
        content: dict[str, Any] = (
            {"message": {"role": "assistant", "content": answer.text}}
            if self._chat
            else {"text": answer.text}
        )
        return self._frame(
            "chat.completion" if self._chat else "text_completion",
            [{"index": 0, **content, "logprobs": None, "finish_reason": _FINISH[answer.finish]}],
            usage=usage(answer),
            openledger=proof(finished.answered),
        )

    def piece(self, text: str, *, first: bool) -> dict[str, Any]:
        """Return a chunk of text."""
        if self._chat:
            delta = {"role": "assistant", "content": text} if first else {"content": text}
            return self._chunk({"delta": delta}, None)
        return self._chunk({"text": text}, None)

    def end(self, answer: Answer) -> dict[str, Any]:
        """Return the chunk that tells why the answer ended."""
        content: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        return self._chunk(content, _FINISH[answer.finish])

    def count(self, answer: Answer) -> dict[str, Any]:
        """Return the chunk that counts tokens."""
        return self._frame(self._kind, [], usage=usage(answer))

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _chunk(self, content: dict[str, Any], finish: str | None) -> dict[str, Any]:
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish}
        return self._frame(self._kind, [choice])

    def _frame(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
            **more,
        }


def usage(answer: Answer) -> dict[str, int]:
    """Count tokens as OpenAI does."""
    completion = len(answer.output_ids)
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": answer.prompt_tokens + completion,
    }


def proof(answered: Answered) -> dict[str, Any]:
    """Return what a customer needs to check an answer; amounts in planck, as texts."""
    receipt, sampling = answered.signed.receipt, answered.sampling
    name = f"0x{answered.hash.hex()}"
    return {
        "receipt": to_text(answered.signed),
        "receipt_hash": name,
        "session": receipt.session,
        "nonce": receipt.nonce,
        "compute": str(receipt.compute),
        "premium": str(receipt.premium),
        "prompt_ids": list(answered.prompt_ids),
        "output_ids": list(answered.output_ids),
        "sampling": {
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "seed": str(sampling.seed),
        },
        "manifest_hash": f"0x{receipt.manifest_hash.hex()}",
        "engine_hash": f"0x{receipt.engine_hash.hex()}",
        "logits_digest": f"0x{receipt.logits_digest.hex()}",
        "attribution_path": f"/v1/receipts/{name}/attribution",
    }


def event(data: dict[str, Any] | str, name: str | None = None) -> bytes:
    """Encode one server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode()
