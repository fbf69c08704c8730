"""The log of an epoch: what was synced is there, a torn end is cut, damage is never guessed at."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from log_records import F, N, S, opened, own_vote, proof, some_records, subject

from consensus.core.records import EpochOpened, Floor, OwnVote, Record
from consensus.engine import wal
from consensus.engine.refusals import LogDamaged, LogFailed
from consensus.engine.wal import MAGIC, EpochLog, frame

DESCRIPTORS = Path("/proc/self/fd")


def written(path: Path, records: list[Record]) -> bytes:
    log = EpochLog.make(path, opened())
    for record in records:
        log.append(record)
    log.sync()
    log.close()
    return path.read_bytes()


def read(path: Path) -> list[Record]:
    log, records = EpochLog.open(path)
    log.close()
    return list(records)


def test_what_was_synced_is_read_again_in_order(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    written(path, some_records())
    assert read(path) == [opened(), *some_records()]


def test_what_was_not_synced_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    log = EpochLog.make(path, opened())
    log.append(own_vote(subject(N, 1)))
    log.sync()
    log.append(own_vote(subject(S, 2)))
    log.close()
    assert read(path) == [opened(), own_vote(subject(N, 1))]


def test_a_record_torn_at_any_byte_is_cut_off_and_writing_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    records = some_records()
    data = written(path, records)
    last = len(data) - len(frame(records[-1]))
    for end in range(last, len(data)):
        path.write_bytes(data[:end])
        log, found = EpochLog.open(path)
        assert list(found) == [opened(), *records[:-1]]
        assert path.stat().st_size == last == log.size
        log.append(records[-1])
        log.sync()
        log.close()
        assert path.read_bytes() == data


def test_a_last_record_with_a_wrong_byte_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    records = some_records()
    data = written(path, records)
    last = len(data) - len(frame(records[-1]))
    for place in range(last, len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        assert read(path) == [opened(), *records[:-1]]


def test_a_wrong_byte_anywhere_else_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    records = some_records()
    data = written(path, records)
    last = len(data) - len(frame(records[-1]))
    for place in range(last):
        for flip in (1, 0x80):
            damaged = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
            path.write_bytes(damaged)
            with pytest.raises(LogDamaged):
                EpochLog.open(path)
            assert path.read_bytes() == damaged, "a damaged log is evidence: it stays"


def test_zeros_behind_the_end_are_a_torn_record(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    data = written(path, some_records())
    path.write_bytes(data + bytes(4096))
    assert read(path) == [opened(), *some_records()]
    assert path.read_bytes() == data


def test_a_file_without_its_epoch_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    misplaced = MAGIC + frame(opened()) + frame(opened())
    for data in (b"", MAGIC, MAGIC[:-1], MAGIC + frame(own_vote(subject(N, 1))), misplaced):
        path.write_bytes(data)
        with pytest.raises(LogDamaged):
            EpochLog.open(path)


def test_a_sound_record_of_an_unknown_type_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    data = written(path, [])
    body = b"\x09later"
    head = len(body).to_bytes(4, "little") + wal.crc32c(body).to_bytes(4, "little")
    path.write_bytes(data + head + body)
    with pytest.raises(LogDamaged, match="unknown record"):
        EpochLog.open(path)


def test_compaction_keeps_every_vote_above_the_final_view(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    log = EpochLog.make(path, opened())
    for record in some_records():
        log.append(record)
    final = proof(subject(F, 1))
    log.compact(final)
    kept = [opened(), Floor(final), *some_records()[4:]]
    assert log.size == path.stat().st_size
    later = own_vote(subject(S, 4))
    log.append(later)
    log.sync()
    assert read(path) == [*kept, later]
    log.compact(proof(subject(F, 3)))
    log.close()
    assert read(path) == [opened(), Floor(proof(subject(F, 3))), later]


def test_compaction_never_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    log = EpochLog.make(path, opened())
    log.compact(proof(subject(F, 3)))
    log.compact(proof(subject(F, 1)))
    log.close()
    assert read(path) == [opened(), Floor(proof(subject(F, 3)))]


def test_a_full_disk_is_told_and_nothing_is_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "epoch-0.log"
    log = EpochLog.make(path, opened())
    log.append(own_vote(subject(N, 1)))
    real = os.write

    def full(file: int, data: bytes) -> int:
        real(file, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wal.os, "write", full)
    with pytest.raises(LogFailed, match="No space"):
        log.sync()
    monkeypatch.undo()
    with pytest.raises(LogFailed):
        log.sync()
    with pytest.raises(LogFailed):
        log.append(own_vote(subject(N, 1)))
    log.close()
    assert read(path) == [opened()]


def test_a_log_that_cannot_be_opened_again_closes_no_file_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "epoch-0.log"
    log = EpochLog.make(path, opened())
    real = os.open

    def none_left(file: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_APPEND:
            raise OSError(24, "Too many open files")
        return real(file, flags, mode)

    monkeypatch.setattr(wal.os, "open", none_left)
    with pytest.raises(LogFailed, match="Too many open files"):
        log.compact(proof(subject(F, 3)))
    monkeypatch.undo()
    others = os.open(path, os.O_RDONLY)
    log.close()
    os.fstat(others)
    os.close(others)
    assert read(path) == [opened(), Floor(proof(subject(F, 3)))]


def test_a_log_that_cannot_be_cut_off_is_told_and_left_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "epoch-0.log"
    data = written(path, some_records())
    path.write_bytes(data + bytes(9))
    held = {entry.name for entry in DESCRIPTORS.iterdir()}

    def failing(_file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(wal.os, "fsync", failing)
    with pytest.raises(LogFailed, match="Input/output"):
        EpochLog.open(path)
    monkeypatch.undo()
    assert {entry.name for entry in DESCRIPTORS.iterdir()} == held
    assert read(path) == [opened(), *some_records()]


def test_a_crash_at_any_boundary_keeps_every_vote_that_was_shown(tmp_path: Path) -> None:
    path, copy = tmp_path / "epoch-0.log", tmp_path / "copy.log"
    log = EpochLog.make(path, opened())
    shown: list[Record] = []
    for view in range(1, 6):
        for what in (subject(N, view), subject(F, view)):
            vote = own_vote(what)
            log.append(vote)
            shutil.copy(path, copy)
            assert {r for r in read(copy) if isinstance(r, OwnVote)} >= set(shown)
            log.sync()
            shown.append(vote)
            shutil.copy(path, copy)
            assert read(copy) == [opened(), *shown]
    log.close()


def test_a_log_is_not_made_over_another(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0.log"
    EpochLog.make(path, opened()).close()
    with pytest.raises(FileExistsError):
        EpochLog.make(path, opened())
    assert [type(record) for record in read(path)] == [EpochOpened]
