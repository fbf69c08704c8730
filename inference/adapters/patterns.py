"""Regular expressions of strangers, run in linear time (RE2) with the meaning that Python gives.

PEFT runs them with Python's `re`, which can take for ever. RE2 takes what is a regular expression
in the strict sense; what the two would read differently is refused.
"""

from __future__ import annotations

import re
from typing import Any

import re2

from inference.adapters.errors import AdapterReason, AdapterRefused

MAX_LENGTH = 1024

DIFFERENT = re.compile(
    r"\\[^\W_](?<!\\[dDwWsSbB])"  # escapes of letters and digits that only one of them knows
    r"|\(\?(?!:|P<)"  # flags, lookaround, comments
    r"|\{,"  # {,n}: at most n, or these characters
    r"|\[\^?[\[\]]"  # POSIX classes, a bracket as first member
    r"|\[:|&&|--|~~|\|\|"  # set operations
)


class Pattern:
    """One compiled expression.

    Raises:
        AdapterRefused: BAD_PATTERN with the option's name and the expression.
    """

    def __init__(self, option: str, text: str) -> None:
        problem = _problem(text)
        if problem is not None:
            raise AdapterRefused(AdapterReason.BAD_PATTERN, f"{option} = {text[:200]!r}: {problem}")
        options = re2.Options()
        options.log_errors = False
        try:
            self._compiled: Any = re2.compile(text, options)
        except re2.error as error:
            raise AdapterRefused(
                AdapterReason.BAD_PATTERN, f"{option} = {text[:200]!r} is not taken by RE2: {error}"
            ) from error

    def whole(self, name: str) -> bool:
        """Whether the expression matches all of a name."""
        return self._compiled.fullmatch(name) is not None

    def start(self, name: str) -> bool:
        """Whether it matches at the start of a name."""
        return self._compiled.match(name) is not None

    def group(self, name: str, group: str) -> str | None:
        """Return what a named group holds in a match at the start; None without a match."""
        found = self._compiled.match(name)
        return None if found is None else found.groupdict().get(group)


def _problem(text: str) -> str | None:
    if len(text) > MAX_LENGTH:
        return f"more than {MAX_LENGTH} characters"
    if not text.isascii():
        return "names of modules are ASCII"
    different = DIFFERENT.search(text)
    if different is not None:
        return f"{different[0]!r} is not taken; list module names instead"
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        return str(error)
    return None
