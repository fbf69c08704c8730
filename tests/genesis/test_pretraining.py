"""The training of the base model, at a size that takes a second."""

import lzma
import math
from pathlib import Path

import pytest
import torch

from inference.pretrain.decoder import Decoder, DecoderConfig
from inference.pretrain.muon import orthogonalise
from inference.pretrain.text import (
    BOS_ID,
    EOS_ID,
    Batches,
    encode_stream,
    held_out_windows,
    read_corpus,
    train_tokenizer,
)
from inference.pretrain.train import Recipe, Trainer, train

TINY = DecoderConfig(
    vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=16,
)  # fmt: skip
RECIPE = Recipe(steps=12, decay=4, warmup=2, rows=2, context=16, seed=7)


def _trainer() -> Trainer:
    torch.set_num_threads(1)
    stream = torch.arange(2000, dtype=torch.int32) * 7 % 90 + 3
    return Trainer(TINY, RECIPE, stream, stream[:200])


def test_training_lowers_the_held_out_loss(tmp_path: Path) -> None:
    trainer = _trainer()
    before = trainer.held_out_loss()
    assert train(trainer, tmp_path / "checkpoint.pt", minutes=math.inf)
    assert trainer.step == 12
    assert trainer.held_out_loss() < before - 0.2


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    whole, first = _trainer(), _trainer()
    for _ in range(8):
        whole.take_step()
    for _ in range(5):
        first.take_step()
    first.save(tmp_path / "checkpoint.pt")
    second = _trainer()
    second.load(tmp_path / "checkpoint.pt")
    for _ in range(3):
        second.take_step()
    expected = whole.model.state_dict()
    assert all(torch.equal(t, expected[n]) for n, t in second.model.state_dict().items())


def test_a_paused_run_keeps_a_checkpoint(tmp_path: Path) -> None:
    assert not train(_trainer(), tmp_path / "checkpoint.pt", minutes=0)
    assert (tmp_path / "checkpoint.pt").exists()


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    scales = [RECIPE.lr_scale(step) for step in range(13)]
    assert scales[0] == 0.5
    assert scales[1:9] == [1.0] * 8
    assert scales[9:] == sorted(scales[9:], reverse=True)
    assert scales[12] == pytest.approx(0, abs=1e-12)


def test_batches_depend_on_seed_and_step_alone() -> None:
    stream = torch.arange(4000, dtype=torch.int32)
    one, other = Batches(stream, 16, 3, seed=5), Batches(stream, 16, 3, seed=5)
    far = one.per_epoch + 4
    _ = other[1], other[0]
    assert torch.equal(one[far][1], other[far][1])
    assert not torch.equal(one[4][1], one[far][1])
    inputs, targets = one[2]
    assert (inputs[:, 0] == BOS_ID).all()
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_an_epoch_visits_no_window_twice() -> None:
    batches = Batches(torch.arange(1000, dtype=torch.int32), 10, 4, seed=1)
    firsts = [int(row[0]) for step in range(batches.per_epoch) for row in batches[step][1]]
    assert len(firsts) == len(set(firsts))


def test_held_out_windows_cover_the_stream_once() -> None:
    stream = torch.arange(50, dtype=torch.int32)
    targets = torch.cat([t.flatten() for _, t in held_out_windows(stream, 8, 4)])
    assert targets.tolist() == list(range(48))


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 40, 16), (2, 16, 40)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    values = torch.linalg.svdvals(orthogonalise(batch))
    assert values.max() < 1.3
    assert values.median() > 0.6


def test_no_token_sees_the_ones_after_it() -> None:
    torch.manual_seed(1)
    model = Decoder(TINY)
    ids = torch.randint(3, 300, (1, 12))
    changed = ids.clone()
    changed[0, 8:] = 5
    with torch.no_grad():
        assert torch.allclose(model(ids)[:, :8], model(changed)[:, :8], atol=1e-6)


def test_the_corpus_is_split_by_document_and_encoded_between_marks(tmp_path: Path) -> None:
    path = tmp_path / "corpus.xz"
    texts = [f"document {n} tells of the number {n * n}\n" for n in range(250)]
    path.write_bytes(lzma.compress("\f\n".join(texts).encode()))
    split = read_corpus(path)
    assert split.held_out == (texts[0], texts[100], texts[200])
    assert len(split.train) == 247
    tokenizer = train_tokenizer(split.train, 300)
    stream = encode_stream(tokenizer, split.held_out[:1]).tolist()
    assert (stream[0], stream[-1]) == (BOS_ID, EOS_ID)
    assert tokenizer.decode(stream) == texts[0]
