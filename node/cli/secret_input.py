"""Secrets that are typed unseen or piped in, so that no other program sees them."""

from __future__ import annotations

import getpass
import sys

from node.errors import NodeError


def read_secret() -> str:
    """Read a phrase, seed or URI: typed unseen, or the first line of what is piped in.

    Nothing is no secret: as a URI it would be the development phrase, whose accounts everybody
    can empty.
    """
    typed = sys.stdin.isatty()
    line = getpass.getpass("Phrase, seed or secret URI: ") if typed else sys.stdin.readline()
    if not line.strip():
        raise NodeError("no secret was given: type it, or pipe it in as one line")
    return line.strip()
