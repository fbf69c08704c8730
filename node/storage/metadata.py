"""Version and metadata of every release of the rules that this node ever ran.

A block is read with the metadata of the rules that made it, also after an upgrade of the rules.
Records stand under the `spec_version`; they are written when the chain is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node.storage.layout import RULES, numbered
from node.storage.leveldb import Database
from runtime.primitives.scale import encode
from runtime.primitives.version import RuntimeVersion

_VERSION = b"v"


@dataclass(frozen=True, slots=True)
class RulesDescription:
    """What clients must know of the rules to read what they made.

    metadata: the blob of each version of the metadata, such as 14.
    """

    version: RuntimeVersion
    metadata: Mapping[int, bytes]


class RulesRecords:
    """The records in one database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def keep(self, rules: RulesDescription) -> None:
        """Write what is not there yet, or was different under the same number; synced."""
        prefix = numbered(RULES, rules.version.spec_version)
        records = {prefix + _VERSION: encode(RuntimeVersion, rules.version)}
        records |= {prefix + bytes((v,)): blob for v, blob in rules.metadata.items()}
        missing = [(k, record) for k, record in records.items() if self._db.get(k) != record]
        if missing:
            self._db.write(missing)

    def version(self, spec_version: int) -> bytes | None:
        """Read SCALE of the `RuntimeVersion` of rules; None where they never ran here."""
        return self._db.get(numbered(RULES, spec_version) + _VERSION)

    def metadata(self, spec_version: int, version: int) -> bytes | None:
        """Read metadata of rules in a version; None where it is not kept in that version."""
        if not 0 <= version < 1 << 8 or bytes((version,)) == _VERSION:
            return None
        return self._db.get(numbered(RULES, spec_version) + bytes((version,)))

    def metadata_versions(self, spec_version: int) -> tuple[int, ...]:
        """List the versions in which metadata of rules is kept, ascending."""
        keys = (key for key, _ in self._db.iterate(numbered(RULES, spec_version)))
        return tuple(key[-1] for key in keys if key[-1:] != _VERSION)

    def spec_versions(self) -> tuple[int, ...]:
        """List the rules that ran here, ascending."""
        keys = (key for key, _ in self._db.iterate(RULES))
        return tuple(int.from_bytes(k[1:5], "big") for k in keys if k[-1:] == _VERSION)
