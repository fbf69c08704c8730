"""Readable logs: a constant phrase, then key=value pairs; colours where a terminal reads.

2026-11-21 00:12:03.118 INFO  chain  block finalised number=17 hash=0x1f2e..9c0d ms=4
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import IO

ROOT = "openledger"
LEVELS = ("error", "warn", "info", "debug", "trace")
_COLOURS = {"ERROR": "31", "WARN": "33", "INFO": "32", "DEBUG": "36"}
_NAMES = {"WARNING": "WARN", "CRITICAL": "ERROR"}
SHORT_HASH = 32


class Log:
    """Writes phrases with fields under one target, such as `chain` or `pool`."""

    def __init__(self, target: str) -> None:
        self._logger = logging.getLogger(f"{ROOT}.{target}")

    def debug(self, phrase: str, **fields: object) -> None:
        """Tell a developer."""
        self._write(logging.DEBUG, phrase, fields)

    def info(self, phrase: str, **fields: object) -> None:
        """Tell who watches the node."""
        self._write(logging.INFO, phrase, fields)

    def warning(self, phrase: str, **fields: object) -> None:
        """Tell of something that needs attention soon."""
        self._write(logging.WARNING, phrase, fields)

    def error(self, phrase: str, **fields: object) -> None:
        """Tell of something that stops the node or a part of it."""
        self._write(logging.ERROR, phrase, fields)

    def fault(self, phrase: str, error: BaseException, **fields: object) -> None:
        """Tell of a bug that was survived, with its traceback."""
        self._logger.error(phrase, exc_info=error, extra={"fields": fields})

    def _write(self, level: int, phrase: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, phrase, extra={"fields": fields})


class Formatter(logging.Formatter):
    """Formats a record as one line (and the lines of a traceback)."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = _NAMES.get(record.levelname, record.levelname)
        target = record.name.removeprefix(f"{ROOT}.")
        fields = getattr(record, "fields", {})
        pairs = "".join(f" {self._dim(key + '=')}{_told(value)}" for key, value in fields.items())
        line = (
            f"{clock}.{int(record.msecs):03d} {self._paint(f'{level:<5}', level)} "
            f"{target:<10} {record.getMessage()}{pairs}"
        )
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line

    def _paint(self, text: str, level: str) -> str:
        return f"\033[{_COLOURS.get(level, '0')}m{text}\033[0m" if self._colours else text

    def _dim(self, text: str) -> str:
        return f"\033[2m{text}\033[0m" if self._colours else text


def _told(value: object) -> str:
    if isinstance(value, bytes):
        text = value.hex()
        return f"0x{text}" if len(text) <= SHORT_HASH else f"0x{text[:8]}..{text[-4:]}"
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return repr(text) if " " in text or not text else text


def set_up(filters: str = "info", stream: IO[str] | None = None) -> None:
    """Write logs to `stream`, stderr by default.

    `filters` as for `levels`; raises ValueError for an unknown level.
    """
    chosen = levels(filters)
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    colours = stream.isatty() and "NO_COLOR" not in os.environ
    handler.setFormatter(Formatter(colours=colours))
    root = logging.getLogger(ROOT)
    root.handlers = [handler]
    root.propagate = False
    root.setLevel(logging.INFO)
    for name, level in chosen.items():
        logging.getLogger(name).setLevel(level)


def add_filters(filters: str) -> None:
    """Change levels while the node runs; raises ValueError for an unknown level."""
    for name, level in levels(filters).items():
        _before.setdefault(name, logging.getLogger(name).level)
        logging.getLogger(name).setLevel(level)


def reset_filters() -> None:
    """Undo what `add_filters` changed."""
    while _before:
        name, level = _before.popitem()
        logging.getLogger(name).setLevel(level)


_before: dict[str, int] = {}
"""Levels from before they were changed, by the name of a logger."""


def levels(filters: str) -> dict[str, int]:
    """Read a level, or pairs of target and level, such as `info,pool=debug,rpc=warn`.

    Returns levels by the name of a logger. Raises ValueError for an unknown level.
    """
    chosen = {}
    for part in filter(None, filters.split(",")):
        target, _, level = part.rpartition("=")
        chosen[f"{ROOT}.{target}" if target else ROOT] = _level(level)
    return chosen


def _level(name: str) -> int:
    if name.lower() not in LEVELS:
        raise ValueError(f"{name!r} is not a log level; levels are {', '.join(LEVELS)}")
    return {"warn": logging.WARNING, "trace": logging.DEBUG}.get(
        name.lower(), logging.getLevelNamesMapping().get(name.upper(), logging.INFO)
    )
