from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import byte_tokenizer

from inference.backbone.config import ModelReason, UnsupportedModel
from inference.backbone.tokenizer import IncrementalDecoder, Tokenizer

TOKENIZER = Tokenizer(byte_tokenizer(), (256,))


@given(st.text())
def test_pieces_of_a_stream_join_to_its_text_and_are_never_half_a_character(text: str) -> None:
    decoder = IncrementalDecoder(TOKENIZER)
    pieces = [decoder.push(token) for token in TOKENIZER.encode(text)]
    assert "".join(pieces) + decoder.finish() == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(0, 255), max_size=40))
def test_ids_that_are_no_utf8_lose_nothing(ids: list[int]) -> None:
    decoder = IncrementalDecoder(TOKENIZER)
    shown = "".join(decoder.push(token) for token in ids) + decoder.finish()
    assert shown == TOKENIZER.decode(ids)


def test_a_character_of_four_bytes_appears_with_its_last_byte() -> None:
    decoder = IncrementalDecoder(TOKENIZER)
    assert [decoder.push(token) for token in TOKENIZER.encode("🦀")] == ["", "", "", "🦀"]


def test_the_end_token_has_no_text() -> None:
    assert TOKENIZER.decode([*TOKENIZER.encode("a"), 256]) == "a"
    assert TOKENIZER.id_of("<|end|>") == 256
    assert TOKENIZER.size == 257


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text("{}")
    with pytest.raises(UnsupportedModel) as caught:
        Tokenizer.load(file)
    assert caught.value.reason is ModelReason.BAD_TOKENIZER
    with pytest.raises(UnsupportedModel) as caught:
        Tokenizer.load(tmp_path / "absent.json")
    assert caught.value.reason is ModelReason.MISSING_FILE
