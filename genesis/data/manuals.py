"""Render Unix manual pages to HTML trees with mandoc."""

import gzip
import re
import subprocess
from pathlib import Path

from genesis.data.markup import Node, parse
from genesis.data.sources import PACKAGES, unpack

_COPYLEFT = ("general public license", "free documentation license", "free software foundation")


def source_of(page: Path) -> str:
    """Return a page's roff source."""
    raw = gzip.decompress(page.read_bytes()) if page.suffix == ".gz" else page.read_bytes()
    return raw.decode("utf-8", errors="replace")


def is_permissive(source: str) -> bool:
    """Tell whether a page's source names none of the copyleft licences, not even in comments."""
    unmarked = re.sub(r"""(?m)^[.']\\?["#]*""", " ", source.lower())
    lowered = " ".join(unmarked.split())
    return not any(name in lowered for name in _COPYLEFT)


def render(page: Path, cache: Path) -> Node:
    """Return the page as a tree; Debian's mandoc of the pinned version does the rendering."""
    binary = unpack(PACKAGES["mandoc"], cache) / "usr/bin/mandoc"
    command = [str(binary), "-T", "html", "-O", "fragment", str(page)]
    answer = subprocess.run(command, check=False, capture_output=True)
    return parse(answer.stdout.decode("utf-8", errors="replace"))
