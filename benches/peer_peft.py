"""A server loop on PEFT, to compare with: mixed batches (`adapter_names=`) or merged weights.

    python benches/peer_peft.py --mode mixed|merged --model FOLDER --adapters DIR --trace FILE \
        --out FILE [--batch 16] [--threads 1] [--device cpu] [--dtype float32]
        [--clock wall|processor]

DIR holds one PEFT folder per adapter; a folder's name, without dots, is the adapter's id. TRACE has
one JSON object per line: `arrival` (seconds from the start), `adapter` (id, or null for the base
model), `prompt` (ids) and `output` (how many tokens: decoding is greedy and no token ends it). Each
mode takes what has arrived, in order, into a batch of at most `--batch` requests; a request leaves
the batch when it is done, and the next batch is formed when the last one has left.

- mixed: requests of any adapters share a batch; every adapter is loaded before the clock starts.
- merged: the batch is of the oldest request's adapter, whose weights are merged into the model's
  when they are not yet, after the last adapter's were taken out again.

OUT says, as JSON, when each request had its first token and its last, what was answered, and the
totals. transformers and peft are installed under `build/peers` and run from there.
"""

# Its packages live in that environment only.
# mypy: disable-error-code="import-not-found,misc,no-any-return,import-untyped,unused-ignore"

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
BASE = "__base__"
"""PEFT's name for no adapter."""


@dataclass
class Request:
    """A line of the trace, and what became of it; times are seconds from the start."""

    arrival: float
    adapter: str
    prompt: list[int]
    output: int
    first_token: float = 0.0
    finished: float = 0.0
    tokens: list[int] = field(default_factory=list)


class Clock:
    """Seconds since the start: of the wall, or of this process's processor time.

    The processor's clock goes on by itself where nothing is to be done.
    """

    def __init__(self, kind: str) -> None:
        self._processor = kind == "processor"
        self._read = time.process_time if self._processor else time.monotonic
        self._start = self._read()

    def now(self) -> float:
        """Tell the time."""
        return self._read() - self._start

    def wait(self, seconds: float) -> None:
        """Do nothing so long."""
        if self._processor:
            self._start -= seconds
        else:
            time.sleep(seconds)


class Mode(Protocol):
    """How adapters are applied."""

    merges: int

    def choose(self, waiting: deque[Request], most: int) -> list[Request]:
        """Take the requests of the next batch out of the queue."""
        ...

    def forward(self, batch: list[Request], **inputs: Any) -> Any:
        """Run the model over a batch."""
        ...


class Mixed:
    """All adapters in one batch, each applied to its own rows."""

    merges = 0

    def __init__(self, model: Any) -> None:
        self._model = model

    def choose(self, waiting: deque[Request], most: int) -> list[Request]:
        """Take the oldest requests."""
        return [waiting.popleft() for _ in range(min(most, len(waiting)))]

    def forward(self, batch: list[Request], **inputs: Any) -> Any:
        """Name each row's adapter."""
        return self._model(**inputs, adapter_names=[request.adapter for request in batch])


