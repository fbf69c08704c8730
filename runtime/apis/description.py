"""What the runtime tells about itself: its metadata, its version with the APIs that it offers."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from runtime.construct import PALLETS
from runtime.frame.metadata import VERSIONS, Description, describe
from runtime.frame.metadata_schema import encode_metadata
from runtime.frame.runtime_api import RuntimeApi, api_id
from runtime.primitives.errors import InvariantViolation
from runtime.primitives.version import offer_apis

CRATE = "openledger_runtime"
_OFFERED: list[type[RuntimeApi]] = []


def offer(apis: Sequence[type[RuntimeApi]]) -> None:
    """Name the runtime APIs; done once, where they are listed."""
    _OFFERED[:] = apis
    offer_apis((api_id(api), api.VERSION) for api in apis)
    _described.cache_clear()
    metadata.cache_clear()


@functools.cache
def metadata(version: int) -> bytes | None:
    """Return the runtime's metadata in one of `VERSIONS`, None in another one."""
    if version not in VERSIONS:
        return None
    return encode_metadata(_described().at_version(version))


@functools.cache
def _described() -> Description:
    if not _OFFERED:
        raise InvariantViolation("the runtime's APIs are not listed yet; import runtime.api")
    return describe(PALLETS, _OFFERED, CRATE)
