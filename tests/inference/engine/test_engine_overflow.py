"""Adapters whose factors are finite, and what is computed with them is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import adapter_tensors, tiny_adapter

from inference.adapters.adapter import make_adapter
from inference.adapters.spec import LoraSpec
from inference.adapters.store import AdapterStore
from inference.backbone.model import Backbone
from inference.cpu_executor import CpuExecutor
from inference.engine import open_engine
from inference.request import Limits, Request, RequestReason, RequestRefused
from inference.sampling import SamplingParams

SAMPLINGS = (
    SamplingParams(temperature=0.0),
    SamplingParams(seed=1),
    SamplingParams(seed=2, top_p=0.9),
    SamplingParams(seed=3, min_p=0.05),
    SamplingParams(seed=4, top_k=5, top_p=0.5),
)


def overflowing(store: AdapterStore, backbone: Backbone) -> bytes:
    spec = LoraSpec(rank=4, alpha=8.0, targets=("q_proj", "v_proj", "down_proj"))
    tensors = adapter_tensors(backbone, spec, seed=3)
    huge = {name: torch.full_like(tensor, 3e38) for name, tensor in tensors.items()}
    return store.put(make_adapter(spec, huge, backbone))


@pytest.mark.parametrize("sampling", SAMPLINGS)
async def test_an_answer_that_overflows_fails_alone(
    backbone: Backbone, tmp_path: Path, sampling: SamplingParams
) -> None:
    store = AdapterStore(tmp_path, backbone)
    good = store.put(tiny_adapter(backbone, seed=5))
    bad = overflowing(store, backbone)
    limits = Limits(pages=16)
    prompt = tuple(range(1, 40))
    async with open_engine(
        CpuExecutor(backbone, limits.pages), backbone.tokenizer, store, limits
    ) as engine:
        alone = await engine.generate(Request(prompt, 20, adapter=good))
        for _ in range(3):
            with pytest.raises(RequestRefused) as caught:
                await engine.generate(Request(prompt, 20, sampling, adapter=bad, logprobs=3))
            assert caught.value.reason is RequestReason.ADAPTER_FAILED
        # The pages that it left behind are used again by others.
        for first in range(41, 90, 7):
            other = Request((first, *prompt), 4, adapter=good)
            assert (await engine.generate(other)).trace.fingerprint
        again = await engine.generate(Request(prompt, 20, adapter=good))
        assert again == alone
        assert engine.load == (0, 0)
