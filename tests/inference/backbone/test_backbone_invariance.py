"""A step gives each row the same bits, whatever is computed beside it and wherever it lies."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import tiny_adapter, tiny_backbone
from torch import Tensor

from inference.adapters.adapter import LoraAdapter
from inference.adapters.packed_image import pack_image
from inference.adapters.resident import Resident
from inference.arena import Arena, Extent, Move
from inference.backbone.attention import PagedAttention
from inference.backbone.chain import ChainSizes, chain_sizes
from inference.backbone.factors import GroupShape
from inference.backbone.incremental import IncrementalPass
from inference.backbone.lora_batch import LoraBatch
from inference.backbone.model import Backbone
from inference.backbone.plan import UNIT
from inference.backbone.tiles import SIZES, TILE, RowTiles, padded
from inference.blocks import blocks_for
from inference.cpu_executor import PACKING, CpuExecutor
from inference.executor import Piece

SHAPES: tuple[dict[str, object], ...] = (
    {},
    {"architectures": ["Qwen2ForCausalLM"], "hidden_size": 60},
    {"hidden_size": 192, "intermediate_size": 512, "max_position_embeddings": 512},
)


def adapters_of(backbone: Backbone) -> list[LoraAdapter]:
    made = [
        tiny_adapter(backbone, rank, seed=10 * rank + number)
        for rank in (1, 4, 5, 8, 16)
        for number in range(3)
    ]
    made.append(tiny_adapter(backbone, 3, seed=9, targets=("v_proj", "down_proj")))
    made.append(tiny_adapter(backbone, 3, seed=8, targets=("v_proj", "down_proj"), alpha=1.0))
    made.append(tiny_adapter(backbone, 4, seed=7, rank_pattern={"k_proj": 9}, layers=(1,)))
    return made


class Machine:
    """An executor whose memory holds rubbish, and adapters above a gap."""

    def __init__(self, backbone: Backbone, adapters: list[LoraAdapter], pages: int) -> None:
        images = [pack_image(adapter, backbone.config, PACKING) for adapter in adapters]
        self.page_bytes = CpuExecutor(backbone, 1).shape.page_bytes
        self.gap = 256 * 5
        size = sum(image.size_bytes for image in images) + self.gap
        below = -(-size // self.page_bytes)
        self.executor = CpuExecutor(backbone, below + pages, torch.get_num_threads())
        generator = torch.Generator().manual_seed(3)
        self.executor.memory.random_(0, 256, generator=generator)
        self.pages = list(range(below, below + pages))
        random.Random(5).shuffle(self.pages)
        self.residents: list[Resident] = []
        at = self.gap
        for image in images:
            extent = Extent(at, image.size_bytes)
            assert self.executor.upload(image, extent).ready
            self.residents.append(Resident(image.content_hash, image.layout, extent))
            at = extent.end

    def compact(self) -> None:
        """Close the gap below the adapters, as the pool does."""
        for resident in self.residents:
            source = resident.extent
            move = Move(source, Extent(source.start - self.gap, source.size))
            self.executor.move(move)
            resident.extent = move.target
            resident.generation += 1
        self.gap = 0


class Client:
    """One sequence; what it began before it lost its pages is computed again."""

    def __init__(self, ids: list[int], adapter: int | None) -> None:
        self.ids = ids
        self.adapter = adapter
        self.blocks: list[int] = []
        self.done = 0
        self.logits: dict[int, Tensor] = {}

    def piece(self, machine: Machine, count: int) -> Piece:
        tokens = self.ids[self.done : self.done + count]
        adapter = None if self.adapter is None else machine.residents[self.adapter]
        return Piece(tokens, self.done, self.blocks, adapter, 0, len(self.ids))

    def keep(self, logits: np.ndarray) -> None:
        for row in logits:
            seen = torch.from_numpy(row.copy())
            before = self.logits.setdefault(self.done, seen)
            assert torch.equal(before, seen)
            self.done += 1

    def whole(self) -> Tensor:
        return torch.stack([self.logits[position] for position in range(len(self.ids))])


def compute(machine: Machine, clients: list[Client], counts: list[int]) -> None:
    pieces = [client.piece(machine, count) for client, count in zip(clients, counts, strict=True)]
    rows = machine.executor.step(pieces)
    at = 0
    for client, piece in zip(clients, pieces, strict=True):
        client.keep(np.stack([rows.logits(at + row) for row in range(len(piece.tokens))]))
        at += len(piece.tokens)


def run(machine: Machine, clients: list[Client], chance: random.Random) -> None:
    """Compute all with random chunks, neighbours and page losses; the adapters move half way."""
    positions = machine.executor.shape.positions
    free = list(machine.pages)
    for client in clients:
        client.blocks = [free.pop() for _ in range(blocks_for(len(client.ids), positions))]
    steps = 0
    while open_ones := [client for client in clients if client.done < len(client.ids)]:
        chosen = chance.sample(open_ones, chance.randint(1, len(open_ones)))
        compute(machine, chosen, [chance.choice((1, 1, 1, 1, 2, 7, 64, 100)) for _ in chosen])
        steps += 1
        if steps == 6:
            machine.compact()
        if chance.random() < 0.1:
            loser = chance.choice(clients)
            loser.done = 0
            free = [*loser.blocks, *free]
            loser.blocks = [free.pop() for _ in loser.blocks]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_has_the_same_bits_alone_and_in_any_batch(
    shape: dict[str, object], threads: int
) -> None:
    backbone = tiny_backbone(**shape)
    adapters = adapters_of(backbone)
    chance = random.Random(5)
    chosen = [None, *range(len(adapters)), *(chance.randrange(len(adapters)) for _ in range(6))]
    prompts = [[chance.randrange(300) for _ in range(chance.randint(1, 200))] for _ in chosen]

    def clients() -> list[Client]:
        return [Client(ids, number) for ids, number in zip(prompts, chosen, strict=True)]

    alone = clients()
    for client in alone:
        machine = Machine(backbone, adapters, 16)
        client.blocks = machine.pages
        compute(machine, [client], [999])
    torch.set_num_threads(threads)
    try:
        for seed in range(3 - threads):
            together = clients()
            machine = Machine(backbone, adapters, 16 * len(together))
            run(machine, together, random.Random(seed))
            for one, other in zip(alone, together, strict=True):
                assert torch.equal(one.whole(), other.whole())
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_decoding_with_as_many_adapters_as_rows_has_the_bits_of_the_lone_run(
    shape: dict[str, object],
) -> None:
    backbone = tiny_backbone(**shape)
    adapters = [tiny_adapter(backbone, 8, seed=seed) for seed in range(12)]
    chance = random.Random(2)
    prompts = [[chance.randrange(300) for _ in range(20)] for _ in adapters]
    alone = [Client(ids, number) for number, ids in enumerate(prompts)]
    for client in alone:
        machine = Machine(backbone, adapters, 1)
        client.blocks = machine.pages
        compute(machine, [client], [20])
    together = [Client(ids, number) for number, ids in enumerate(prompts)]
    machine = Machine(backbone, adapters, len(together))
    for client, page in zip(together, machine.pages, strict=True):
        client.blocks = [page]
    for step in range(20):
        here = [c for c in together if step < 10 or (c.adapter or 0) % 3 or step % 2]
        compute(machine, chance.sample(here, len(here)), [1] * len(here))
    for client in together:
        if client.done < 20:
            compute(machine, [client], [20])
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.whole(), other.whole())


def test_stacks_are_used_where_they_agree_and_never_where_they_do_not(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters = [tiny_adapter(backbone, 16, seed=seed) for seed in range(3)]

    def logits() -> tuple[LoraBatch, Tensor]:
        machine = Machine(backbone, adapters, 3)
        pieces = [
            Piece([5, 6, 7], 0, (page,), resident, 0, 3)
            for page, resident in zip(machine.pages, machine.residents, strict=True)
        ]
        rows = machine.executor.step(pieces)
        batch = machine.executor._pass._lora
        return batch, torch.stack([torch.from_numpy(rows.logits(n)) for n in range(9)])

    batch, together = logits()
    (kind,) = batch._kinds.values()
    assert len(batch._stacks) == bool(kind.units)

    def careful(shape: GroupShape) -> ChainSizes:
        return replace(chain_sizes(shape), runs=(TILE,), units=())

    monkeypatch.setattr("inference.backbone.lora_batch.chain_sizes", careful)
    batch, apart = logits()
    assert not batch._stacks
    assert torch.equal(together, apart)


def test_adapters_that_take_longer_to_read_than_to_start_are_not_copied(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.backbone.lora_batch.WORTH", 10)
    machine = Machine(backbone, [tiny_adapter(backbone, 16, seed=s) for s in range(2)], 2)
    pieces = [
        Piece([5], 0, (page,), resident, 0, 1)
        for page, resident in zip(machine.pages, machine.residents, strict=True)
    ]
    machine.executor.step(pieces)
    batch = machine.executor._pass._lora
    assert isinstance(batch, LoraBatch)
    assert not batch._stacks


def test_a_shared_prefix_gives_the_bits_of_an_own_one(backbone: Backbone) -> None:
    positions = CpuExecutor(backbone, 1).shape.positions
    ids = list(range(40, 40 + positions + 30))
    machine = Machine(backbone, [], 3)
    first, second = machine.pages[:2], [machine.pages[0], machine.pages[2]]
    alone = machine.executor.step([Piece(ids, 0, first, None, positions, len(ids))])
    truth = [alone.logits(row).copy() for row in range(30)]
    shared = machine.executor.step([Piece(ids[positions:], positions, second, None, 0, len(ids))])
    assert all(np.array_equal(shared.logits(row), truth[row]) for row in range(30))


def test_the_cached_pass_agrees_with_the_whole_sequence_pass(backbone: Backbone) -> None:
    adapter = tiny_adapter(backbone, 5)
    ids = list(range(40, 190))
    machine = Machine(backbone, [adapter], 9)
    rows = machine.executor.step([Piece(ids, 0, machine.pages, machine.residents[0], 0, len(ids))])
    cached = torch.stack([torch.from_numpy(rows.logits(row)) for row in range(len(ids))])
    whole = backbone.forward(torch.tensor(ids), adapter.pairs)
    torch.testing.assert_close(cached, whole, rtol=1e-4, atol=1e-5)
    hidden = torch.stack([torch.from_numpy(rows.hidden(row)) for row in range(len(ids))])
    truth = backbone.hidden(torch.tensor([ids]), adapter.pairs)[0]
    torch.testing.assert_close(hidden, truth, rtol=1e-4, atol=1e-5)


def test_a_mixed_batch_equals_merged_weights_one_at_a_time(backbone: Backbone) -> None:
    adapters = [tiny_adapter(backbone, rank, seed=rank) for rank in (2, 4, 4, 8)]
    machine = Machine(backbone, adapters, 20)
    prompts = [[7 * n + m for m in range(10 + n)] for n in range(4)]
    rows = machine.executor.step(
        [
            Piece(ids, 0, machine.pages[4 * n :], resident, len(ids) - 1, len(ids))
            for n, (ids, resident) in enumerate(zip(prompts, machine.residents, strict=True))
        ]
    )
    for row, (ids, adapter) in enumerate(zip(prompts, adapters, strict=True)):
        merged = backbone.forward(torch.tensor(ids), adapter.pairs)[-1]
        torch.testing.assert_close(torch.from_numpy(rows.logits(row)), merged, rtol=1e-4, atol=1e-5)


def test_an_arena_of_the_executor_s_shape_has_its_memory(backbone: Backbone) -> None:
    executor = CpuExecutor(backbone, 7)
    assert Arena(executor.pages, executor.shape.page_bytes).size == executor.memory.numel()


def test_padding_to_the_right_does_not_change_a_sequence(backbone: Backbone) -> None:
    short, long = [5, 6, 7], [8, 9, 10, 11, 12]
    both = backbone.forward(torch.tensor([[*short, 0, 0], long]))
    alone = backbone.forward(torch.tensor(short))
    torch.testing.assert_close(both[0, :3], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("inputs", "outputs"), [(48, 96), (24, 512), (192, 3), (256, 1024)])
def test_a_product_s_rows_do_not_depend_on_their_number(inputs: int, outputs: int) -> None:
    tiles = RowTiles()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(padded(700), inputs, generator=generator)
    weight = torch.randn(inputs, outputs, generator=generator)
    whole = tiles.product(x, weight)
    for rows in (TILE, 48, 112, 272, 700 // TILE * TILE):
        assert torch.equal(tiles.product(x[:rows].clone(), weight), whole[:rows])
    assert tiles.sizes(inputs, outputs)[-1] == TILE
    assert set(tiles.sizes(inputs, outputs)) <= set(SIZES)


def test_only_sizes_that_agree_are_used() -> None:
    tiles = RowTiles()
    tiles._sizes[48, 96] = (32, TILE)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(112, 48, generator=generator)
    weight = torch.randn(48, 96, generator=generator)
    parts = [x[i : i + 32] @ weight for i in (0, 32, 64)] + [x[96:] @ weight]
    assert torch.equal(tiles.product(x, weight), torch.cat(parts))


def test_attention_without_batched_products_has_the_same_bits(backbone: Backbone) -> None:
    """The way of a machine whose batched product does not agree with a single one."""
    ids = list(range(130))

    def logits(attention: PagedAttention | None) -> np.ndarray:
        executor = CpuExecutor(backbone, 20)
        if attention is not None:
            executor._pass._attention = attention
        pieces = [
            Piece(ids, 0, range(9), None, 0, 130),
            Piece(ids[:9], 0, (12, 13, 14, 15), None, 0, 9),
        ]
        rows = executor.step(pieces)
        return np.stack([rows.logits(row) for row in range(139)])

    attention = PagedAttention(backbone.config)
    attention.query_sizes, attention._together = (UNIT,), False
    assert isinstance(CpuExecutor(backbone, 1)._pass, IncrementalPass)
    assert np.array_equal(logits(None), logits(attention))
