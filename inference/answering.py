"""What becomes of a request's ids one by one: text, log probabilities, a trace, and an end."""

from __future__ import annotations

import math
import time
from typing import Protocol

from inference.adapters.errors import AdapterRefused
from inference.backbone.tokenizer import IncrementalDecoder
from inference.executor import Rows
from inference.request import Answer, Finish, RequestReason, RequestRefused, Token
from inference.sequence import Sequence
from inference.stopping import StopScanner
from inference.trace import Tracer


class Listener(Protocol):
    """Receives what one request produces, on the runner's thread."""

    def token(self, token: Token) -> None:
        """Take an output token."""
        ...

    def done(self, answer: Answer) -> None:
        """Take the end; nothing follows."""
        ...

    def failed(self, error: RequestRefused | AdapterRefused) -> None:
        """Learn why there will be no answer; nothing follows."""
        ...


class Job:
    """A request under way."""

    def __init__(
        self,
        sequence: Sequence,
        listener: Listener,
        decoder: IncrementalDecoder | None,
        stop_ids: tuple[int, ...],
        arrived: float,
    ) -> None:
        """Begin an answer.

        Args:
            sequence: its ids.
            listener: learns of every id, and of the end.
            decoder: makes text of ids; None for ids alone.
            stop_ids: the model's own, for a request that names none.
            arrived: when it came, by `time.perf_counter`.
        """
        request = sequence.request
        self.sequence = sequence
        self.listener = listener
        self._decoder = decoder
        self._scanner = StopScanner(request.stop)
        self._stop_ids = frozenset(stop_ids if request.stop_ids is None else request.stop_ids)
        self._tracer = Tracer()
        self._text: list[str] = []
        self._latest = arrived

    def pause(self) -> float:
        """Tell the seconds since the id before, or since the request came."""
        before, self._latest = self._latest, time.perf_counter()
        return self._latest - before

    def take(self, token: int, rows: Rows, row: int) -> Finish | None:
        """Add an id that was drawn from a row; returns how the answer ended, if it did.

        Raises:
            RequestRefused: ADAPTER_FAILED if the row is not finite; finite factors may overflow.
        """
        sequence = self.sequence
        logprob = rows.logprob(row, token)
        if not math.isfinite(logprob):
            raise RequestRefused(
                RequestReason.ADAPTER_FAILED, "the model computes NaN or infinity for this prompt"
            )
        self._tracer.add(*rows.sixteenths(row), rows.hidden(row))
        sequence.outputs.append(token)
        ends = token in self._stop_ids
        text, stopped = ("", False) if ends else self._read(token)
        finish = Finish.STOP if ends or stopped else Finish.LENGTH if sequence.full else None
        if finish is not None and not stopped:
            text += self._rest()
        self._text.append(text)
        top = _top(rows, row, sequence.request.logprobs)
        self.listener.token(Token(token, text, logprob, top))
        return finish

    def answer(self, finish: Finish) -> Answer:
        """Sum up."""
        return Answer(
            output_ids=tuple(self.sequence.outputs),
            text="".join(self._text),
            finish=finish,
            trace=self._tracer.trace(),
            prompt_tokens=self.sequence.prompt_length,
            cached_tokens=self.sequence.cached,
        )

    def _read(self, token: int) -> tuple[str, bool]:
        if self._decoder is None:
            return "", False
        return self._scanner.push(self._decoder.push(token))

    def _rest(self) -> str:
        if self._decoder is None:
            return ""
        shown, stopped = self._scanner.push(self._decoder.finish())
        return shown if stopped else shown + self._scanner.finish()


def _top(rows: Rows, row: int, count: int) -> tuple[tuple[int, float], ...]:
    if not count:
        return ()
    total = rows.log_sum(row)
    ids, logits = rows.top(row, count)
    return tuple((i, logit - total) for i, logit in zip(ids, logits, strict=True))
