"""Executors with random weights and adapters with random factors, of any size, made in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from benches.openlora_gpu_shapes import Ceiling, model_config
from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.figures import Origin
from inference.adapters.image_layout import Packing, plan_layout
from inference.adapters.packed_image import PackedImage, plain_buffer
from inference.adapters.resident import Resident
from inference.adapters.store import AdapterStore
from inference.arena import Extent
from inference.backbone.config import LlamaConfig
from inference.backbone.sites import lora_sites
from inference.cuda.executor import DeviceExecutor
from inference.cuda.open import device_executor
from inference.cuda.shapes import StepShapes
from inference.cuda.weights import DeviceWeights
from inference.executor import Piece
from inference.request import Answer, Limits, Request, Token
from inference.runner import Runner

SMALL = StepShapes(decode=16, prompt=32, buckets=(1, 2, 4, 8, 16))
IMAGES = 32
"""Host images with factors of their own; more adapters than that share their bytes, so that a
thousand of them fit the host. On the device every adapter has an image of its own."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how large a bench runs."""

    device: torch.device
    tiny: bool
    ceiling: Ceiling

    def pick(self, full: int, tiny: int) -> int:
        """Choose a number by the size of the run."""
        return tiny if self.tiny else full

    def executor(
        self,
        model: str,
        pages: int | None = None,
        *,
        host_bytes: int = 0,
        graphs: bool = True,
        positions: int = 4096,
    ) -> DeviceExecutor:
        """Start an executor with random weights; `pages` None takes the whole GPU."""
        name = "tiny" if self.tiny else model
        config = model_config(name, 256 if self.tiny else positions)
        weights = DeviceWeights.random(config, self.device, torch.bfloat16)
        return device_executor(
            weights,
            200 if self.tiny else pages,
            shapes=SMALL if self.tiny else None,
            graphs=graphs,
            host_bytes=1 << 20 if self.tiny else host_bytes,
        )


def random_image(
    config: LlamaConfig,
    packing: Packing,
    rank: int,
    seed: int,
    buffer: Callable[[int], Tensor] = plain_buffer,
) -> PackedImage:
    """Draw the image of an adapter of every linear layer."""
    layout = plan_layout(dict.fromkeys(lora_sites(config), (rank, 2.0)), config, packing)
    data = buffer(layout.size)
    generator = torch.Generator().manual_seed(seed)
    values = data.view(torch.bfloat16)
    block = torch.randn(1 << 20, generator=generator).mul_(0.02).bfloat16()
    for start in range(0, values.numel(), block.numel()):
        part = values[start : start + block.numel()]
        part.copy_(block[: part.numel()])
    table = layout.table()
    data[: len(table)] = torch.frombuffer(bytearray(table), dtype=torch.uint8)
    return PackedImage(seed.to_bytes(32, "little"), layout, data)


class ImageStore:
    """Stands where the pool expects its store: the host tier of so many adapters, all loaded.

    Adapter n has the bytes of image n mod IMAGES.
    """

    def __init__(self, executor: DeviceExecutor, rank: int, count: int) -> None:
        self.hashes = [number.to_bytes(32, "little") for number in range(count)]
        self._images = [
            random_image(executor.config, executor.packing, rank, seed, executor.host_buffer)
            for seed in range(min(count, IMAGES))
        ]

    @property
    def image_bytes(self) -> int:
        """Size of one image."""
        return self._images[0].size_bytes

    def packed(
        self,
        content_hash: bytes,
        packing: Packing,
        buffer: Callable[[int], Tensor] = plain_buffer,
    ) -> tuple[PackedImage, Origin]:
        """Return an image that is in the host's memory."""
        number = int.from_bytes(content_hash, "little")
        if number >= len(self.hashes):
            raise AdapterRefused(AdapterReason.NOT_STORED, f"adapter {number} was not made")
        image = self._images[number % len(self._images)]
        return PackedImage(content_hash, image.layout, image.data), Origin.HOST

    def as_store(self) -> AdapterStore:
        """Pass for a store of files."""
        return cast(AdapterStore, self)


def fill(executor: DeviceExecutor, rank: int, count: int) -> list[Resident]:
    """Put adapters side by side at the bottom of the memory."""
    images = [
        random_image(executor.config, executor.packing, rank, seed)
        for seed in range(min(count, IMAGES))
    ]
    residents, start = [], 0
    for number in range(count):
        image = images[number % len(images)]
        extent = Extent(start, image.size_bytes)
        upload = executor.upload(image, extent)
        while not upload.done:
            torch.empty(0)
        residents.append(Resident(image.content_hash, image.layout, extent))
        start = extent.end
    return residents


def decode_pieces(
    executor: DeviceExecutor, rows: int, context: int, residents: list[Resident]
) -> list[Piece]:
    """Make one output position each of so many sequences, at the top of the memory."""
    each = context // executor.shape.positions + 1
    return [
        Piece(
            tokens=[(7 * row + 1) % executor.config.vocab_size],
            start=context,
            blocks=range(executor.pages - (row + 1) * each, executor.pages - row * each),
            adapter=residents[row % len(residents)] if residents else None,
            logits_from=0,
            prompt=1,
        )
        for row in range(rows)
    ]


class Collector:
    """Keeps an answer, and when its tokens came."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.asked = clock()
        self.times: list[float] = []
        self.answer: Answer | None = None

    def token(self, token: Token) -> None:
        """Note the time."""
        self.times.append(self._clock())

    def done(self, answer: Answer) -> None:
        """Keep the answer."""
        self.answer = answer

    def failed(self, error: Exception) -> None:
        """Stop the bench."""
        raise error


def runner_of(
    executor: DeviceExecutor, store: ImageStore | None, limits: Limits, host_bytes: int
) -> Runner:
    """Open a runner that keeps every image of the store in the host."""
    return Runner(
        executor,
        None,
        None if store is None else store.as_store(),
        limits,
        host_bytes=host_bytes,
    )


def request(
    seed: int, prompt: int, output: int, vocabulary: int, adapter: bytes | None, tenant: str = "t"
) -> Request:
    """Ask for a greedy answer of fixed length to a prompt of its own."""
    ids = tuple((seed * 7919 + 31 * at + 1) % vocabulary for at in range(prompt))
    return Request(ids, output, adapter=adapter, stop_ids=(), tenant=tenant)
