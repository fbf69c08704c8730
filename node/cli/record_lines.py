"""Records in a file of JSON Lines: per line an array of texts, or an object with field names.

["ls(1)", "list directory contents"]
{"page": "ls(1)", "text": "list directory contents"}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from runtime.primitives.errors import Refusal
from runtime.protocols.record_batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from runtime.protocols.records import Record, RecordRefusal, check_record

MAX_FILE_BYTES = 8 * MAX_BATCH_BYTES
"""JSON may write a byte of text as six (``\\u0041``), and adds names and punctuation."""


class LinesReason(Enum):
    """Why a file gives no records."""

    UNREADABLE = "the file cannot be read"
    TOO_LARGE = "split the file: a batch holds 65,536 records and 16 MiB"
    EMPTY = "the file holds no records"
    INVALID_UTF8 = "write the file in UTF-8"
    NOT_JSON = "write one JSON array or object per line"
    WRONG_SCHEMA = "give exactly the texts that the Datanet's schema names"
    BAD_RECORD = "the record breaks a limit"


class LinesRefusal(Refusal):
    """A file that is not a batch of records; `line` counts from 1."""

    def __init__(self, reason: LinesReason, detail: str = "", line: int | None = None) -> None:
        where = "" if line is None else f"line {line}: "
        super().__init__(reason, f"{where}{detail or reason.value}")
        self.reason: LinesReason = reason
        self.line = line


def read_records(path: Path, schema: Sequence[str]) -> tuple[Record, ...]:
    """Read and check a file's records; raises LinesRefusal."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise LinesRefusal(
                LinesReason.TOO_LARGE, f"{size} bytes; {LinesReason.TOO_LARGE.value}"
            )
        data = path.read_bytes()
    except OSError as error:
        raise LinesRefusal(LinesReason.UNREADABLE, f"{path}: {error.strerror}") from error
    return parse_lines(data, schema)


def parse_lines(data: bytes, schema: Sequence[str]) -> tuple[Record, ...]:
    """Parse and check records; blank lines count for nothing. Raises LinesRefusal."""
    records: list[Record] = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not raw.strip():
            continue
        if len(records) == MAX_BATCH_RECORDS:
            raise LinesRefusal(LinesReason.TOO_LARGE, line=number)
        record = _record(_value(raw, number), schema, number)
        try:
            check_record(record, len(schema))
        except RecordRefusal as refusal:
            raise LinesRefusal(LinesReason.BAD_RECORD, str(refusal), number) from refusal
        records.append(record)
    if not records:
        raise LinesRefusal(LinesReason.EMPTY)
    return tuple(records)


def _value(raw: bytes, line: int) -> object:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise LinesRefusal(LinesReason.INVALID_UTF8, str(error), line) from error
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise LinesRefusal(LinesReason.NOT_JSON, "nested too deeply", line) from error
    except ValueError as error:
        raise LinesRefusal(LinesReason.NOT_JSON, str(error), line) from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _record(value: object, schema: Sequence[str], line: int) -> Record:
    expected = ", ".join(schema)
    if isinstance(value, dict):
        if set(value) != set(schema):
            found = ", ".join(sorted(map(str, value))) or "none"
            raise LinesRefusal(
                LinesReason.WRONG_SCHEMA, f"its names are {found}; expected are {expected}", line
            )
        value = [value[name] for name in schema]
    if not isinstance(value, list):
        raise LinesRefusal(LinesReason.NOT_JSON, line=line)
    if len(value) != len(schema):
        raise LinesRefusal(
            LinesReason.WRONG_SCHEMA, f"{len(value)} texts; expected are {expected}", line
        )
    texts = [text for text in value if isinstance(text, str)]
    if len(texts) != len(value):
        raise LinesRefusal(LinesReason.WRONG_SCHEMA, "every field is a text in quotes", line)
    return tuple(texts)
