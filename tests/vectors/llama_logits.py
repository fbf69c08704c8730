"""Write llama_logits.json: small random models and adapters, with transformers' and peft's logits.

Run in an environment that has both: `python tests/vectors/llama_logits.py`. The weights are random,
from a fixed seed; the file holds no model of anybody.
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

IDS = [1, 17, 39, 5, 5, 22, 0, 31, 8, 8, 12, 30]
SHAPE = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}
CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("llama", transformers.LlamaConfig, {"tie_word_embeddings": True, "rope_theta": 500.0}),
    ("llama untied", transformers.LlamaConfig, {"tie_word_embeddings": False, "head_dim": 6}),
    ("mistral", transformers.MistralConfig, {"sliding_window": None}),
    ("qwen2", transformers.Qwen2Config, {"tie_word_embeddings": True}),
]
ADAPTERS: list[dict[str, Any]] = [
    {"r": 3, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"]},
    {
        "r": 2,
        "lora_alpha": 5,
        "use_rslora": True,
        "target_modules": [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ],
        "rank_pattern": {"down_proj": 4, "layers.1.self_attn.q_proj": 1},
        "alpha_pattern": {"up_proj": 9},
        "exclude_modules": ["k_proj"],
    },
]


def packed(tensor: torch.Tensor) -> dict[str, Any]:
    """Give a float32 tensor as its shape and base64 of its little-endian bytes."""
    data = tensor.detach().to(torch.float32).contiguous().numpy().astype("<f4").tobytes()
    return {"shape": list(tensor.shape), "data": base64.b64encode(data).decode()}


def randomise(model: torch.nn.Module) -> None:
    """Fill all weights, norms and biases included, with visible values."""
    for name, parameter in model.named_parameters():
        centre = 1.0 if "norm" in name else 0.0
        parameter.data = centre + 0.25 * torch.randn(parameter.shape)


def adapted(model: Any, options: dict[str, Any], ids: torch.Tensor) -> dict[str, Any]:
    """Attach a random adapter, save it and compute its logits."""
    wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data = 0.4 * torch.randn(parameter.shape)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        wrapped.save_pretrained(folder)
        config = json.loads((Path(folder) / "adapter_config.json").read_text())
        file = (Path(folder) / "adapter_model.safetensors").read_bytes()
        logits = wrapped(ids).logits[0]
    wrapped.unload()
    return {
        "config": config,
        "safetensors": base64.b64encode(file).decode(),
        "logits": packed(logits),
    }


def main() -> None:
    """Compute every case and write the file."""
    torch.manual_seed(0)
    ids = torch.tensor([IDS])
    cases = []
    for name, kind, options in CASES:
        model = transformers.AutoModelForCausalLM.from_config(kind(**SHAPE | options)).eval()
        randomise(model)
        tensors = {key: packed(value) for key, value in model.state_dict().items()}
        config = model.config.to_dict() | {"architectures": [type(model).__name__]}
        with torch.no_grad():
            logits = packed(model(ids).logits[0])
        adapters = [adapted(model, each, ids) for each in ADAPTERS]
        cases.append(
            {
                "name": name,
                "config": config,
                "tensors": tensors,
                "logits": logits,
                "adapters": adapters,
            }
        )
    made_with = {
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "torch": torch.__version__,
        "script": "tests/vectors/llama_logits.py",
    }
    text = json.dumps({"made_with": made_with, "ids": IDS, "cases": cases}, sort_keys=True)
    Path(__file__).with_suffix(".json").write_text(text + "\n")


if __name__ == "__main__":
    main()
