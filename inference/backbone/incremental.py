"""The cached pass over a batch: any mixture of sequences, positions and adapters.

Everything that mixes rows of different requests is a product in fixed row tiles (`tiles.py`); all
else works row by row. Attention sees a length that depends on the query's position alone. So the
bits of a row depend on its own sequence only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu

from inference.backbone.attention import PagedAttention
from inference.backbone.batch import KvCache, Piece
from inference.backbone.decoder import Decoder, DecoderLayer, rms_norm
from inference.backbone.packed import GROUPS
from inference.backbone.plan import LoraGroup, Plan, make_plan
from inference.backbone.rope import rotate
from inference.backbone.tiles import RowTiles

QKV, OUT, GATE_UP, DOWN = range(len(GROUPS))


class IncrementalPass:
    """Runs steps of a decoder against a cache that the caller owns."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._tiles = RowTiles()
        self._attention = PagedAttention(decoder.config)

    @torch.inference_mode()
    def step(self, pieces: Sequence[Piece], cache: KvCache) -> Tensor:
        """Compute the pieces and extend the cache.

        Returns:
            float32 [wanted rows, vocabulary], in the order of the pieces and their tokens.
        """
        decoder = self._decoder
        epsilon = decoder.config.rms_norm_eps
        plan = make_plan(pieces, self._attention.query_sizes)
        tables = decoder.cos[plan.positions, None], decoder.sin[plan.positions, None]
        x = decoder.embedding[plan.ids]
        for number, layer in enumerate(decoder.layers):
            h = rms_norm(x, layer.attention_norm, epsilon)
            x = x + self._mix(number, layer, h, plan, tables, cache)
            h = rms_norm(x, layer.feed_norm, epsilon)
            gate, up = self._linear(h, layer.gate_up, number, GATE_UP, plan).chunk(2, dim=-1)
            inner = silu(gate.contiguous()) * up
            x = x + self._linear(inner, layer.down, number, DOWN, plan)
        wanted = sum(len(piece.tokens) - piece.logits_from for piece in pieces)
        if not wanted:
            return x.new_empty((0, decoder.config.vocab_size))
        hidden = rms_norm(x[plan.logit_rows], decoder.final_norm, epsilon)
        return self._tiles.product(hidden, decoder.head)[:wanted]

    def _mix(
        self,
        number: int,
        layer: DecoderLayer,
        h: Tensor,
        plan: Plan,
        tables: tuple[Tensor, Tensor],
        cache: KvCache,
    ) -> Tensor:
        config = self._decoder.config
        mixed = self._linear(h, layer.qkv, number, QKV, plan)
        if layer.qkv_bias is not None:
            mixed = mixed + layer.qkv_bias
        mixed = mixed.view(h.shape[0], -1, config.head_dim)
        keys_at = config.num_attention_heads
        values_at = keys_at + config.num_key_value_heads
        turned = rotate(mixed[:, :values_at], *tables)
        count = plan.count
        cache.write(number, plan.slots, turned[:count, keys_at:], mixed[:count, values_at:])
        seen = self._attention.attend(turned[:, :keys_at], plan, number, cache)
        return self._linear(seen, layer.out, number, OUT, plan)

    def _linear(self, x: Tensor, weight: Tensor, layer: int, group: int, plan: Plan) -> Tensor:
        out = self._tiles.product(x, weight)
        for lora in plan.lora:
            self._add_lora(out, x, layer, group, lora, plan.count)
        return out

    def _add_lora(
        self, out: Tensor, x: Tensor, layer: int, group: int, lora: LoraGroup, count: int
    ) -> None:
        packed = lora.adapter.layers[layer][group]
        if packed is None:
            return
        everyone = lora.count == count
        shrunk = self._tiles.product(x if everyone else x[lora.rows], packed.shrink)
        delta = self._tiles.product(shrunk * packed.scale, packed.expand)
        if everyone:
            out += delta
        else:
            out.index_add_(0, lora.rows[: lora.count], delta[: lora.count])
