"""The cached pass gives each row the same bits, whatever is computed beside it."""

from __future__ import annotations

import random

import pytest
import torch
from tiny_models import tiny_adapter, tiny_backbone
from torch import Tensor

from inference.backbone.attention import PagedAttention
from inference.backbone.batch import KvCache, Piece
from inference.backbone.incremental import IncrementalPass
from inference.backbone.model import Backbone
from inference.backbone.packed import PackedAdapter, pack_adapter
from inference.backbone.tiles import SIZES, TILE, RowTiles, padded
from inference.blocks import BLOCK, blocks_for


def adapters_of(backbone: Backbone) -> list[PackedAdapter | None]:
    ranks = (1, 4, 5, 16)
    made = [tiny_adapter(backbone, rank, seed=rank) for rank in ranks]
    made.append(tiny_adapter(backbone, 3, seed=9, targets=("v_proj", "down_proj")))
    return [None, *(pack_adapter(a.pairs, backbone.config) for a in made)]


class Client:
    """One sequence with blocks of its own."""

    def __init__(self, ids: list[int], adapter: PackedAdapter | None, first_block: int) -> None:
        self.ids = ids
        self.adapter = adapter
        self.blocks = range(first_block, first_block + blocks_for(len(ids)))
        self.done = 0
        self.logits: list[Tensor] = []

    def piece(self, count: int) -> Piece:
        tokens = self.ids[self.done : self.done + count]
        return Piece(tokens, self.done, self.blocks, self.adapter, 0)


def run(
    step: IncrementalPass, cache: KvCache, clients: list[Client], chance: random.Random
) -> None:
    """Compute all clients with random chunks and random neighbours."""
    while True:
        open_ones = [client for client in clients if client.done < len(client.ids)]
        if not open_ones:
            return
        chosen = chance.sample(open_ones, chance.randint(1, len(open_ones)))
        pieces = [client.piece(chance.choice((1, 1, 2, 7, 64, 100))) for client in chosen]
        logits = step.step(pieces, cache)
        row = 0
        for client, piece in zip(chosen, pieces, strict=True):
            client.logits.append(logits[row : row + len(piece.tokens)].clone())
            client.done += len(piece.tokens)
            row += len(piece.tokens)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [{}, {"architectures": ["Qwen2ForCausalLM"], "hidden_size": 60}])
def test_a_row_has_the_same_bits_alone_and_in_any_batch(
    shape: dict[str, object], threads: int
) -> None:
    backbone = tiny_backbone(**shape)
    adapters = adapters_of(backbone)
    chance = random.Random(5)
    prompts = [[chance.randrange(300) for _ in range(chance.randint(1, 200))] for _ in range(9)]

    def clients() -> list[Client]:
        return [
            Client(ids, adapters[number % len(adapters)], 4 * number)
            for number, ids in enumerate(prompts)
        ]

    alone = clients()
    for client in alone:
        cache = KvCache(backbone.config, 4 * len(alone))
        logits = IncrementalPass(backbone.decoder).step([client.piece(999)], cache)
        client.logits.append(logits)
    torch.set_num_threads(threads)
    try:
        for seed in range(3):
            together = clients()
            cache = KvCache(backbone.config, 4 * len(together))
            run(IncrementalPass(backbone.decoder), cache, together, random.Random(seed))
            for one, other in zip(alone, together, strict=True):
                assert torch.equal(torch.cat(one.logits), torch.cat(other.logits))
    finally:
        torch.set_num_threads(1)


def test_the_cached_pass_agrees_with_the_whole_sequence_pass(backbone: Backbone) -> None:
    adapter = tiny_adapter(backbone, 5)
    ids = list(range(40, 190))
    cached = IncrementalPass(backbone.decoder).step(
        [Piece(ids, 0, range(3), pack_adapter(adapter.pairs, backbone.config), 0)],
        KvCache(backbone.config, 3),
    )
    whole = backbone.forward(torch.tensor(ids), adapter.pairs)
    torch.testing.assert_close(cached, whole, rtol=1e-4, atol=1e-5)


def test_what_a_block_held_before_does_not_matter(backbone: Backbone) -> None:
    step = IncrementalPass(backbone.decoder).step
    ids = list(range(70))
    fresh = step([Piece(ids, 0, (0, 1), None, 0)], KvCache(backbone.config, 2))
    used = KvCache(backbone.config, 2)
    step([Piece([9] * 128, 0, (1, 0), None, 0)], used)
    assert torch.equal(fresh, step([Piece(ids, 0, (0, 1), None, 0)], used))


def test_padding_to_the_right_does_not_change_a_sequence(backbone: Backbone) -> None:
    short, long = [5, 6, 7], [8, 9, 10, 11, 12]
    both = backbone.forward(torch.tensor([[*short, 0, 0], long]))
    alone = backbone.forward(torch.tensor(short))
    torch.testing.assert_close(both[0, :3], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("inputs", "outputs"), [(48, 96), (24, 512), (192, 3), (256, 1024)])
def test_a_product_s_rows_do_not_depend_on_their_number(inputs: int, outputs: int) -> None:
    tiles = RowTiles()
    x = torch.randn(padded(700), inputs)
    weight = torch.randn(inputs, outputs)
    whole = tiles.product(x, weight)
    for rows in (TILE, 48, 112, 272, 700 // TILE * TILE):
        assert torch.equal(tiles.product(x[:rows].clone(), weight), whole[:rows])
    assert tiles.sizes(inputs, outputs)[-1] == TILE
    assert set(tiles.sizes(inputs, outputs)) <= set(SIZES)


def test_only_sizes_that_agree_are_used() -> None:
    tiles = RowTiles()
    tiles._sizes[48, 96] = (32, TILE)
    x, weight = torch.randn(112, 48), torch.randn(48, 96)
    parts = [x[i : i + 32] @ weight for i in (0, 32, 64)] + [x[96:] @ weight]
    assert torch.equal(tiles.product(x, weight), torch.cat(parts))


def test_attention_without_batched_products_has_the_same_bits(backbone: Backbone) -> None:
    """The way of a machine whose batched product does not agree with a single one."""
    ids = list(range(130))
    usual = IncrementalPass(backbone.decoder)
    careful = IncrementalPass(backbone.decoder)
    attention = PagedAttention(backbone.config)
    attention.query_sizes, attention._together = (BLOCK,), False
    careful._attention = attention
    pieces = [Piece(ids, 0, range(3), None, 0), Piece(ids[:9], 0, (4,), None, 0)]
    logits = [step.step(pieces, KvCache(backbone.config, 5)) for step in (usual, careful)]
    assert torch.equal(*logits)
