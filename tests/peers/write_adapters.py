"""Write random PEFT adapters for a small base model, and what the merged models compute.

`write_adapters.py FOLDER`: for each base of BASES `FOLDER/<base>` (a checkpoint) and
`FOLDER/<base>-<adapter>` (as peft saves it); in `logits.npz` the ids and the logits of each base
model and each merged model.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from write_models import SHAPE, randomise

BASES = {
    "llama": ("Llama", {"tie_word_embeddings": False}),
    "qwen3": ("Qwen3", {"tie_word_embeddings": True, "head_dim": 16}),
}
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS: dict[str, dict[str, Any]] = {
    "two": {"r": 3, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"]},
    "mixed-ranks": {
        "r": 2,
        "lora_alpha": 5,
        "target_modules": EVERY,
        "rank_pattern": {"down_proj": 8, "layers.1.self_attn.q_proj": 1, "o_proj": 5},
        "alpha_pattern": {"up_proj": 9, "layers.2.mlp.down_proj": 3},
    },
    "rslora": {
        "r": 4,
        "lora_alpha": 3,
        "use_rslora": True,
        "target_modules": "all-linear",
        "alpha_pattern": {"k_proj": 2},
        "exclude_modules": ["v_proj"],
    },
    "one-layer": {
        "r": 8,
        "lora_alpha": 8,
        "target_modules": ["gate_proj", "down_proj", "o_proj"],
        "layers_to_transform": [1],
    },
    "regex": {"r": 3, "lora_alpha": 4, "target_modules": r".*layers\.(0|2)\..*(q|down)_proj"},
    "patterns": {
        "r": 2,
        "lora_alpha": 5,
        "target_modules": EVERY,
        "rank_pattern": {r"layers\.[01]\.self_attn\.(q|k)_proj": 5, ".*down.*": 7},
        "alpha_pattern": {r"model\.layers\.\d+\.mlp\.(gate|up)_proj": 9, "o_proj": 1},
        "exclude_modules": r".*layers\.2\.mlp.*",
    },
    "bfloat16": {"r": 6, "lora_alpha": 4, "target_modules": EVERY},
}
LENGTH = 80


def logits(model: Any, ids: torch.Tensor) -> np.ndarray[Any, Any]:
    """Compute the logits of a sequence."""
    with torch.no_grad():
        computed: np.ndarray[Any, Any] = model(ids[None]).logits[0].float().numpy()
    return computed


def loaded(folder: Path) -> Any:
    """Load a checkpoint in float32."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def write_adapter(base: Path, folder: Path, name: str) -> None:
    """Attach a random adapter to a base model and save it."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", **ADAPTERS[name])
    model = peft.get_peft_model(loaded(base), config)
    for parameter_name, parameter in model.named_parameters():
        if "lora_" in parameter_name:
            parameter.data = 0.2 * torch.randn(parameter.shape)
            if name == "bfloat16":
                parameter.data = parameter.data.to(torch.bfloat16)
    model.save_pretrained(folder)


def main() -> None:
    """Write every base model with every adapter."""
    out = Path(sys.argv[1])
    torch.manual_seed(5)
    torch.set_num_threads(1)
    ids = torch.randint(0, SHAPE["vocab_size"], (LENGTH,))
    arrays = {"ids": ids.numpy()}
    for base, (family, options) in BASES.items():
        config = getattr(transformers, f"{family}Config")(**SHAPE | options)
        model = getattr(transformers, f"{family}ForCausalLM")(config)
        randomise(model)
        model.save_pretrained(out / base)
        arrays[base] = logits(loaded(out / base), ids)
        for name in ADAPTERS:
            folder = out / f"{base}-{name}"
            write_adapter(out / base, folder, name)
            adapted = peft.PeftModel.from_pretrained(loaded(out / base), folder)
            arrays[folder.name] = logits(adapted.merge_and_unload(), ids)
    np.savez(out / "logits.npz", **arrays)


if __name__ == "__main__":
    main()
