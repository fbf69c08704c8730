"""The engine without its surroundings: sequences in, events out, one step at a time, one thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from inference.backbone.batch import KvCache, Piece
from inference.backbone.incremental import IncrementalPass
from inference.backbone.model import Backbone
from inference.backbone.packed import PackedAdapter
from inference.backbone.tokenizer import IncrementalDecoder
from inference.digest import LogitsDigest
from inference.request import Answer, Finish, Limits, Request, Token
from inference.sampling import Logits, choose, log_probabilities
from inference.scheduler import Scheduler
from inference.sequence import Sequence
from inference.stopping import StopScanner


class Listener(Protocol):
    """Receives what one request produces, on the runner's thread."""

    def token(self, token: Token) -> None:
        """Take an output token."""

    def done(self, answer: Answer) -> None:
        """Take the end; nothing follows."""


@dataclass(slots=True, eq=False)
class _Running:
    sequence: Sequence
    adapter: PackedAdapter | None
    listener: Listener
    digest: LogitsDigest
    decoder: IncrementalDecoder | None
    scanner: StopScanner
    stop_ids: frozenset[int]
    text: list[str]


class Runner:
    """Continuous batching over one backbone."""

    def __init__(self, backbone: Backbone, limits: Limits) -> None:
        self._backbone = backbone
        self._pass = IncrementalPass(backbone.decoder)
        self._cache = KvCache(backbone.config, limits.blocks)
        self._next_id = 0
        self._jobs: dict[int, _Running] = {}
        self.scheduler = Scheduler(limits)

    def submit(self, request: Request, adapter: PackedAdapter | None, listener: Listener) -> int:
        """Queue a checked request; returns its number."""
        number = self._next_id
        self._next_id += 1
        sequence = Sequence(number, request)
        tokenizer = self._backbone.tokenizer
        stop_ids = request.stop_ids
        if stop_ids is None:
            stop_ids = self._backbone.config.eos_token_ids
        self._jobs[number] = _Running(
            sequence=sequence,
            adapter=adapter,
            listener=listener,
            digest=LogitsDigest(),
            decoder=None if tokenizer is None else IncrementalDecoder(tokenizer),
            scanner=StopScanner(request.stop),
            stop_ids=frozenset(stop_ids),
            text=[],
        )
        self.scheduler.add(sequence)
        return number

    def cancel(self, number: int) -> None:
        """End a request early; one that is done already is left alone."""
        job = self._jobs.get(number)
        if job is not None:
            self._finish(job, Finish.CANCELLED)

    def step(self) -> None:
        """Compute one batch and tell the listeners."""
        works = self.scheduler.schedule()
        if not works:
            return
        pieces = [
            Piece(
                tokens=work.sequence.ids(work.start, work.count),
                start=work.start,
                blocks=work.sequence.blocks,
                adapter=self._jobs[work.sequence.id].adapter,
                logits_from=work.count - 1 if work.draws else work.count,
            )
            for work in works
        ]
        logits = self._pass.step(pieces, self._cache).numpy()
        row = 0
        for work in works:
            work.sequence.computed += work.count
            if work.draws:
                self._draw(self._jobs[work.sequence.id], logits[row])
                row += 1

    def _draw(self, job: _Running, logits: Logits) -> None:
        sequence = job.sequence
        request = sequence.request
        token = choose(logits, request.sampling, len(sequence.outputs))
        job.digest.update(logits)
        sequence.outputs.append(token)
        ends = token in job.stop_ids
        text, stopped = ("", False) if ends or job.decoder is None else self._text(job, token)
        finish = Finish.STOP if ends or stopped else Finish.LENGTH if sequence.full else None
        if finish is not None and not stopped:
            text += self._rest(job)
        job.text.append(text)
        job.listener.token(_token(logits, token, text, request.logprobs))
        if finish is not None:
            self._finish(job, finish)

    def _text(self, job: _Running, token: int) -> tuple[str, bool]:
        if job.decoder is None:
            return "", False
        return job.scanner.push(job.decoder.push(token))

    def _rest(self, job: _Running) -> str:
        if job.decoder is None:
            return ""
        shown, stopped = job.scanner.push(job.decoder.finish())
        return shown if stopped else shown + job.scanner.finish()

    def _finish(self, job: _Running, finish: Finish) -> None:
        sequence = job.sequence
        self.scheduler.remove(sequence)
        del self._jobs[sequence.id]
        job.listener.done(
            Answer(
                output_ids=tuple(sequence.outputs),
                text="".join(job.text),
                finish=finish,
                logits_digest=job.digest.digest(),
                prompt_tokens=len(sequence.request.prompt_ids),
            )
        )


def _token(logits: Logits, token: int, text: str, top: int) -> Token:
    logs = log_probabilities(logits)
    best = np.argsort(-logs, kind="stable")[:top] if top else ()
    return Token(token, text, float(logs[token]), tuple((int(i), float(logs[i])) for i in best))


def use_threads(count: int) -> None:
    """Set how many threads a product uses; affects speed, never bits."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
