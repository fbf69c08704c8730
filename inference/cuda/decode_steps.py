"""Decode steps: one graph per bucket of rows and of lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from inference.cuda.chunks import Chunk
from inference.cuda.decoder_pass import ChunkRows, DecoderPass
from inference.cuda.gemm import FrozenProducts, covering
from inference.cuda.graphs import Graphs
from inference.cuda.lane import Lane
from inference.cuda.row_inputs import InputShape, RowInputs
from inference.cuda.shapes import StepShapes
from inference.cuda.weights import DeviceWeights
from inference.cuda.work_buffers import WorkBuffers
from inference.executor import Piece
from inference.kernels.attention import scratch_floats
from inference.kernels.cache_rows import PageLayout
from inference.kernels.lora_tiles import NARROW

SHORTEST = 512
"""Positions of the first bucket of lengths; each next one is four times as long."""
MOST_SCRATCH = 64 << 20
"""Float32 of attention's scratch; with less than a step needs, its rows take several launches."""


def length_buckets(most: int) -> tuple[int, ...]:
    """List bounds of lengths up to `most`."""
    bounds = []
    bound = SHORTEST
    while bound < most:
        bounds.append(bound)
        bound *= 4
    return (*bounds, most)


class DecodeSteps:
    """Runs output positions, up to `shapes.decode` rows of any sequences at a time."""

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
        most = config.max_position_embeddings
        heads, head_dim = config.num_attention_heads, config.head_dim
        one = scratch_floats(1, most, heads, head_dim)
        scratch = max(one, min(shapes.decode * one, MOST_SCRATCH))
        self._shapes = shapes
        self._decoder = decoder
        self._sizes = frozen.decode
        self._lengths = length_buckets(most)
        pages = -(-most // layout.positions)
        self._inputs = RowInputs(InputShape(shapes.decode, pages, NARROW), lane, device, None)
        self._buffers = WorkBuffers.allocate(
            shapes.decode, config, weights.embedding.dtype, device, scratch
        )
        self._steps: dict[tuple[int, int], Callable[[], None]] = {
            (rows, length): partial(decoder.layers, self._rows(rows, length))
            for rows in shapes.buckets
            for length in self._lengths
        }

    def capture(self, graphs: Graphs) -> None:
        """Make each step one launch; the inputs are pads meanwhile, so that nothing is written."""
        for key, step in self._steps.items():
            self._steps[key] = graphs.capture(step)

    def run(self, chunk: Chunk, pieces: Sequence[Piece]) -> tuple[ChunkRows, int]:
        """Run a chunk through the layers; returns its rows and how many have wanted logits."""
        loaded = self._inputs.load(chunk, pieces)
        bucket = self._shapes.bucket(loaded.rows)
        length = covering(self._lengths, loaded.longest)
        self._steps[bucket, length]()
        return self._rows(bucket, length), loaded.wanted

    def _rows(self, rows: int, length: int) -> ChunkRows:
        return ChunkRows(
            inputs=self._inputs,
            buffers=self._buffers,
            products=covering(self._sizes, rows),
            rows=rows,
            longest=length,
            lora=rows,
            tiles=0,
        )
