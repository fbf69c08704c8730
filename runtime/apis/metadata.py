"""`Metadata`: what wallets must know to read and sign for this runtime."""

from __future__ import annotations

from runtime.apis.arguments import OpaqueMetadata
from runtime.apis.base import StateApi
from runtime.apis.description import metadata
from runtime.frame.metadata import VERSIONS
from runtime.frame.runtime_api import api_method
from runtime.primitives.errors import InvariantViolation
from runtime.primitives.scale import U32

DEFAULT_VERSION = 14
"""What clients expect that ask for metadata without naming a version."""


class Metadata(StateApi, version=2):
    """What wallets must know to read and sign for this runtime."""

    @api_method
    def metadata(self) -> OpaqueMetadata:
        """Return the metadata in version 14."""
        found = self.metadata_at_version(DEFAULT_VERSION)
        if found is None:
            raise InvariantViolation(f"metadata of version {DEFAULT_VERSION} is not made")
        return found

    @api_method
    def metadata_at_version(self, version: U32) -> OpaqueMetadata | None:
        """Return the metadata in one of `metadata_versions`, nothing in another version."""
        blob = metadata(version)
        return None if blob is None else OpaqueMetadata(blob)

    @api_method
    def metadata_versions(self) -> tuple[U32, ...]:
        """Return the versions in which the metadata can be had."""
        return VERSIONS
