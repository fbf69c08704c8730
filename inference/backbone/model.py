"""A loaded backbone: what every request, training run and attribution shares. Never mutated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inference.backbone.chat_template import ChatTemplate
from inference.backbone.config import LlamaConfig
from inference.backbone.decoder import Decoder, pack
from inference.backbone.forward import hidden_states
from inference.backbone.lora import LoraCapture, LoraPairs
from inference.backbone.sites import LoraSite, lora_sites
from inference.backbone.tokenizer import Tokenizer
from inference.backbone.weights import check_tensors, hash_tensors, load_tensors


@dataclass(frozen=True, slots=True)
class Backbone:
    """Weights on the CPU, configuration, tokenizer and content hash of a base model.

    Attributes:
        template: how the model wants a conversation written, if its folder says so.
    """

    config: LlamaConfig
    decoder: Decoder
    tokenizer: Tokenizer | None
    content_hash: bytes
    template: ChatTemplate | None = None

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> Backbone:
        """Load a Hugging Face folder (config.json, safetensors, tokenizer.json).

        Args:
            folder: holds the files.
            dtype: of the packed weights. Another than float32 saves memory where they only wait to
                be placed on a device; the content hash is the same.

        Raises:
            UnsupportedModel: with the reason that names what is missing or not implemented.
        """
        config = LlamaConfig.load(folder / "config.json")
        file = folder / "tokenizer.json"
        tokenizer = Tokenizer.load(file, config.eos_token_ids) if file.exists() else None
        template = ChatTemplate.load(folder)
        # The tensors stay in their mapped files until they are packed: no copy as wide as float32.
        tensors = load_tensors(folder, config, dtype=None)
        return cls._build(config, tensors, tokenizer, template, dtype)

    @classmethod
    def from_tensors(
        cls,
        config: LlamaConfig,
        tensors: Mapping[str, Tensor],
        tokenizer: Tokenizer | None = None,
        template: ChatTemplate | None = None,
    ) -> Backbone:
        """Build from tensors in memory under their Hugging Face names; raises UnsupportedModel."""
        return cls._build(config, check_tensors(tensors, config, dtype=None), tokenizer, template)

    @classmethod
    def _build(
        cls,
        config: LlamaConfig,
        tensors: Mapping[str, Tensor],
        tokenizer: Tokenizer | None,
        template: ChatTemplate | None,
        dtype: torch.dtype = torch.float32,
    ) -> Backbone:
        if tokenizer is not None:
            tokenizer.check_fits(config.vocab_size)
        content_hash = hash_tensors(config, tensors)
        return cls(config, pack(tensors, config, dtype), tokenizer, content_hash, template)

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
