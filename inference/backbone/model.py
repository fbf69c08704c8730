"""A loaded backbone: what every request, training run and attribution shares. Never mutated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from inference.backbone.config import LlamaConfig
from inference.backbone.decoder import Decoder, pack
from inference.backbone.forward import hidden_states
from inference.backbone.lora import LoraCapture, LoraPairs
from inference.backbone.sites import LoraSite, lora_sites
from inference.backbone.tokenizer import Tokenizer
from inference.backbone.weights import check_tensors, load_tensors

TAG = b"openledger-backbone-v1"


@dataclass(frozen=True, slots=True)
class Backbone:
    """Weights (float32, CPU), configuration, tokenizer and content hash of a base model."""

    config: LlamaConfig
    decoder: Decoder
    tokenizer: Tokenizer | None
    content_hash: bytes

    @classmethod
    def load(cls, folder: Path) -> Backbone:
        """Load a Hugging Face folder (config.json, safetensors, tokenizer.json).

        Raises:
            UnsupportedModel: with the reason that names what is missing or not implemented.
        """
        config = LlamaConfig.load(folder / "config.json")
        tensors = load_tensors(folder, config)
        file = folder / "tokenizer.json"
        tokenizer = Tokenizer.load(file, config.eos_token_ids) if file.exists() else None
        return cls.from_tensors(config, tensors, tokenizer)

    @classmethod
    def from_tensors(
        cls, config: LlamaConfig, tensors: Mapping[str, Tensor], tokenizer: Tokenizer | None = None
    ) -> Backbone:
        """Build from tensors in memory under their Hugging Face names; raises UnsupportedModel."""
        checked = check_tensors(tensors, config)
        return cls(config, pack(checked, config), tokenizer, _content_hash(config, checked))

    @property
    def sites(self) -> tuple[LoraSite, ...]:
        """List the linear layers that adapters may change, in canonical order."""
        return lora_sites(self.config)

    def forward(
        self, ids: Tensor, pairs: LoraPairs | None = None, capture: LoraCapture | None = None
    ) -> Tensor:
        """Compute the logits of whole sequences.

        Args:
            ids: int64 [length] or [batch, length]; pad on the right with any id.
            pairs: the adapter's factors (`LoraAdapter.pairs`), with gradients where they require.
            capture: collects inputs and output gradients of every factor.

        Returns:
            float32 [length, vocabulary] or [batch, length, vocabulary].
        """
        rows = ids if ids.dim() == 2 else ids[None]
        hidden = hidden_states(self.decoder, rows, pairs, capture)
        logits = hidden @ self.decoder.head
        return logits if ids.dim() == 2 else logits[0]

    def hidden(
        self, ids: Tensor, pairs: LoraPairs | None = None, capture: LoraCapture | None = None
    ) -> Tensor:
        """Compute the normalised last hidden states, float32 [batch, length, hidden]."""
        return hidden_states(self.decoder, ids, pairs, capture)

    def head(self, hidden: Tensor) -> Tensor:
        """Compute logits of chosen hidden states, float32 [..., vocabulary]."""
        return hidden @ self.decoder.head


def _content_hash(config: LlamaConfig, tensors: Mapping[str, Tensor]) -> bytes:
    """Hash what is computed: configuration, then each tensor's name, shape and float32 bytes."""
    digest = hashlib.blake2b(TAG, digest_size=32)
    digest.update(json.dumps(asdict(config), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, list(tensor.shape)]).encode())
        digest.update(tensor.to(torch.float32).contiguous().numpy().tobytes())
    return digest.digest()
