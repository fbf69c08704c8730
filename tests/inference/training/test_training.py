from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from tiny_models import tiny_backbone
from torch.nn.functional import cross_entropy

from inference.adapters.adapter import image_of
from inference.backbone.model import Backbone
from inference.training.config import TrainingConfig
from inference.training.errors import TrainingReason, TrainingRefused
from inference.training.loss import head_loss
from inference.training.order import epoch_batches, split_records
from inference.training.receipt import TrainingReceipt
from inference.training.text import encode_prompt, encode_record
from inference.training.train import Progress, train

WORDS = ["amber", "basil", "cedar", "delta", "ember", "fjord", "gable", "hazel"]


def records(count: int) -> list[tuple[str, str]]:
    chance = random.Random(1)
    return [
        (f"{n} {chance.choice(WORDS)}", " ".join(chance.sample(WORDS, 3))) for n in range(count)
    ]


CONFIG = TrainingConfig(
    rank=4, alpha=8, epochs=2, batch_records=5, learning_rate=1e-2, held_out=0.1
)


def test_training_twice_gives_the_same_bytes_on_any_number_of_workers(backbone: Backbone) -> None:
    data = records(30)
    first, receipt = train(backbone, data, CONFIG, dataset_root=b"\1" * 32, workers=1)
    for workers, threads in ((1, 1), (2, 2), (3, 1)):
        torch.set_num_threads(threads)
        try:
            again, repeated = train(
                backbone, data, CONFIG, dataset_root=b"\1" * 32, workers=workers
            )
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
        assert image_of(again) == image_of(first)
        assert repeated == receipt
    assert receipt.adapter_hash == first.content_hash


def test_the_seed_the_records_and_the_base_matter(backbone: Backbone) -> None:
    one_epoch = replace(CONFIG, epochs=1)
    data = records(12)
    hashes = {
        train(backbone, data, one_epoch)[0].content_hash,
        train(backbone, data, replace(one_epoch, seed=1))[0].content_hash,
        train(backbone, data[::-1], one_epoch)[0].content_hash,
    }
    assert len(hashes) == 3


def test_training_learns_its_records_and_leaves_the_base_alone(backbone: Backbone) -> None:
    before = backbone.decoder.layers[0].qkv.clone()
    seen: list[Progress] = []
    config = replace(CONFIG, epochs=12, held_out=0.0, learning_rate=3e-2)
    adapter, receipt = train(backbone, records(16), config, seen.append)
    assert receipt.losses[-1] < 0.75 * receipt.losses[0]
    assert receipt.held_out_losses == ()
    assert torch.equal(before, backbone.decoder.layers[0].qkv)
    assert [p.step for p in seen] == list(range(1, 12 * 4 + 1))
    assert seen[-1].steps == 48
    ids = torch.tensor(encode_record(backbone, records(16)[0]).ids)
    with torch.no_grad():
        own, base = (
            float(cross_entropy(backbone.forward(ids[:-1], pairs), ids[1:]))
            for pairs in (adapter.pairs, None)
        )
    assert own < 0.75 * base


def test_the_held_out_loss_is_measured_before_and_after_every_epoch(backbone: Backbone) -> None:
    adapter, receipt = train(backbone, records(30), CONFIG)
    assert len(receipt.held_out_losses) == len(receipt.losses) + 1
    split = split_records(30, 0.1, CONFIG.seed)
    total, count = 0.0, 0
    for index in split.held_out:
        ids = torch.tensor(encode_record(backbone, records(30)[index]).ids)
        with torch.no_grad():
            logits = backbone.forward(ids[:-1], adapter.pairs)
        total += float(cross_entropy(logits, ids[1:], reduction="sum"))
        count += len(ids) - 1
    assert receipt.held_out_losses[-1] == pytest.approx(total / count, rel=1e-4)


def test_a_receipt_survives_its_encoding_and_has_one_form(backbone: Backbone) -> None:
    _, receipt = train(backbone, records(6), replace(CONFIG, epochs=1))
    again = TrainingReceipt.decode(receipt.encode())
    assert again == receipt
    assert again.content_hash == receipt.content_hash
    config = TrainingConfig(**again.config)
    assert train(backbone, records(6), config)[1] == receipt
    for broken in (b"", b"\x80", receipt.encode() + b"\0", receipt.encode()[:-3]):
        with pytest.raises(TrainingRefused) as caught:
            TrainingReceipt.decode(broken)
        assert caught.value.reason is TrainingReason.BAD_RECEIPT


def test_each_epoch_takes_every_record_once_in_another_order() -> None:
    lengths = [n * 7 % 50 for n in range(100)]
    split = split_records(100, 0.1, 3)
    assert sorted(split.trained + split.held_out) == list(range(100))
    assert len(split.held_out) == 10
    epochs = [epoch_batches(split.trained, lengths, 8, 3, epoch) for epoch in range(3)]
    for batches in epochs:
        assert sorted(i for batch in batches for i in batch) == list(split.trained)
        assert max(map(len, batches)) == 8
    assert epochs[0] != epochs[1] != epochs[2]


def test_every_token_belongs_to_one_field(backbone: Backbone) -> None:
    encoded = encode_record(backbone, ("ab", "", "c"))
    assert backbone.tokenizer is not None
    assert backbone.tokenizer.decode(encoded.ids) == "ab\n\nc"
    assert encoded.fields == (0, 0, 0, 1, 2, 2)
    assert encoded.ids[-1] == 256


@pytest.mark.parametrize("start", [None, 259])
def test_a_prompt_is_the_beginning_of_a_record(start: int | None) -> None:
    backbone = tiny_backbone(bos_token_id=start)
    encoded = encode_record(backbone, ("ab", "cd e", "f"))
    for text in ("", "ab", "ab\n", "ab\ncd", "ab\ncd e\nf"):
        prompt = encode_prompt(backbone, text)
        assert encoded.ids[: len(prompt)] == prompt
    assert (encoded.ids[0] == start) == (start is not None)
    assert len(encoded.fields) == len(encoded.ids)


def test_long_records_are_cut_to_the_context(backbone: Backbone) -> None:
    assert len(encode_record(backbone, ("x" * 1000,)).ids) == 256


def test_the_loss_and_its_gradient_equal_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(300, 16, generator=generator, requires_grad=True)
    head = torch.randn(16, 40, generator=generator)
    targets = torch.randint(0, 40, (300,), generator=generator)
    expected = cross_entropy(hidden @ head, targets, reduction="sum")
    (gradient,) = torch.autograd.grad(expected * 0.5, hidden)
    found = head_loss(hidden, head, targets)
    (ours,) = torch.autograd.grad(found * 0.5, hidden)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(ours, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 0}, {"learning_rate": float("nan")}, {"held_out": 0.9}, {"seed": -1}, {"clip": 0}],
)
def test_parameters_that_make_no_sense_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(TrainingRefused) as caught:
        TrainingConfig(**changes)
    assert caught.value.reason is TrainingReason.BAD_PARAMETER


def test_runs_that_cannot_start_are_refused(backbone: Backbone) -> None:
    with pytest.raises(TrainingRefused) as caught:
        train(backbone, [], CONFIG)
    assert caught.value.reason is TrainingReason.NO_RECORDS
    bare = Backbone(backbone.config, backbone.decoder, None, backbone.content_hash)
    with pytest.raises(TrainingRefused) as caught:
        train(bare, records(3), CONFIG)
    assert caught.value.reason is TrainingReason.NO_TOKENIZER
