"""The token corpus: the frozen records as one array of the model tokenizer's ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from inference.attribution.arrays import Int64s, UInt32s
from runtime.protocols import commitments
from runtime.protocols.commitments import CorpusLeaf
from runtime.protocols.ids import RecordId


@dataclass(frozen=True, slots=True)
class TokenCorpus:
    """Records by rising id, so that the first match is the one registered first."""

    record_ids: tuple[RecordId, ...]
    tokens: UInt32s
    offsets: Int64s
    """int64 [records + 1]: record i holds tokens[offsets[i]:offsets[i + 1]]."""

    def record_tokens(self, position: int) -> UInt32s:
        """Return the tokens of the record at a position, uint32 [length]."""
        return self.tokens[self.offsets[position] : self.offsets[position + 1]]


def build_corpus(record_ids: Sequence[RecordId], records: Sequence[Sequence[int]]) -> TokenCorpus:
    """Lay the token ids of the records end to end."""
    if len(record_ids) != len(records):
        raise ValueError("as many record ids as records are needed")
    if any(a >= b for a, b in pairwise(record_ids)):
        raise ValueError("record ids must rise strictly: sort the records by id")
    lengths = np.array([len(record) for record in records], dtype=np.int64)
    offsets = np.zeros(len(records) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    tokens = np.fromiter(
        (token for record in records for token in record), dtype=np.uint32, count=int(offsets[-1])
    )
    return TokenCorpus(tuple(record_ids), tokens, offsets)


def corpus_leaf(corpus: TokenCorpus, position: int) -> CorpusLeaf:
    """Return what a span's proof opens of the record at a position."""
    tokens = tuple(corpus.record_tokens(position).tolist())
    return CorpusLeaf(corpus.record_ids[position], tokens)


def corpus_root(corpus: TokenCorpus) -> bytes:
    """Compute the root that span proofs open."""
    return commitments.corpus_root(
        corpus_leaf(corpus, position) for position in range(len(corpus.record_ids))
    )