class Merged:
    """One adapter at a time, as part of the weights."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._merged = BASE
        self.merges = 0

    def choose(self, waiting: deque[Request], most: int) -> list[Request]:
        """Take the oldest request and others of its adapter, and merge that."""
        adapter = waiting[0].adapter
        chosen = [request for request in waiting if request.adapter == adapter][:most]
        taken = {id(request) for request in chosen}
        rest = [request for request in waiting if id(request) not in taken]
        waiting.clear()
        waiting.extend(rest)
        self._swap(adapter)
        return chosen

    def forward(self, batch: list[Request], **inputs: Any) -> Any:
        """Run the merged model."""
        if self._merged == BASE:
            with self._model.disable_adapter():
                return self._model(**inputs)
        return self._model(**inputs)

    def _swap(self, adapter: str) -> None:
        if adapter == self._merged:
            return
        if self._merged != BASE:
            self._model.unmerge_adapter()
        if adapter != BASE:
            self._model.set_adapter(adapter)
            self._model.merge_adapter([adapter])
            self.merges += 1
        self._merged = adapter


def serve(mode: Mode, trace: list[Request], most: int, device: str, clock: Clock) -> float:
    """Answer a trace in its own time; returns the seconds until the last token."""
    coming = deque(sorted(trace, key=lambda request: request.arrival))
    waiting: deque[Request] = deque()
    while coming or waiting:
        now = clock.now()
        while coming and coming[0].arrival <= now:
            waiting.append(coming.popleft())
        if waiting:
            answer(mode, mode.choose(waiting, most), clock, device)
        else:
            clock.wait(max(0.0, coming[0].arrival - now))
    return clock.now()


@torch.inference_mode()
def answer(mode: Mode, batch: list[Request], clock: Clock, device: str) -> None:
    """Generate for a batch until every request has its tokens."""
    longest = max(len(request.prompt) for request in batch)
    padding = [longest - len(request.prompt) for request in batch]
    ids = [[0] * pad + request.prompt for pad, request in zip(padding, batch, strict=True)]
    mask = [[0] * pad + [1] * (longest - pad) for pad in padding]
    inputs, seen = torch.tensor(ids, device=device), torch.tensor(mask, device=device)
    positions = (seen.cumsum(-1) - 1).clamp(min=0)
    cache = None
    while batch:
        out = mode.forward(
            batch,
            input_ids=inputs,
            attention_mask=seen,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = out.past_key_values
        chosen: Tensor = out.logits[:, -1].argmax(-1)
        tokens = chosen.tolist()  # waits for the device
        now = clock.now()
        for request, token in zip(batch, tokens, strict=True):
            request.tokens.append(token)
            request.first_token = request.first_token or now
            request.finished = now
        left = [n for n, request in enumerate(batch) if len(request.tokens) < request.output]
        inputs, positions = chosen[:, None], positions[:, -1:] + 1
        seen = torch.cat((seen, seen.new_ones((len(batch), 1))), dim=1)
        if len(left) < len(batch) and left:
            rows = torch.tensor(left, device=device)
            cache.batch_select_indices(rows)
            inputs, positions, seen = inputs[rows], positions[rows], seen[rows]
        batch = [batch[n] for n in left]


def read_trace(path: Path) -> list[Request]:
    """Read the requests of a trace."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [
        Request(line["arrival"], line["adapter"] or BASE, line["prompt"], line["output"])
        for line in lines
    ]


def load_model(
    folder: Path, adapters: Path, names: list[str], device: str, dtype: str
) -> tuple[Any, float]:
    """Load the base model and attach the adapters under their names; tells the seconds per each."""
    import peft
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model = model.to(device).eval()
    first, *others = names
    begun = time.monotonic()
    # Without this option PEFT first draws random factors for each adapter.
    quick = {"low_cpu_mem_usage": True}
    wrapped = peft.PeftModel.from_pretrained(model, adapters / first, adapter_name=first, **quick)
    for name in others:
        wrapped.load_adapter(adapters / name, adapter_name=name, **quick)
    return wrapped.eval(), (time.monotonic() - begun) / len(names)


def report(options: argparse.Namespace, trace: list[Request], **totals: Any) -> dict[str, Any]:
    """Put the figures together."""
    waits = sorted(request.first_token - request.arrival for request in trace)
    tokens = sum(len(request.tokens) for request in trace)
    return {
        "mode": options.mode,
        "batch": options.batch,
        "threads": options.threads,
        "device": options.device,
        "dtype": options.dtype,
        "torch": torch.__version__,
        **totals,
        "output_tokens": tokens,
        "tokens_per_second": tokens / totals["seconds"],
        "first_token_median": statistics.median(waits),
        "first_token_p99": waits[min(len(waits) - 1, int(len(waits) * 0.99))],
        "requests": [
            {
                "adapter": None if request.adapter == BASE else request.adapter,
                "arrival": request.arrival,
                "first_token": request.first_token,
                "finished": request.finished,
                "tokens": request.tokens,
            }
            for request in trace
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mode", choices=("mixed", "merged"), required=True)
    for name in ("--model", "--adapters", "--trace", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    if importlib.util.find_spec("peft") is None:
        sys.path.insert(0, str(ROOT))
        from tests.peers.environment import transformers_python

        os.environ |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
        python = str(transformers_python())
        os.execv(python, [python, str(Path(__file__).resolve()), *sys.argv[1:]])
    torch.set_num_threads(options.threads)
    trace = read_trace(options.trace)
    names = sorted({request.adapter for request in trace} - {BASE})
    if not names:
        parser.error(f"{options.trace} names no adapter")
    model, loading = load_model(
        options.model, options.adapters, names, options.device, options.dtype
    )
    mode: Mode = Mixed(model) if options.mode == "mixed" else Merged(model)
    warm = Request(0.0, trace[0].adapter, trace[0].prompt, 4)
    serve(mode, [warm], options.batch, options.device, Clock(options.clock))
    mode.merges = 0
    processor = time.process_time()
    seconds = serve(mode, trace, options.batch, options.device, Clock(options.clock))
    figures = report(
        options,
        trace,
        adapters=len(names),
        seconds_per_load=loading,
        seconds=seconds,
        processor=time.process_time() - processor,
        merges=mode.merges,
    )
    options.out.write_text(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
