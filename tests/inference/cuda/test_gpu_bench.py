"""The GPU bench runs from end to end on a processor, with tiny shapes and the kernels' twins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benches.openlora_gpu import PARTS, keep_section, main
from benches.openlora_gpu_shapes import (
    POPULARITIES,
    adapter_bytes,
    group_sizes,
    model_config,
    percentiles,
)


@pytest.mark.parametrize("part", [name for name in PARTS if not name.endswith("-1b")])
def test_each_part_prints_its_table(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "figures.md"
    options = ["--device", "cpu", "--tiny", "--only", part, "--write", str(target)]
    monkeypatch.setattr(sys, "argv", ["openlora_gpu", *options])
    assert main() == 0
    printed = capsys.readouterr().out
    assert f"## {part}" in printed
    assert f"## {part}" in target.read_text()
    if part == "determinism":
        assert "| all | | 1 | 1 |" in printed


def test_popularities_are_those_of_punica() -> None:
    for popularity in POPULARITIES:
        for rows in range(1, 65):
            sizes = group_sizes(popularity, rows)
            assert sum(sizes) == rows
            assert min(sizes) > 0
    assert group_sizes("uniform", 64) == [8] * 8
    assert group_sizes("uniform", 7) == [3, 2, 2]
    assert group_sizes("zipf", 64) == [17, 17, 11, 7, 5, 3, 2, 1, 1]
    assert group_sizes("identical", 5) == [5]
    assert group_sizes("distinct", 3) == [1, 1, 1]


def test_the_floor_of_an_adapter_counts_both_factors_of_every_layer() -> None:
    assert adapter_bytes(model_config("8b"), 16) == 2 * 2_621_440 * 16


def test_percentiles() -> None:
    times = percentiles([float(n) for n in range(1, 201)])
    assert times.median == 100.5
    assert times.p99 == 199.0


def test_a_part_replaces_its_older_self_in_the_file(tmp_path: Path) -> None:
    target = tmp_path / "figures.md"
    keep_section(target, "# Title\n", "one", "first\n")
    keep_section(target, "# Title\n", "two", "second\n")
    keep_section(target, "# Title\n", "one", "third\n")
    assert target.read_text() == "# Title\n\n## two\n\nsecond\n\n## one\n\nthird\n"
