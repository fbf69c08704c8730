"""The decoder over one chunk: products, kernels and low-rank changes, in the order of the layers.

Each of the four products of a layer runs beside the shrink of its adapters, which reads the same
input; the expand then adds to the product's output, one rounding behind the product's own. The
norm that a half layer starts with also adds what the half layer before it left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.backbone.packed import GROUPS
from inference.backbone.sites import LoraSite, site_shape
from inference.cuda.gemm import Products
from inference.cuda.kernel_set import KernelSet
from inference.cuda.row_inputs import RowInputs
from inference.cuda.streams import Branches
from inference.cuda.weights import DeviceLayer, DeviceWeights
from inference.cuda.work_buffers import WorkBuffers
from inference.kernels.cache_rows import PageLayout

QKV, OUT, GATE_UP, DOWN = range(len(GROUPS))


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """The rows of one class of chunks and how many of them this chunk has.

    Attributes:
        inputs, buffers: where they are.
        products: rows of the base products.
        rows: rows of every other kernel.
        longest: no row sees more positions.
        lora: tiles of rows that share an adapter.
        tiles: runs that attend together; 0 lets every row attend on its own.
    """

    inputs: RowInputs
    buffers: WorkBuffers
    products: int
    rows: int
    longest: int
    lora: int
    tiles: int


class DecoderPass:
    """Computes chunks against pages and images that lie in one memory."""

    def __init__(
        self,
        weights: DeviceWeights,
        kernels: KernelSet,
        products: Products,
        branches: Branches,
        memory: Tensor,
        layout: PageLayout,
    ) -> None:
        self._weights = weights
        self._kernels = kernels
        self._products = products
        self._branches = branches
        self._memory = memory
        self._layout = layout
        self._widths = [
            tuple(site_shape(weights.config, LoraSite(0, module))[0] for module in modules)
            for modules in GROUPS
        ]

    def layers(self, chunk: ChunkRows, before: Callable[[int], None] | None = None) -> None:
        """Run every layer; the residual ends up in `x` and what is still to be added in `delta`.

        `before` is called ahead of each layer with its number.
        """
        config, kernels, work = self._weights.config, self._kernels, chunk.buffers
        rows = chunk.rows
        ids = chunk.inputs.ids[:rows]
        torch.index_select(self._weights.embedding, 0, ids, out=work.x[:rows])
        epsilon = config.rms_norm_eps
        for number, layer in enumerate(self._weights.layers):
            if before is not None:
                before(number)
            if number:
                kernels.add_rms_norm(
                    work.x[:rows], work.delta[:rows], layer.attention_norm, epsilon, work.h[:rows]
                )
            else:
                kernels.rms_norm(work.x[:rows], layer.attention_norm, epsilon, work.h[:rows])
            self._attention(number, layer, chunk)
            kernels.add_rms_norm(
                work.x[:rows], work.delta[:rows], layer.feed_norm, epsilon, work.h[:rows]
            )
            self._linear(number, GATE_UP, work.h, layer.gate_up, work.gate_up, chunk)
            kernels.silu_multiply(work.gate_up[:rows], work.inner[:rows])
            self._linear(number, DOWN, work.inner, layer.down, work.delta, chunk)

    def head(self, x: Tensor, delta: Tensor, hidden: Tensor, logits: Tensor) -> None:
        """Finish gathered rows: add, normalise into `hidden`, multiply into float32 `logits`."""
        epsilon = self._weights.config.rms_norm_eps
        self._kernels.add_rms_norm(x, delta, self._weights.final_norm, epsilon, hidden)
        self._products.multiply(hidden, self._weights.head, logits)

    def _attention(self, number: int, layer: DeviceLayer, chunk: ChunkRows) -> None:
        config, kernels, work = self._weights.config, self._kernels, chunk.buffers
        rows, at = chunk.rows, chunk.inputs.first(chunk.rows)
        self._linear(number, QKV, work.h, layer.qkv, work.qkv, chunk)
        norms = None
        if layer.q_norm is not None and layer.k_norm is not None:
            norms = layer.q_norm, layer.k_norm
        kernels.rotate_and_store(
            work.qkv[:rows],
            layer.qkv_bias,
            norms,
            config.rms_norm_eps,
            (self._weights.cos, self._weights.sin),
            at,
            number,
            self._memory,
            self._layout,
        )
        queries = work.qkv[:rows, : config.query_size]
        queries = queries.view(rows, config.num_attention_heads, config.head_dim)
        out = work.seen[:rows]
        if chunk.tiles:
            tiles = chunk.inputs.tiles[: chunk.tiles]
            kernels.attend_tiles(queries, self._memory, self._layout, number, at, tiles, out)
        else:
            kernels.attend_rows(
                queries, self._memory, self._layout, number, at, chunk.longest, work.scratch, out
            )
        self._linear(number, OUT, work.seen, layer.out, work.delta, chunk)

    def _linear(
        self, layer: int, group: int, x: Tensor, weight: Tensor, out: Tensor, chunk: ChunkRows
    ) -> None:
        kernels, rows, widths = self._kernels, chunk.rows, self._widths[group]
        entry = layer * len(GROUPS) + group
        tiles = chunk.inputs.lora(chunk.lora)
        sums = chunk.buffers.sums(group)
        with self._branches.beside():
            kernels.shrink(x[:rows], self._memory, tiles, entry, len(widths), sums)
        self._products.multiply(x[: chunk.products], weight, out[: chunk.products])
        self._branches.join()
        kernels.expand(sums, self._memory, tiles, entry, out[:rows], widths)
