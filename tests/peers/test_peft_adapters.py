"""Adapters that peft writes compute here what its merged model computes, and the other way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.adapters.adapter import LoraAdapter
from inference.adapters.peft import load_peft, save_peft
from inference.backbone.lora import LoraPairs
from inference.backbone.model import Backbone
from tests.peers.cached_logits import cached_logits
from tests.peers.conftest import Script
from tests.peers.environment import ROOT, transformers_python

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BASES = ("llama", "qwen3")
ADAPTERS = ("two", "mixed-ranks", "rslora", "one-layer", "regex", "patterns", "bfloat16")
SERVED = ("llama-two", "llama-mixed-ranks", "llama-rslora", "llama-patterns")
CLOSE = {"rtol": 1e-5, "atol": 1e-4}
"""Merged weights round otherwise than separate factors do; logits reach 7 and differ by 4e-5."""


@pytest.fixture(scope="module")
def written(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    script("write_adapters.py", folder)
    return folder


@pytest.fixture(scope="module")
def logits(written: Path) -> dict[str, Tensor]:
    with np.load(written / "logits.npz") as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def loaded(written: Path, base: str) -> tuple[Backbone, dict[str, LoraAdapter]]:
    backbone = Backbone.load(written / base)
    return backbone, {name: load_peft(written / f"{base}-{name}", backbone) for name in ADAPTERS}


@pytest.mark.parametrize("base", BASES)
def test_logits_are_those_of_each_merged_model(
    base: str, written: Path, logits: dict[str, Tensor]
) -> None:
    backbone, adapters = loaded(written, base)
    for name, adapter in adapters.items():
        with torch.no_grad():
            ours = backbone.forward(logits["ids"], adapter.pairs)
        torch.testing.assert_close(ours, logits[f"{base}-{name}"], **CLOSE)
        assert (ours - logits[base]).abs().max() > 0.5, name


@pytest.mark.parametrize("base", BASES)
def test_one_batch_of_all_adapters_gives_the_logits_of_every_merged_model(
    base: str, written: Path, logits: dict[str, Tensor]
) -> None:
    backbone, adapters = loaded(written, base)
    batch = [None, *adapters.values()]
    ours = cached_logits(backbone, batch, logits["ids"].tolist(), prompt=60)
    for name, rows in zip((base, *(f"{base}-{name}" for name in adapters)), ours, strict=True):
        torch.testing.assert_close(rows, logits[name], **CLOSE)


def test_adapters_written_here_load_in_peft_and_compute_the_same(
    script: Script, written: Path, logits: dict[str, Tensor], tmp_path: Path
) -> None:
    _, adapters = loaded(written, "llama")
    folders = []
    for name, adapter in adapters.items():
        save_peft(adapter, tmp_path / name, str(written / "llama"))
        folders.append(tmp_path / name)
    out = tmp_path / "theirs.npz"
    script("read_adapters.py", written / "llama", written / "logits.npz", out, *folders)
    with np.load(out) as theirs:
        for name in adapters:
            expected = logits[f"llama-{name}"]
            torch.testing.assert_close(torch.from_numpy(theirs[name]), expected, **CLOSE)


@pytest.fixture(scope="module")
def trace() -> list[dict[str, Any]]:
    random = np.random.default_rng(4)
    return [
        {
            "arrival": 0.02 * number,
            "adapter": (*SERVED, None)[number % 5],
            "prompt": random.integers(3, 300, int(random.integers(2, 30))).tolist(),
            "output": int(random.integers(1, 9)),
        }
        for number in range(12)
    ]


def continued(backbone: Backbone, pairs: LoraPairs | None, line: dict[str, Any]) -> list[int]:
    ids = list(line["prompt"])
    with torch.no_grad():
        for _ in range(line["output"]):
            ids.append(int(backbone.forward(torch.tensor(ids), pairs)[-1].argmax()))
    return ids[len(line["prompt"]) :]


@pytest.mark.parametrize("mode", ["mixed", "merged"])
def test_the_peer_answers_a_trace_with_the_greedy_tokens(
    mode: str, written: Path, trace: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "trace").write_text("".join(json.dumps(line) + "\n" for line in trace))
    options = ["--mode", mode, "--model", written / "llama", "--adapters", written, "--batch", 5]
    options += ["--trace", tmp_path / "trace", "--out", tmp_path / "out"]
    # Started by the project's own interpreter, it goes on in that of the environment.
    python = sys.executable if mode == "mixed" else transformers_python()
    command = [str(python), str(ROOT / "benches" / "peer_peft.py"), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out").read_text())
    backbone, adapters = loaded(written, "llama")
    pairs = {f"llama-{name}": adapter.pairs for name, adapter in adapters.items()}
    expected = [continued(backbone, pairs.get(line["adapter"]), line) for line in trace]
    assert [request["tokens"] for request in figures["requests"]] == expected
    for line, request in zip(trace, figures["requests"], strict=True):
        assert line["arrival"] < request["first_token"] <= request["finished"] <= figures["seconds"]
    assert figures["output_tokens"] == sum(line["output"] for line in trace)
    assert figures["merges"] == 0 if mode == "mixed" else figures["merges"] >= len(SERVED)
