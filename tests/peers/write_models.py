"""Write small random checkpoints and what transformers computes with them.

`write_models.py FOLDER`: one folder per case of CASES, and `logits.npz` with the ids and the logits
of each case. Runs in the environment of `environment.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

SHAPE: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.5}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": True}),
    "llama-untied": ("Llama", {"tie_word_embeddings": False, "head_dim": 10}),
    "llama-rope-llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "llama-rope-linear": ("Llama", {"rope_parameters": LINEAR}),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 12}),
    "mistral-window": ("Mistral", {"sliding_window": 256}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True, "eos_token_id": None}),
    "qwen2-untied": ("Qwen2", {"tie_word_embeddings": False}),
    "qwen3": ("Qwen3", {"tie_word_embeddings": True, "head_dim": 16}),
    "qwen3-untied": ("Qwen3", {"tie_word_embeddings": False, "head_dim": 8}),
}
NARROW = ("llama-untied", "qwen3")
"""Cases that are also written as bfloat16, in shards."""

POSITIONS = 150


def randomise(model: torch.nn.Module) -> None:
    """Fill all weights, norms and biases included, with visible values."""
    for name, parameter in model.named_parameters():
        centre = 1.0 if "norm" in name else 0.0
        parameter.data = centre + 0.2 * torch.randn(parameter.shape)


def logits_of(folder: Path, ids: torch.Tensor) -> np.ndarray[Any, Any]:
    """Load a folder as a user of transformers does, in float32."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        computed: np.ndarray[Any, Any] = model(ids[None]).logits[0].numpy()
    return computed


def main() -> None:
    """Write every case."""
    out = Path(sys.argv[1])
    torch.manual_seed(3)
    torch.set_num_threads(1)
    ids = torch.randint(0, SHAPE["vocab_size"], (POSITIONS,))
    arrays = {"ids": ids.numpy()}
    for name, (family, options) in CASES.items():
        config = getattr(transformers, f"{family}Config")(**SHAPE | options)
        model = getattr(transformers, f"{family}ForCausalLM")(config)
        randomise(model)
        model.save_pretrained(out / name)
        if options.get("eos_token_id", 2) is None:
            (out / name / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
        arrays[name] = logits_of(out / name, ids)
        if name in NARROW:
            narrow = f"{name}-bf16"
            model.to(torch.bfloat16).save_pretrained(out / narrow, max_shard_size="50KB")
            arrays[narrow] = logits_of(out / narrow, ids)
    np.savez(out / "logits.npz", **arrays)


if __name__ == "__main__":
    main()
