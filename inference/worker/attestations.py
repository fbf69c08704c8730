"""What seats of this worker committed to, kept until it is revealed."""

from __future__ import annotations

from inference.worker.book_file import BookFile
from runtime.primitives.scale import decode, encode
from runtime.protocols.committee import Attestation


class Attestations:
    """One for each batch; callable from any thread."""

    def __init__(self, file: BookFile) -> None:
        self._file = file

    def keep(self, batch: int, attestation: Attestation) -> Attestation:
        """Keep what a seat will commit to; returns the one that is kept, the first."""
        with self._file.transaction() as rows:
            rows.execute(
                "INSERT OR IGNORE INTO attestations VALUES (?, ?)",
                (batch, encode(Attestation, attestation)),
            )
        return self.find(batch) or attestation

    def find(self, batch: int) -> Attestation | None:
        """Return what was kept for a batch."""
        with self._file.reading() as rows:
            row = rows.execute(
                "SELECT value FROM attestations WHERE batch = ?", (batch,)
            ).fetchone()
        if row is None:
            return None
        found: Attestation = decode(Attestation, row[0])
        return found
