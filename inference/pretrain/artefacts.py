"""Write what a trained model consists of: weights, configuration, tokenizer, figures, curve."""

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from inference.pretrain.card import HeldOut, Report, model_card
from inference.pretrain.curve import draw_losses
from inference.pretrain.decoder import Decoder, DecoderConfig
from inference.pretrain.text import (
    BOS,
    BOS_ID,
    EOS,
    EOS_ID,
    PAD,
    PAD_ID,
    Split,
    encode_stream,
    held_out_windows,
)
from inference.pretrain.train import Trainer

SLICE_CHARACTERS = 24_000  # of held-out text, kept beside the model so that its loss can be checked


def hugging_face_config(config: DecoderConfig) -> dict[str, object]:
    """Return the content of `config.json`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **asdict(config),
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "pad_token_id": PAD_ID,
        "torch_dtype": "bfloat16",
        "use_cache": True,
    }


@torch.no_grad()
def measure(model: Decoder, tokenizer: Tokenizer, documents: tuple[str, ...]) -> HeldOut:
    """Return the loss over documents in full windows, float32 throughout."""
    stream = encode_stream(tokenizer, documents)
    total, tokens, size = 0.0, 0, 0
    for inputs, targets in held_out_windows(stream, model.config.max_position_embeddings, 8):
        logits = model(inputs).flatten(0, 1)
        total += torch.nn.functional.cross_entropy(
            logits, targets.flatten(), reduction="sum"
        ).item()
        tokens += targets.numel()
        size += len(tokenizer.decode(targets.flatten().tolist()).encode())
    return HeldOut(tokens, size, total / tokens, total / size / math.log(2))


def export(
    trainer: Trainer, tokenizer: Tokenizer, split: Split, corpus: Path, folder: Path
) -> Report:
    """Write the model's folder; weights are rounded to bfloat16, which float32 holds exactly."""
    folder.mkdir(parents=True, exist_ok=True)
    rounded = {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in trainer.model.state_dict().items()
    }
    weights = folder / "model.safetensors"
    save_file(rounded, weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    (folder / "config.json").write_text(
        json.dumps(hugging_face_config(trainer.model.config), indent=2) + "\n"
    )
    _write_tokenizer(tokenizer, folder, trainer.model.config.max_position_embeddings)
    piece = max(split.held_out, key=len)[:SLICE_CHARACTERS]
    (folder / "held-out.txt").write_text(piece, encoding="utf-8")

    stored = Decoder(trainer.model.config)
    stored.load_state_dict({name: tensor.float() for name, tensor in rounded.items()})
    recipe = trainer.recipe
    report = Report(
        parameters=sum(p.numel() for p in stored.parameters()),
        steps=trainer.step,
        tokens_seen=trainer.step * recipe.rows * recipe.context,
        corpus_tokens=trainer.corpus_tokens,
        weights_bytes=weights.stat().st_size,
        whole=measure(stored, tokenizer, split.held_out),
        slice=measure(stored, tokenizer, (piece,)),
    )
    history = asdict(trainer.history)
    record = {
        **asdict(report),
        "recipe": asdict(recipe),
        "history": history,
        "torch": torch.__version__,
        "corpus_sha256": hashlib.sha256(corpus.read_bytes()).hexdigest(),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    (folder / "training.json").write_text(json.dumps(record) + "\n")
    draw_losses(history["train"], history["held_out"], folder / "loss.svg")
    (folder / "MODEL_CARD.md").write_text(
        model_card(folder.name, trainer.model.config, recipe, report, history), encoding="utf-8"
    )
    return report


def _write_tokenizer(tokenizer: Tokenizer, folder: Path, context: int) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
