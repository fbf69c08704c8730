"""Small notes on the node's disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.offchain import MOST_BYTES, MOST_ENTRIES, Notes, NotesReason, NotesRefusal


def test_a_note_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "chain" / "notes.json"
    Notes(path).set(b"key", b"value")
    again = Notes(path)
    assert again.get(b"key") == b"value"
    again.clear(b"key")
    again.clear(b"key")
    assert Notes(path).get(b"key") is None


def test_notes_are_bounded(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes.json")
    with pytest.raises(NotesRefusal) as refusal:
        notes.set(b"", bytes(MOST_BYTES + 1))
    assert refusal.value.reason is NotesReason.FULL
    (tmp_path / "notes.json").write_text(
        "{" + ",".join(f'"{n:04x}": ""' for n in range(MOST_ENTRIES)) + "}"
    )
    full = Notes(tmp_path / "notes.json")
    full.set(b"\x00\x01", b"replaced")
    with pytest.raises(NotesRefusal):
        full.set(b"one more", b"")
    assert full.get(b"one more") is None


@pytest.mark.parametrize("garbage", ["", "[]", '{"zz": ""}', '{"00": 1}', "\xff"])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, garbage: str) -> None:
    path = tmp_path / "notes.json"
    path.write_text(garbage, encoding="latin-1")
    with pytest.raises(NotesRefusal) as refusal:
        Notes(path).set(b"key", b"value")
    assert refusal.value.reason is NotesReason.UNREADABLE
    assert path.read_text(encoding="latin-1") == garbage
