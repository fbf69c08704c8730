"""Evidence against validators: kept on the disk, told in the log."""

from __future__ import annotations

from pathlib import Path

from consensus.core.evidence import Evidence, EvidenceKind, decode_evidence, encode_evidence
from node.log import Log
from runtime.primitives.scale import DecodeError

_log = Log("consensus")
MOST = 4096
"""So many pieces are kept; the chain itself decides what they are worth."""


class EvidenceFolder:
    """One file per offender, epoch, view and kind: the SCALE bytes of the two votes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, evidence: Evidence) -> None:
        """Write a piece of evidence down, once."""
        first = evidence.first
        kind = EvidenceKind(evidence.kind)
        _log.warning(
            "validator contradicted itself",
            kind=kind.name,
            epoch=first.epoch,
            view=first.view,
            position=first.signer,
        )
        name = f"e{first.epoch}-v{first.view}-p{first.signer}-E{kind.value}"
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            path = self._path / name
            if not path.exists() and sum(1 for _ in self._path.iterdir()) < MOST:
                path.write_bytes(encode_evidence(evidence))
        except OSError as error:
            _log.warning("evidence could not be kept", error=error)

    def all(self) -> list[Evidence]:
        """Read what is kept, by name; files that hold something else are left out."""
        found = []
        for path in sorted(self._path.glob("e*-v*-p*-E*")) if self._path.exists() else []:
            try:
                found.append(decode_evidence(path.read_bytes()))
            except (DecodeError, OSError):
                continue
        return found
