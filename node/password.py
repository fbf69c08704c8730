"""Where the password of the keystore comes from: a file, or the person at the terminal."""

from __future__ import annotations

import getpass
import sys
from enum import Enum
from pathlib import Path

from runtime.primitives.errors import Refusal


class PasswordReason(Enum):
    """Why there is no password."""

    NO_TERMINAL = "there is no terminal to ask at; name the password's file: --password-filename"
    UNREADABLE = "the password file cannot be read as text"
    EMPTY = "the password is empty"
    NOT_REPEATED = "the two passwords differ; try again"


class PasswordError(Refusal):
    """No password was given."""

    def __init__(self, reason: PasswordReason) -> None:
        super().__init__(reason, reason.value)
        self.reason: PasswordReason = reason


def read_password(file: Path | None, *, new: bool = False) -> str:
    """Return the first line of `file`, or what is typed unseen at the terminal.

    A `new` password is asked for twice. Raises PasswordError.
    """
    password = _ask(new=new) if file is None else _first_line(file)
    if not password:
        raise PasswordError(PasswordReason.EMPTY)
    return password


def _first_line(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as lines:
            return lines.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordError(PasswordReason.UNREADABLE) from error


def _ask(*, new: bool) -> str:
    # Without a terminal getpass would read, and echo, whatever stdin is.
    if not sys.stdin.isatty():
        raise PasswordError(PasswordReason.NO_TERMINAL)
    password = getpass.getpass("Keystore password: ")
    if new and getpass.getpass("Again: ") != password:
        raise PasswordError(PasswordReason.NOT_REPEATED)
    return password
