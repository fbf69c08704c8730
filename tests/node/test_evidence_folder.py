"""Evidence on the disk."""

from __future__ import annotations

from pathlib import Path

from consensus.core.evidence import Evidence, evidence_of
from consensus.core.messages import Vote
from node.evidence import EvidenceFolder


def contradiction(view: int) -> Evidence:
    votes = [Vote(0, 5, view, 0, 1, bytes([n]) * 32, 2, bytes(64)) for n in (1, 2)]
    found = evidence_of(*votes)
    assert found is not None
    return found


def test_evidence_is_kept_once_and_read_again(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path / "evidence")
    assert folder.all() == []
    for view in (3, 4, 3):
        folder.keep(contradiction(view))
    assert EvidenceFolder(tmp_path / "evidence").all() == [contradiction(3), contradiction(4)]


def test_files_that_hold_something_else_are_left_out(tmp_path: Path) -> None:
    folder = EvidenceFolder(tmp_path)
    folder.keep(contradiction(3))
    (tmp_path / "e0-v1-p0-E1").write_bytes(b"nonsense")
    (tmp_path / "readme").write_text("text")
    assert folder.all() == [contradiction(3)]


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = EvidenceFolder(tmp_path / "file" / "below")
    folder.keep(contradiction(3))
