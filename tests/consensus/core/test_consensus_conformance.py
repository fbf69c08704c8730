"""The byte formats of the agreement are those that were approved."""

from __future__ import annotations

import json

import pytest
from consensus_conformance import VECTORS, vectors

PINNED = json.loads(VECTORS.read_text())
NOW = vectors()


def test_every_format_is_pinned_and_every_pin_has_a_format() -> None:
    assert NOW.keys() == PINNED.keys()


@pytest.mark.parametrize("name", sorted(PINNED))
def test_the_format_is_the_approved_one(name: str) -> None:
    assert NOW[name] == PINNED[name]
