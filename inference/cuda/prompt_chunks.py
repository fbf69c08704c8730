"""Chunks of prompts: products of one frozen number of rows, attention in tiles of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inference.cuda.chunks import Chunk
from inference.cuda.decoder_pass import ChunkRows, DecoderPass
from inference.cuda.gemm import FrozenProducts, covering
from inference.cuda.lane import Lane
from inference.cuda.row_inputs import InputShape, RowInputs
from inference.cuda.shapes import StepShapes
from inference.cuda.weights import DeviceWeights
from inference.cuda.work_buffers import WorkBuffers
from inference.executor import Piece
from inference.kernels.attention import cut_tiles
from inference.kernels.cache_rows import PageLayout
from inference.kernels.lora_tiles import WIDE


class PromptChunks:
    """Runs prompt positions, many at a time; every launch is made anew."""

    def __init__(
        self,
        shapes: StepShapes,
        decoder: DecoderPass,
        weights: DeviceWeights,
        layout: PageLayout,
        lane: Lane,
        frozen: FrozenProducts,
    ) -> None:
        config, device = weights.config, weights.embedding.device
        heads = config.num_attention_heads
        pages = -(-config.max_position_embeddings // layout.positions)
        self._decoder = decoder
        self._sizes = frozen.prompt
        self._inputs = RowInputs(
            InputShape(shapes.prompt, pages, WIDE),
            lane,
            device,
            lambda runs: cut_tiles(runs, layout, heads),
        )
        self._buffers = WorkBuffers.allocate(
            shapes.prompt, config, weights.embedding.dtype, device, scratch=0
        )

    def run(
        self, chunk: Chunk, pieces: Sequence[Piece], before: Callable[[int], None] | None
    ) -> tuple[ChunkRows, int]:
        """Run a chunk through the layers; returns its rows and how many have wanted logits."""
        loaded = self._inputs.load(chunk, pieces)
        rows = ChunkRows(
            inputs=self._inputs,
            buffers=self._buffers,
            products=covering(self._sizes, loaded.rows),
            rows=loaded.rows,
            longest=loaded.longest,
            lora=loaded.lora,
            tiles=loaded.tiles,
        )
        self._decoder.layers(rows, before)
        return rows, loaded.wanted
