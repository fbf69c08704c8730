"""`Core`: which rules these are."""

from __future__ import annotations

from runtime.apis.base import StateApi
from runtime.frame.runtime_api import api_method
from runtime.primitives.version import RuntimeVersion, offered_version


class Core(StateApi, version=5):
    """Which rules execute the blocks."""

    @api_method
    def version(self) -> RuntimeVersion:
        """Return the version of the rules that execute the next block."""
        return offered_version()
