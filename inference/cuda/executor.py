"""The executor of a device: one memory for pages and images, frozen shapes, graphs for decoding.

Prompt positions run in chunks of `StepShapes.prompt` rows, output positions in decode steps of
`StepShapes.decode` rows, whichever way they come. A decode step is one graph per bucket of rows and
of lengths and one for the head, captured at the start. On a CPU the same code runs the kernels'
twins without graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from inference.adapters.image_layout import Packing
from inference.adapters.packed_image import PackedImage
from inference.arena import CacheShape, Extent, Move
from inference.cuda.chunks import Chunk, chunks_of
from inference.cuda.decode_steps import DecodeSteps
from inference.cuda.decoder_pass import DecoderPass
from inference.cuda.gemm import FrozenProducts, Products, freeze
from inference.cuda.graphs import Graphs
from inference.cuda.head import Collected, Head
from inference.cuda.identity import DeviceIdentity, identify
from inference.cuda.kernel_set import KernelSet
from inference.cuda.lane import lane
from inference.cuda.memory import DeviceMemory
from inference.cuda.outputs import DeviceRows
from inference.cuda.pinned import PinnedHost, PinnedRing
from inference.cuda.prompt_chunks import PromptChunks
from inference.cuda.shapes import StepShapes
from inference.cuda.streams import branches
from inference.cuda.transfers import ImageUpload, Transfers
from inference.cuda.weights import DeviceWeights
from inference.executor import Piece


class DeviceExecutor:
    """Runs steps on one device; also takes adapters into its memory. For one thread.

    Args:
        weights: on the device, in the dtype of the cache and of adapters.
        memory: pages and images.
        kernels: of this device.
        products: of this device.
        shapes: frozen numbers of rows.
        graphs: off, every launch is made anew: for comparisons.
        host_bytes: of pinned memory for images that wait in the host.

    Raises GemmRefused where the device's products cannot be repeated bit for bit.
    """

    def __init__(
        self,
        weights: DeviceWeights,
        memory: DeviceMemory,
        kernels: KernelSet,
        products: Products,
        shapes: StepShapes | None = None,
        graphs: bool = True,
        host_bytes: int = 0,
    ) -> None:
        shapes = shapes or StepShapes()
        device = weights.device
        with torch.no_grad(), _current(device):
            self.frozen: FrozenProducts = freeze(
                products,
                weights.by_shape(),
                {"head": (weights.head, torch.float32)},
                shapes.decode,
                shapes.prompt,
            )
        shapes = replace(shapes, prompt=self.frozen.prompt[-1])
        self.config = weights.config
        self._step_bytes = weights.step_bytes
        self._kernels = kernels
        self._shapes = shapes
        self._place = device
        self._cache_shape, self._pages = memory.shape, memory.pages
        self._packing = memory.packing
        self._identity = identify(device, weights.dtype, self.frozen.digest)
        self._lane = lane(device)
        decoder = DecoderPass(
            weights, kernels, products, branches(device), memory.bytes, memory.layout
        )
        parts = decoder, weights, memory.layout, self._lane, self.frozen
        self._prompts = PromptChunks(shapes, *parts)
        self._decodes = DecodeSteps(shapes, *parts)
        self._head = Head(shapes.decode, weights, decoder, kernels)
        self._transfers = Transfers(memory.bytes, self._lane, PinnedRing(device))
        self._host = PinnedHost(device, host_bytes)
        self._host_bytes = host_bytes
        self._closed = False
        with torch.inference_mode(), _current(device):
            captured = Graphs(device, graphs)
            self._decodes.capture(captured)
            self._head.capture(captured)

    @property
    def shape(self) -> CacheShape:
        """What one page of the cache holds."""
        return self._cache_shape

    @property
    def pages(self) -> int:
        """Pages of memory, for cache and adapters together."""
        return self._pages

    @property
    def device(self) -> DeviceExecutor:
        """Takes adapter images into the same memory."""
        return self

    @property
    def host_bytes(self) -> int:
        """Of pinned memory, for images that wait in the host."""
        return self._host_bytes

    @property
    def packing(self) -> Packing:
        """How the device wants the factors."""
        return self._packing

    @property
    def identity(self) -> DeviceIdentity:
        """What the bits of an answer depend on beside the model and the request."""
        return self._identity

    @property
    def step_bytes(self) -> int:
        """Bytes of weights that every decode step has to read."""
        return self._step_bytes

    def host_buffer(self, size: int) -> Tensor:
        """Lend uint8 [size] for an image in the host, pinned while there is room."""
        return self._host(size)

    def upload(self, image: PackedImage, extent: Extent) -> ImageUpload:
        """Start to copy an image into an extent of its size; return at once."""
        with _current(self._place):
            return self._transfers.upload(image, extent)

    def move(self, move: Move) -> None:
        """Copy within the memory, in order with steps, uploads and other moves."""
        with _current(self._place):
            self._transfers.move(move)

    def close(self) -> None:
        """Wait for what is under way, end the thread of the transfers and let go of all memory.

        Graphs are in cycles: what they hold is free after the next full collection.
        """
        if self._closed:
            return
        self._closed = True
        with _current(self._place):
            self._transfers.close()
        del self._prompts, self._decodes, self._head, self._transfers, self._host

    @torch.inference_mode()
    def step(self, pieces: Sequence[Piece]) -> DeviceRows:
        """Compute the pieces, each of another sequence, and extend the cache."""
        firsts, total = [], 0
        for piece in pieces:
            firsts.append(total)
            total += len(piece.tokens) - piece.logits_from
        collected = self._head.begin(total)
        order: list[int] = []
        with _current(self._place):
            for chunk in chunks_of(pieces, self._shapes.prompt, self._shapes.decode):
                self._chunk(chunk, pieces, collected)
                order.extend(_numbers(chunk, pieces, firsts))
        return collected.rows(order, self._kernels)

    def parts(self, pieces: Sequence[Piece]) -> Generator[None, None, DeviceRows]:
        """Do the same; a graph that is launched is not interrupted."""
        return self.step(pieces)
        yield

    def _chunk(self, chunk: Chunk, pieces: Sequence[Piece], collected: Collected) -> None:
        chosen = (pieces[span.piece].adapter for span in chunk.spans)
        starts = {adapter.extent.start for adapter in chosen if adapter is not None}
        arriving = self._transfers.arriving(sorted(starts))
        if chunk.prompt:
            before: Callable[[int], None] | None = None
            if arriving:

                def before(layer: int) -> None:
                    for upload in arriving:
                        upload.hold(layer)

            rows, wanted = self._prompts.run(chunk, pieces, before)
        else:
            for upload in arriving:
                upload.hold(None)
            rows, wanted = self._decodes.run(chunk, pieces)
        self._head.collect(rows, wanted, collected)


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one of this thread: a step may come from any."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _numbers(chunk: Chunk, pieces: Sequence[Piece], firsts: Sequence[int]) -> list[int]:
    """Number a chunk's wanted rows as the caller does: by piece, then by token."""
    numbers: list[int] = []
    for span in chunk.spans:
        from_ = pieces[span.piece].logits_from
        first = max(span.first, from_)
        numbers.extend(
            firsts[span.piece] + at - from_ for at in range(first, span.first + span.count)
        )
    return numbers
