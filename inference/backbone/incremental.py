"""The cached pass over a batch: any mixture of sequences, positions and adapters.

Everything that mixes rows of different requests is a product in numbers of rows that were found to
agree (`tiles.py`, `chain.py`); all else works row by row. Attention sees a length that depends on
the query's position alone. So the bits of a row depend on its own sequence only.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu

from inference.backbone.attention import PagedAttention
from inference.backbone.batch import PagedCache
from inference.backbone.decoder import Decoder, DecoderLayer, rms_norm
from inference.backbone.lora_batch import LoraBatch
from inference.backbone.lora_work import LoraWork
from inference.backbone.packed import GROUPS
from inference.backbone.plan import Plan, make_plan
from inference.backbone.rope import rotate
from inference.backbone.tiles import RowTiles
from inference.executor import Piece

QKV, OUT, GATE_UP, DOWN = range(len(GROUPS))


class IncrementalPass:
    """Runs steps of a decoder over uint8 memory that holds cache pages and adapter images."""

    def __init__(self, decoder: Decoder, memory: Tensor) -> None:
        self._decoder = decoder
        self._tiles = RowTiles()
        self._attention = PagedAttention(decoder.config)
        self._cache = PagedCache(decoder.config, memory)
        self._lora = LoraBatch(decoder.config, memory)
        self._under_way = 0

    def parts(self, pieces: Sequence[Piece]) -> Generator[None, None, tuple[Tensor, Tensor]]:
        """Compute the pieces and extend the cache, yielding behind every layer.

        Other pieces may be computed meanwhile.

        Returns:
            logits float32 [wanted rows, vocabulary] and normalised last hidden states float32
            [wanted rows, hidden size], in the order of the pieces and their tokens.
        """
        self._under_way += 1
        try:
            return (yield from self._layers(pieces))
        finally:
            self._under_way -= 1

    @torch.inference_mode()
    def _layers(self, pieces: Sequence[Piece]) -> Generator[None, None, tuple[Tensor, Tensor]]:
        decoder = self._decoder
        epsilon = decoder.config.rms_norm_eps
        order = self._lora.order(pieces)
        plan = make_plan(pieces, order, self._cache, self._attention.query_sizes)
        # The stacks are those of the step that is interrupted.
        stacked = self._under_way == 1
        lora = self._lora.plan([pieces[index] for index in order], stacked=stacked)
        for page in plan.fresh:
            self._cache.clear(page)
        tables = decoder.cos[plan.positions, None], decoder.sin[plan.positions, None]
        x = decoder.embedding[plan.ids]
        for number, layer in enumerate(decoder.layers):
            h = rms_norm(x, layer.attention_norm, epsilon)
            x = x + self._mix(number, layer, h, plan, lora, tables)
            h = rms_norm(x, layer.feed_norm, epsilon)
            both = self._linear(h, layer.gate_up, number, GATE_UP, lora)
            gate, up = both.chunk(2, dim=-1)
            inner = silu(gate.contiguous()) * up
            x = x + self._linear(inner, layer.down, number, DOWN, lora)
            yield
        wanted = sum(len(piece.tokens) - piece.logits_from for piece in pieces)
        if not wanted:
            return x.new_empty((0, decoder.config.vocab_size)), x[:0]
        hidden = rms_norm(x[plan.logit_rows], decoder.final_norm, epsilon)
        return self._tiles.product(hidden, decoder.head)[:wanted], hidden[:wanted]

    def _mix(
        self,
        number: int,
        layer: DecoderLayer,
        h: Tensor,
        plan: Plan,
        lora: Sequence[LoraWork],
        tables: tuple[Tensor, Tensor],
    ) -> Tensor:
        config = self._decoder.config
        mixed = self._linear(h, layer.qkv, number, QKV, lora)
        if layer.qkv_bias is not None:
            mixed = mixed + layer.qkv_bias
        mixed = mixed.view(h.shape[0], -1, config.head_dim)
        keys_at = config.num_attention_heads
        values_at = keys_at + config.num_key_value_heads
        turned = rotate(self._normed(mixed[:, :values_at], layer, keys_at), *tables)
        count = plan.count
        keys, values = turned[:count, keys_at:], mixed[:count, values_at:]
        self._cache.write(plan.targets[number], keys, values)
        seen = self._attention.attend(turned[:, :keys_at], plan, number, self._cache)
        return self._linear(seen, layer.out, number, OUT, lora)

    def _normed(self, heads: Tensor, layer: DecoderLayer, keys_at: int) -> Tensor:
        if layer.q_norm is None or layer.k_norm is None:
            return heads
        epsilon = self._decoder.config.rms_norm_eps
        queries = rms_norm(heads[:, :keys_at], layer.q_norm, epsilon)
        return torch.cat((queries, rms_norm(heads[:, keys_at:], layer.k_norm, epsilon)), dim=1)

    def _linear(
        self, x: Tensor, weight: Tensor, layer: int, group: int, lora: Sequence[LoraWork]
    ) -> Tensor:
        out = self._tiles.product(x, weight)
        for work in lora:
            work.add(out, x, layer * len(GROUPS) + group)
        return out
