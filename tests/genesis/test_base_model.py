"""The embedded base model is whole, and as good as its card says."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from tokenizers import Tokenizer

from inference.backbone.config import LlamaConfig
from inference.backbone.model import Backbone
from inference.backbone.weights import expected_shapes
from inference.pretrain.decoder import Decoder, DecoderConfig
from inference.pretrain.text import BOS_ID, EOS_ID, encode_stream, held_out_windows

FOLDER = Path(__file__).parents[2] / "genesis/base_model/open-nano"
TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
RECORD = json.loads((FOLDER / "training.json").read_text())


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.set_num_threads(1)
    return Backbone.load(FOLDER)


@given(st.text(max_size=200))
def test_any_text_survives_encoding_and_decoding(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    written_out = any(name in text for name in ("<s>", "</s>", "<pad>"))
    assert written_out or TOKENIZER.decode(ids) == text


def test_special_tokens_have_fixed_ids_and_the_template_puts_one_in_front() -> None:
    assert [TOKENIZER.token_to_id(name) for name in ("<s>", "</s>", "<pad>")] == [0, 1, 2]
    assert TOKENIZER.encode("a file").ids[0] == BOS_ID
    assert BOS_ID not in TOKENIZER.encode("a file", add_special_tokens=False).ids
    assert TOKENIZER.get_vocab_size() == 4096


def test_the_tokenizer_spends_a_token_on_at_least_three_bytes_of_documentation() -> None:
    text = (FOLDER / "held-out.txt").read_text()
    assert len(text.encode()) / len(TOKENIZER.encode(text).ids) > 3


def test_weights_have_the_names_and_shapes_of_the_configuration() -> None:
    config = LlamaConfig.load(FOLDER / "config.json")
    with safe_open(FOLDER / "model.safetensors", framework="pt") as reader:
        found = {name: tuple(reader.get_slice(name).get_shape()) for name in reader.keys()}  # noqa: SIM118
        kinds = {reader.get_slice(name).get_dtype() for name in reader.keys()}  # noqa: SIM118
    assert found == expected_shapes(config)
    assert kinds == {"BF16"}
    assert sum(math.prod(shape) for shape in found.values()) == RECORD["parameters"]
    assert 2_000_000 <= RECORD["parameters"] <= 8_000_000
    assert (FOLDER / "model.safetensors").stat().st_size <= 16_000_000


def _sliced_loss(backbone: Backbone) -> float:
    stream = encode_stream(TOKENIZER, ((FOLDER / "held-out.txt").read_text(),))
    losses: list[torch.Tensor] = []
    with torch.no_grad():
        for inputs, targets in held_out_windows(stream, 512, 8):
            logits = backbone.forward(inputs).flatten(0, 1)
            losses.append(
                torch.nn.functional.cross_entropy(logits, targets.flatten(), reduction="none")
            )
    return torch.cat(losses).mean().item()


def test_the_serving_model_has_the_held_out_loss_of_the_card(backbone: Backbone) -> None:
    loss = _sliced_loss(backbone)
    assert loss == pytest.approx(RECORD["slice"]["nats_per_token"], abs=2e-3)
    assert f"{RECORD['slice']['nats_per_token']:.4f}" in (FOLDER / "MODEL_CARD.md").read_text()


def test_the_model_has_learnt_far_more_than_the_frequencies_of_tokens() -> None:
    assert RECORD["whole"]["nats_per_token"] < 3.5
    assert RECORD["whole"]["bits_per_byte"] < 1.5


def test_training_and_serving_compute_the_same_logits(backbone: Backbone) -> None:
    decoder = Decoder(DecoderConfig())
    with safe_open(FOLDER / "model.safetensors", framework="pt") as reader:
        decoder.load_state_dict({n: reader.get_tensor(n).float() for n in reader.keys()})  # noqa: SIM118
    ids = torch.tensor([TOKENIZER.encode("The file descriptor is closed when").ids])
    with torch.no_grad():
        assert torch.allclose(decoder(ids), backbone.forward(ids), atol=2e-4)


def test_a_prompt_is_continued_with_words(backbone: Backbone) -> None:
    ids = TOKENIZER.encode("If the file does not exist, the function").ids
    start = len(ids)
    with torch.no_grad():
        while len(ids) < start + 24:
            logits = backbone.forward(torch.tensor(ids))[-1]
            logits[EOS_ID] = -math.inf
            ids.append(int(logits.argmax()))
    words = TOKENIZER.decode(ids[start:]).split()
    known = set((FOLDER / "held-out.txt").read_text().lower().split())
    assert len(words) >= 12
    assert sum(word.lower() in known for word in words) >= len(words) / 2


def test_the_card_links_the_curve_and_states_seed_and_data() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text()
    assert "loss.svg" in card
    assert (FOLDER / "loss.svg").read_text().startswith("<svg")
    for fact in (str(RECORD["recipe"]["seed"]), "PostgreSQL", f"{RECORD['tokens_seen']:,}"):
        assert fact in card
