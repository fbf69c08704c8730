"""Exact scores of every record, at a good part of memory bandwidth.

A byte of codes has 256 values, so a query turns each byte column into a table of partial dot
products; a record's score is then one look-up and one addition per four coordinates.
"""

from collections.abc import Sequence

import numpy as np

from inference.attribution.arrays import Int32s, Int64s, UInt8s
from runtime.protocols.report import QueryCode
from runtime.protocols.scoring import aligned_exponents, check_layout, check_query

_BLOCK = 1 << 15
"""Records at a time: their partial sums stay in the cache while a module's columns pass by."""
_CODES = (2 * (np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 3) - 3).astype(np.int32)


def byte_tables(query: QueryCode) -> Int32s:
    """Compute the dot product of every possible byte with every byte column, [columns, 256]."""
    values = np.frombuffer(query.codes, dtype=np.int8).astype(np.int32).reshape(-1, 4)
    tables: Int32s = values @ _CODES.T
    return tables


def scan(codes: UInt8s, offsets: UInt8s, query: QueryCode, layout: Sequence[int]) -> Int64s:
    """Score all records, int64 [records], equal to `scoring.score` of each.

    Args:
        codes: uint8 [coordinates / 4, records], a byte column contiguous.
        offsets: uint8 [modules, records].
        query: its codes and exponents.
        layout: coordinates per module, multiples of four.

    Raises:
        ScoreRefusal: where the query does not follow the layout.
    """
    check_layout(layout)
    check_query(query, layout)
    tables = byte_tables(query)
    align = aligned_exponents(query.exponents)
    records = codes.shape[1]
    scores = np.zeros(records, dtype=np.int64)
    positions = np.empty(min(records, _BLOCK), dtype=np.intp)
    partial = np.empty(len(positions), dtype=np.int32)
    for start in range(0, records, _BLOCK):
        block = slice(start, min(start + _BLOCK, records))
        size = block.stop - start
        column = 0
        for module, count in enumerate(layout):
            dots = np.zeros(size, dtype=np.int32)
            for table in tables[column : column + count // 4]:
                positions[:size] = codes[column, block]
                # Every byte is a valid position; "clip" only spares the check and a buffer.
                np.take(table, positions[:size], out=partial[:size], mode="clip")
                dots += partial[:size]
                column += 1
            shift = offsets[module, block].astype(np.int64) + align[module]
            scores[block] += dots.astype(np.int64) << shift
    return scores
