"""Measure attribution: its cost beside inference, the scan beside memory bandwidth, spans.

    python benches/attribution.py [--model FOLDER] [--records 400] [--threads 1]

The model is the embedded base model; without one, a random checkpoint of its shape, since times do
not depend on the values of weights.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch

from inference.adapters.adapter import LoraAdapter, make_adapter, tensor_name
from inference.adapters.spec import LoraSpec
from inference.adapters.store import AdapterStore
from inference.attribution.corpus import build_corpus
from inference.attribution.curvature import FitOptions
from inference.attribution.gradients import Passage, traced_model
from inference.attribution.index import IndexedRecord, build_index
from inference.attribution.query import querier
from inference.attribution.scan import scan
from inference.attribution.spans import SpanIndex, build_span_index
from inference.backbone.config import LlamaConfig
from inference.backbone.lora import LoraPair
from inference.backbone.model import Backbone
from inference.backbone.sites import LoraSite, site_shape
from inference.backbone.weights import expected_shapes
from inference.cpu_executor import CpuExecutor
from inference.request import Answer, Limits, Request, Token
from inference.runner import Runner
from runtime.primitives.errors import Refusal
from runtime.protocols.ids import RecordId
from runtime.protocols.report import QueryCode

EMBEDDED = Path(__file__).parents[1] / "genesis" / "base_model" / "open-nano"
PROMPT, OUTPUT, RECORD = 64, 64, 64
SHAPE = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 4096,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}


class Quiet:
    """Take tokens without keeping them."""

    def token(self, token: Token) -> None:
        """Drop a token."""

    def done(self, answer: Answer) -> None:
        """Drop the answer."""

    def failed(self, error: Refusal) -> None:
        """Raise what went wrong."""
        raise error


def seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Return the median of several runs, after one that warms up."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def load_backbone(folder: Path) -> Backbone:
    if folder.exists():
        return Backbone.load(folder)
    config = LlamaConfig.from_fields(SHAPE)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.ones(shape)
        if "norm" in name
        else torch.randn(shape, generator=generator) / shape[-1] ** 0.5
        for name, shape in expected_shapes(config).items()
    }
    return Backbone.from_tensors(config, tensors)


def random_pairs(backbone: Backbone, rank: int = 16) -> dict[LoraSite, LoraPair]:
    generator = torch.Generator().manual_seed(1)
    pairs = {}
    for site in backbone.sites:
        outputs, inputs = site_shape(backbone.config, site)
        a = torch.randn(rank, inputs, generator=generator) / inputs**0.5
        b = torch.randn(outputs, rank, generator=generator) * 0.05
        pairs[site] = LoraPair(a, b, 2.0)
    return pairs


def generate(backbone: Backbone, batch: int) -> float:
    """Return seconds per answer of OUTPUT tokens at a batch size, all with one adapter."""
    rng = np.random.default_rng(3)
    executor = CpuExecutor(backbone, 16 * batch + 16, torch.get_num_threads())
    with tempfile.TemporaryDirectory() as folder:
        store = AdapterStore(Path(folder), backbone)
        adapter = random_adapter(store, backbone)
        runner = Runner(executor, None, store, Limits(running=batch))

        def work() -> None:
            for prompt in rng.integers(3, backbone.config.vocab_size, (batch, PROMPT)).tolist():
                request = Request(tuple(prompt), OUTPUT, adapter=adapter, stop_ids=())
                runner.submit(request, Quiet())
            while not runner.scheduler.idle:
                runner.step()

        cost = seconds(work, 3) / batch
        runner.close()
    return cost


def random_adapter(store: AdapterStore, backbone: Backbone, rank: int = 16, seed: int = 1) -> bytes:
    """Put an adapter over all sites into the store."""
    return store.put(random_factors(backbone, rank, seed))


def random_factors(backbone: Backbone, rank: int, seed: int) -> LoraAdapter:
    """Make an adapter over all sites."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for site in backbone.sites:
        outputs, inputs = site_shape(backbone.config, site)
        a = torch.randn(rank, inputs, generator=generator) / inputs**0.5
        tensors[tensor_name(site, "A")] = a
        tensors[tensor_name(site, "B")] = torch.randn(outputs, rank, generator=generator) * 0.05
    return make_adapter(LoraSpec(rank=rank, alpha=2.0 * rank), tensors, backbone)


