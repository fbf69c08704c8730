"""Which failures a person can mend: those are told in a line, all others with their traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from node.client.errors import ClientError
from runtime.primitives.errors import Refusal


def told(error: BaseException) -> str | None:
    """Return one line for the person at the terminal; None where a traceback says more."""
    if isinstance(error, BaseExceptionGroup):
        texts = {told(inner) for inner in error.exceptions}
        return None if None in texts else "; ".join(sorted(text for text in texts if text))
    return str(error) if isinstance(error, Refusal | ClientError) else None


def exit_status(command: Callable[[], object]) -> int:
    """Run a command; tell a failure that can be mended on stderr. Returns 0, or 1 for a failure."""
    try:
        command()
    except Exception as error:
        text = told(error)
        if text is None:
            raise
        sys.stderr.write(f"openledger: {text}\n")
        return 1
    return 0
