"""The folder of logs: one process at a time, and a new log only where nothing was signed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from log_records import DOMAIN, enter, epoch_of, folder_at

from consensus.engine.folder import LogFolder
from consensus.engine.refusals import LogDamaged, SigningReason, SigningRefused

R = SigningReason


def reason_of(folder: LogFolder, number: int, **how: bool) -> SigningReason:
    with pytest.raises(SigningRefused) as caught:
        folder.enter(epoch_of(number), None, live=how.get("live", False))
    return caught.value.reason


def test_a_second_process_is_refused_by_name_of_the_folder(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from consensus.core.votes import VoteDomain
from consensus.engine.folder import LogFolder
LogFolder.open(Path(sys.argv[1]), VoteDomain(bytes(32), 0))
print("locked", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(SigningRefused, match=str(tmp_path)) as caught:
            folder_at(tmp_path)
        assert caught.value.reason is R.IN_USE
        other.kill()
    folder_at(tmp_path).close()


def test_a_missing_log_of_epoch_0_is_made_only_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, init_log=False)
    with pytest.raises(SigningRefused, match="--init-log"):
        enter(folder)
    assert folder.epochs() == []
    folder.close()
    folder = folder_at(tmp_path)
    assert enter(folder).fresh
    assert not enter(folder).fresh
    assert folder.epochs() == [0]


def test_a_missing_log_of_a_later_epoch_is_made_only_by_who_followed(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    assert reason_of(folder, 5) is R.NO_LOG
    assert folder.enter(epoch_of(5), None, live=True).fresh
    assert folder.epochs() == [5]


def test_no_log_is_made_below_the_log_of_a_later_epoch(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    enter(folder, 2)
    assert reason_of(folder, 1, live=True) is R.NO_LOG
    assert reason_of(folder, 0) is R.NO_LOG


def test_a_log_of_another_chain_fork_or_epoch_is_named(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    enter(folder)
    folder.close()
    for domain, reason in (
        (replace(DOMAIN, genesis_hash=bytes(32)), R.OTHER_CHAIN),
        (replace(DOMAIN, fork_id=4), R.OTHER_FORK),
    ):
        other = LogFolder.open(tmp_path, domain, init_log=True)
        assert reason_of(other, 0) is reason
        other.close()
    folder = folder_at(tmp_path)
    folder.log_path(0).rename(folder.log_path(1))
    assert reason_of(folder, 1) is R.OTHER_EPOCH
    enter_again = replace(epoch_of(0), start_hash=b"\1" * 32)
    folder.log_path(1).rename(folder.log_path(0))
    with pytest.raises(SigningRefused) as caught:
        folder.enter(enter_again, None, live=False)
    assert caught.value.reason is R.OTHER_EPOCH


def test_a_damaged_log_is_not_replaced(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    enter(folder)
    path = folder.log_path(0)
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    before = path.read_bytes()
    with pytest.raises(LogDamaged):
        enter(folder)
    with pytest.raises(LogDamaged):
        folder.enter(epoch_of(0), None, live=True)
    assert path.read_bytes() == before


def test_logs_are_deleted_once_their_epochs_are_over(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    for number in range(4):
        enter(folder, number)
    folder.delete(2)
    folder.delete(2)
    assert folder.epochs() == [3]