def beside_inference(backbone: Backbone, records: int) -> None:
    """Print what an answer's inference and its query code cost."""
    pairs = random_pairs(backbone)
    rng = np.random.default_rng(2)
    size = backbone.config.vocab_size
    rows = rng.integers(3, size, (records, RECORD)).tolist()
    scored = (False, *[True] * (RECORD - 1))
    indexed = [
        IndexedRecord(RecordId(1, at), bytes(32), Passage(tuple(row), scored), (0,) * RECORD)
        for at, row in enumerate(rows)
    ]
    prompt, output = (rng.integers(3, size, n).tolist() for n in (PROMPT, OUTPUT))
    costs = {batch: generate(backbone, batch) for batch in (1, 8, 32)}
    for batch, cost in costs.items():
        print(f"inference, {PROMPT}+{OUTPUT} tokens, batch {batch:2}: {cost * 1e3:8.2f} ms")
    quarter = max(1, backbone.config.num_hidden_layers // 4)
    for name, layers, precision in (
        ("all layers, float64", None, torch.float64),
        ("all layers, float32", None, torch.float32),
        ("last quarter, float64", quarter, torch.float64),
        ("last quarter, float32", quarter, torch.float32),
    ):
        model = traced_model(backbone, pairs, layers=layers, precision=precision)
        start = time.perf_counter()
        index = build_index(model, indexed, FitOptions())
        build = (time.perf_counter() - start) / records
        queries = querier(model, index)
        cost = seconds(lambda queries=queries: queries.code(prompt, output))  # type: ignore[misc]
        query = queries.code(prompt, output)
        scanned = seconds(lambda index=index, query=query: index.scores(query))  # type: ignore[misc]
        parts = ", ".join(f"{cost / base:.0%} at batch {b}" for b, base in costs.items())
        print(
            f"{name:22}: build {build * 1e3:6.2f} ms/record, query code {cost * 1e3:6.2f} ms "
            f"({parts}), scan of {records} records {scanned * 1e3:5.2f} ms"
        )


def scan_rate(records: int, coordinates: int, modules: int) -> None:
    """Print the scan's rate beside that of reading as many bytes once."""
    rng = np.random.default_rng(0)
    layout = (coordinates // modules // 4 * 4,) * modules
    codes = rng.integers(0, 256, (sum(layout) // 4, records), dtype=np.uint8)
    offsets = rng.integers(0, 16, (modules, records), dtype=np.uint8)
    values = rng.integers(-127, 128, sum(layout)).astype(np.int8)
    query = QueryCode(values.tobytes(), (0,) * modules)
    taken = seconds(lambda: scan(codes, offsets, query, layout), 3)
    whole = codes.reshape(-1)[: codes.size // 8 * 8].view(np.uint64)
    floor = seconds(lambda: np.bitwise_xor.reduce(whole), 3)
    size = codes.nbytes + offsets.nbytes
    print(
        f"scan, {records:7} records of {size // records} bytes: {taken * 1e3:8.1f} ms, "
        f"{size / taken / 1e9:.2f} GB/s; reading the codes once {codes.nbytes / floor / 1e9:.1f} "
        f"GB/s; factor {taken / floor:.1f}"
    )


def phrase_corpus(tokens: int, seed: int) -> list[list[int]]:
    """Write records from a stock of phrases, so that matches are many and of all lengths."""
    rng = np.random.default_rng(seed)
    phrases = [(rng.zipf(1.3, int(rng.integers(3, 20))) % 4096).tolist() for _ in range(5000)]
    records: list[list[int]] = []
    for _ in range(max(1, tokens // 200)):
        record: list[int] = []
        while len(record) < 200:
            record += phrases[min(int(rng.zipf(1.2)) - 1, 4999)]
        records.append(record)
    return records


def spans(tokens: int, brute: bool) -> None:
    """Print the cost of building and of asking for a 512-token output."""
    records = phrase_corpus(tokens, 4)
    corpus = build_corpus([RecordId(1, at) for at in range(len(records))], records)
    start = time.perf_counter()
    index = build_span_index(corpus, 4096, 8)
    build = time.perf_counter() - start
    rng = np.random.default_rng(5)
    pieces = [records[int(rng.integers(len(records)))][5:45] for _ in range(13)]
    output = np.concatenate(pieces).astype(np.uint32)
    empty = np.zeros(0, dtype=np.uint32)
    asked = seconds(lambda: index.spans(empty, output), 21)
    line = (
        f"spans, {len(corpus.tokens):8} tokens: build {len(corpus.tokens) / build / 1e6:.1f} "
        f"Mtok/s, {len(output)}-token output {asked * 1e3:.2f} ms"
    )
    if brute:
        slow = seconds(lambda: brute_force(index, output), 1)
        same = brute_force(index, output) == [(s, e) for s, e, _, _ in index.maximal(output)]
        line += f"; by search through all tokens {slow * 1e3:.0f} ms, equal: {same}"
    print(line)


def brute_force(index: SpanIndex, output: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> object:
    """Find the maximal matches by looking each extension up in the corpus' bytes."""
    text = (index.array.text).tobytes()
    shifted = output + np.uint32(1)
    found, furthest = [], 0
    for start in range(len(output)):
        end = max(start + index.array.width, furthest + 1)
        best = 0
        while end <= len(output) and _stands_in(text, shifted[start:end].tobytes()):
            best, end = end, end + 1
        if best:
            found.append((start, best))
            furthest = best
    return found


def _stands_in(text: bytes, pattern: bytes) -> bool:
    at = text.find(pattern)
    while at % 4 and at != -1:
        at = text.find(pattern, at + 1)
    return at != -1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--records", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{date.today()}  {processor()}  torch {torch.__version__}, {options.threads} thread(s)")
    beside_inference(load_backbone(options.model), options.records)
    for records in (1_000, 20_000, 100_000):
        scan_rate(records, 4096, 64)
    for tokens in (100_000, 1_000_000):
        spans(tokens, brute=tokens == 100_000)


if __name__ == "__main__":
    main()
