"""A file of records is a batch, or it is refused by name and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli import record_lines
from node.cli.record_lines import LinesReason, LinesRefusal, parse_lines, read_records

SCHEMA = ("title", "text")


def lines(*values: object) -> bytes:
    return "\n".join(json.dumps(value) for value in values).encode()


def test_arrays_and_objects_give_the_same_records() -> None:
    data = lines(["a", "b\nc"], {"text": "d", "title": "e"})
    assert parse_lines(data, SCHEMA) == (("a", "b\nc"), ("e", "d"))


def test_blank_lines_windows_ends_and_a_mark_of_byte_order_do_no_harm() -> None:
    data = b"\xef\xbb\xbf" + lines(["a", "b"]) + b"\r\n\r\n\n" + lines(["c", "d"]) + b"\n"
    assert parse_lines(data, SCHEMA) == (("a", "b"), ("c", "d"))


def test_a_line_separator_inside_a_text_does_not_end_its_line() -> None:
    data = '["a", "b\u2028c\u0085d"]'.encode()
    assert parse_lines(data, SCHEMA) == (("a", "b\u2028c\u0085d"),)


@pytest.mark.parametrize(
    ("data", "reason", "line"),
    [
        (b"", LinesReason.EMPTY, None),
        (b"\n \n", LinesReason.EMPTY, None),
        (b'["a", "\xff"]', LinesReason.INVALID_UTF8, 1),
        (b'["a", "b"]\n["a"', LinesReason.NOT_JSON, 2),
        (b'"a"', LinesReason.NOT_JSON, 1),
        (b"[" * 100_000, LinesReason.NOT_JSON, 1),
        (b"9" * 5000, LinesReason.NOT_JSON, 1),
        (b'{"title": "a", "title": "b", "text": "c"}', LinesReason.NOT_JSON, 1),
        (b'["a"]', LinesReason.WRONG_SCHEMA, 1),
        (b'["a", "b", "c"]', LinesReason.WRONG_SCHEMA, 1),
        (b'["a", 5]', LinesReason.WRONG_SCHEMA, 1),
        (b'["a", null]', LinesReason.WRONG_SCHEMA, 1),
        (b'{"title": "a"}', LinesReason.WRONG_SCHEMA, 1),
        (b'{"title": "a", "text": "b", "more": "c"}', LinesReason.WRONG_SCHEMA, 1),
        (b'["a", "b"]\n["", "  "]', LinesReason.BAD_RECORD, 2),
        (b'["a", "\\ud800"]', LinesReason.BAD_RECORD, 1),
        (b'["a", "' + b"x" * 70_000 + b'"]', LinesReason.BAD_RECORD, 1),
    ],
    ids=lambda value: value.name if isinstance(value, LinesReason) else None,
)
def test_garbage_is_refused_by_name_and_line(
    data: bytes, reason: LinesReason, line: int | None
) -> None:
    with pytest.raises(LinesRefusal) as refused:
        parse_lines(data, SCHEMA)
    assert (refused.value.reason, refused.value.line) == (reason, line)


def test_a_batch_of_too_many_records_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_lines, "MAX_BATCH_RECORDS", 2)
    with pytest.raises(LinesRefusal) as refused:
        parse_lines(lines(*[["a", "b"]] * 3), SCHEMA)
    assert (refused.value.reason, refused.value.line) == (LinesReason.TOO_LARGE, 3)


def test_a_file_above_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_lines, "MAX_FILE_BYTES", 10)
    file = tmp_path / "records.jsonl"
    file.write_bytes(lines(["a", "b" * 20]))
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(LinesRefusal) as refused:
        read_records(file, SCHEMA)
    assert refused.value.reason is LinesReason.TOO_LARGE


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(LinesRefusal) as refused:
            read_records(path, SCHEMA)
        assert refused.value.reason is LinesReason.UNREADABLE


@given(st.binary(max_size=200))
def test_no_bytes_are_anything_but_records_or_a_refusal(data: bytes) -> None:
    try:
        records = parse_lines(data, SCHEMA)
    except LinesRefusal:
        return
    assert all(len(record) == 2 for record in records)
