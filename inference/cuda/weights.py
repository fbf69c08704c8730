"""A decoder's weights on a device, each matrix as `[outputs, inputs]`.

The matrices that one input feeds stay one product (`q|k|v`, `gate|up`), as in `backbone.decoder`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.backbone.config import LlamaConfig
from inference.backbone.decoder import Decoder, DecoderLayer
from inference.backbone.rope import rope_tables


@dataclass(frozen=True, slots=True)
class DeviceLayer:
    """One layer; matrices are [outputs, inputs], norms and biases vectors, all of one dtype."""

    attention_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    feed_norm: Tensor
    gate_up: Tensor
    down: Tensor
    q_norm: Tensor | None = None
    k_norm: Tensor | None = None

    @property
    def matrices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """List the matrices in the order of `backbone.packed.GROUPS`."""
        return self.qkv, self.out, self.gate_up, self.down


@dataclass(frozen=True, slots=True)
class DeviceWeights:
    """All weights of a model on one device; rotary tables are float32 [positions, head_dim]."""

    config: LlamaConfig
    embedding: Tensor
    layers: tuple[DeviceLayer, ...]
    final_norm: Tensor
    head: Tensor
    cos: Tensor
    sin: Tensor

    @classmethod
    def place(cls, decoder: Decoder, device: torch.device, dtype: torch.dtype) -> DeviceWeights:
        """Copy a decoder to a device, one rounding of each weight to `dtype`."""

        def vector(tensor: Tensor) -> Tensor:
            return tensor.to(dtype).to(device)

        def matrix(tensor: Tensor) -> Tensor:
            return tensor.to(dtype).to(device).t().contiguous()

        embedding = vector(decoder.embedding)
        tied = decoder.config.tie_word_embeddings
        return cls(
            config=decoder.config,
            embedding=embedding,
            layers=tuple(_layer(layer, vector, matrix) for layer in decoder.layers),
            final_norm=vector(decoder.final_norm),
            head=embedding if tied else matrix(decoder.head),
            cos=decoder.cos.to(device),
            sin=decoder.sin.to(device),
        )

    @classmethod
    def random(
        cls, config: LlamaConfig, device: torch.device, dtype: torch.dtype, seed: int = 0
    ) -> DeviceWeights:
        """Draw weights on the device itself, for measurements of shapes too large to ship."""
        generator = torch.Generator(device).manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            drawn = torch.randn(shape, generator=generator, device=device, dtype=dtype)
            return drawn.mul_(shape[-1] ** -0.5)

        def ones() -> Tensor:
            return torch.ones(config.hidden_size, device=device, dtype=dtype)

        hidden, inner = config.hidden_size, config.intermediate_size
        wide = config.query_size + 2 * config.key_value_size
        layers = tuple(
            DeviceLayer(
                attention_norm=ones(),
                qkv=normal(wide, hidden),
                qkv_bias=normal(wide) if config.attention_bias else None,
                out=normal(hidden, config.query_size),
                feed_norm=ones(),
                gate_up=normal(2 * inner, hidden),
                down=normal(hidden, inner),
            )
            for _ in range(config.num_hidden_layers)
        )
        embedding = normal(config.vocab_size, hidden)
        head = embedding if config.tie_word_embeddings else normal(config.vocab_size, hidden)
        cos, sin = rope_tables(config)
        return cls(config, embedding, layers, ones(), head, cos.to(device), sin.to(device))

    @property
    def step_bytes(self) -> int:
        """Bytes that one decode step has to read: every matrix and the head, once."""
        return sum(t.numel() * t.element_size() for t in (*self._matrices(), self.head))

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """What they are."""
        return self.embedding.dtype

    def by_shape(self) -> dict[str, tuple[Tensor, torch.dtype]]:
        """Give one matrix of each shape by name, with the dtype of its products."""
        first, dtype = self.layers[0], self.dtype
        return {
            "q|k|v": (first.qkv, dtype),
            "o": (first.out, dtype),
            "gate|up": (first.gate_up, dtype),
            "down": (first.down, dtype),
        }

    def _matrices(self) -> Iterator[Tensor]:
        for layer in self.layers:
            yield from layer.matrices


def _layer(
    layer: DecoderLayer,
    vector: Callable[[Tensor], Tensor],
    matrix: Callable[[Tensor], Tensor],
) -> DeviceLayer:
    return DeviceLayer(
        attention_norm=vector(layer.attention_norm),
        qkv=matrix(layer.qkv),
        qkv_bias=None if layer.qkv_bias is None else vector(layer.qkv_bias),
        out=matrix(layer.out),
        feed_norm=vector(layer.feed_norm),
        gate_up=matrix(layer.gate_up),
        down=matrix(layer.down),
        q_norm=None if layer.q_norm is None else vector(layer.q_norm),
        k_norm=None if layer.k_norm is None else vector(layer.k_norm),
    )
