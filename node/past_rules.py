"""Runtime calls about rules that this release does not have: what they were, from the records."""

from __future__ import annotations

from node.storage.metadata import RulesRecords
from runtime.frame.runtime_api import ApiArgumentError, OtherRules
from runtime.primitives.scale import U32, DecodeError, decode, encode

DEFAULT_METADATA = 14


class PastRules:
    """Answers `Core_version` and `Metadata_*` for states of other rules; refuses all else."""

    def __init__(self, records: RulesRecords) -> None:
        self._records = records

    def call(self, state_of: OtherRules, method: str, data: bytes) -> bytes:
        """Answer a call on a state of other rules.

        Raises OtherRules with what is missing, ApiArgumentError.
        """
        spec_version = state_of.spec_version
        version = None if spec_version is None else self._records.version(spec_version)
        if spec_version is None or version is None:
            known = ", ".join(map(str, self._records.spec_versions()))
            raise OtherRules(
                spec_version,
                f"{state_of}; neither version nor metadata of those rules is kept, because this "
                f"node never ran them (kept: {known}); ask a node that did",
            )
        if method == "Core_version":
            return version
        if method == "Metadata_metadata":
            return encode(bytes, self._metadata(state_of, spec_version, DEFAULT_METADATA))
        if method == "Metadata_metadata_at_version":
            wanted = _decode_version(data)
            return encode(bytes | None, self._records.metadata(spec_version, wanted))
        if method == "Metadata_metadata_versions":
            return encode(tuple[U32, ...], self._records.metadata_versions(spec_version))
        raise OtherRules(
            spec_version,
            f"{state_of}; {method} would execute those rules; Core_version and Metadata_* are "
            "answered, and storage can be read with that metadata; for other calls ask a node of "
            "the release with those rules",
        )

    def _metadata(self, state_of: OtherRules, spec_version: int, version: int) -> bytes:
        blob = self._records.metadata(spec_version, version)
        if blob is None:
            raise OtherRules(spec_version, f"{state_of}; metadata {version} of it is not kept")
        return blob


def _decode_version(data: bytes) -> int:
    try:
        wanted: int = decode(U32, data)
    except DecodeError as error:
        raise ApiArgumentError(str(error)) from error
    return wanted
