"""Log lines: a constant phrase, then key=value pairs.

2026-11-21 00:12:03.118 INFO  serving    answered session=3 nonce=7 tokens=42 ms=310
"""

from __future__ import annotations

import logging
import sys
import time
from typing import IO

ROOT = "openledger"
ENGINE = "inference"
"""The rooms below the worker log plain sentences under their modules' names."""
SHORT = 32


class Log:
    """Writes phrases with fields under one target, such as `serving` or `committee`."""

    def __init__(self, target: str) -> None:
        self._logger = logging.getLogger(f"{ROOT}.{target}")

    def debug(self, phrase: str, **fields: object) -> None:
        """Tell a developer."""
        self._logger.debug(phrase, extra={"fields": fields})

    def info(self, phrase: str, **fields: object) -> None:
        """Tell who watches the worker."""
        self._logger.info(phrase, extra={"fields": fields})

    def warning(self, phrase: str, **fields: object) -> None:
        """Tell of something that needs attention soon."""
        self._logger.warning(phrase, extra={"fields": fields})

    def error(self, phrase: str, *, trace: bool = False, **fields: object) -> None:
        """Tell of something that failed; `trace` adds the exception that is being handled."""
        self._logger.error(phrase, extra={"fields": fields}, exc_info=trace)


class Formatter(logging.Formatter):
    """Formats a record as one line, and the lines of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = "WARN" if record.levelname == "WARNING" else record.levelname
        target = record.name.rpartition(".")[2]
        pairs = "".join(
            f" {key}={_told(value)}" for key, value in getattr(record, "fields", {}).items()
        )
        millis = int(record.msecs)
        line = f"{clock}.{millis:03d} {level:<5} {target:<10} {record.getMessage()}{pairs}"
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


def set_up(level: str = "info", stream: IO[str] | None = None) -> None:
    """Write logs of a level (error, warn, info, debug) and above to `stream`, stderr by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Formatter())
    for name in (ROOT, ENGINE):
        root = logging.getLogger(name)
        root.handlers = [handler]
        root.propagate = False
        root.setLevel({"warn": "WARNING"}.get(level, level.upper()))


def _told(value: object) -> str:
    if isinstance(value, bytes):
        text = value.hex()
        return f"0x{text}" if len(text) <= SHORT else f"0x{text[:8]}..{text[-4:]}"
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return repr(text) if " " in text or not text else text
