"""PEFT folders whose files are not what they seem."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import tiny_adapter

from inference.adapters.errors import AdapterReason, AdapterRefused
from inference.adapters.peft import CONFIG, MAX_CONFIG, TENSORS, load_peft, save_peft
from inference.backbone.model import Backbone


def deep(folder: Path) -> None:
    (folder / CONFIG).write_text("[" * 100_000)


def long(folder: Path) -> None:
    (folder / CONFIG).write_text(" " * (MAX_CONFIG + 1))


def endless(folder: Path) -> None:
    (folder / CONFIG).unlink()
    (folder / CONFIG).symlink_to("/dev/zero")


def pipe(folder: Path) -> None:
    (folder / TENSORS).unlink()
    os.mkfifo(folder / TENSORS)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (deep, AdapterReason.UNREADABLE),
        (long, AdapterReason.TOO_LARGE),
        (endless, AdapterReason.UNREADABLE),
        (pipe, AdapterReason.UNREADABLE),
    ],
)
def test_files_that_cannot_be_read_are_refused(
    backbone: Backbone, tmp_path: Path, spoil: Callable[[Path], None], reason: AdapterReason
) -> None:
    save_peft(tiny_adapter(backbone), tmp_path, "tiny")
    spoil(tmp_path)
    with pytest.raises(AdapterRefused) as caught:
        load_peft(tmp_path, backbone)
    assert caught.value.reason is reason
