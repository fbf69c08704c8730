"""Whitened gradients as small integers: 2 bits a record coordinate, 8 bits a query coordinate.

A record's coordinate is coded -3, -1, 1 or 3 times a power of two that its module and record share;
a query's is -127…127 times a power of two. After that everything is exact.
"""

from collections.abc import Sequence

import numpy as np

from inference.attribution.arrays import Float64s, Int8s, Int16s, Int64s, UInt8s
from runtime.protocols.report import QueryCode
from runtime.protocols.scoring import (
    MAX_QUERY_CODE,
    MAX_QUERY_SPREAD,
    MAX_RECORD_EXPONENT,
)

_EMPTY_EXPONENT = -1000
_SIGNS_ONLY = np.array(
    [sum((1 if byte >> at & 3 < 2 else 2) << at for at in (0, 2, 4, 6)) for byte in range(256)],
    dtype=np.uint8,
)


def module_slices(layout: Sequence[int]) -> list[slice]:
    """List each module's place among the coordinates."""
    ends = np.cumsum(np.array(layout, dtype=np.int64))
    return [slice(int(end) - count, int(end)) for end, count in zip(ends, layout, strict=True)]


def code_records(whitened: Float64s, layout: Sequence[int]) -> tuple[UInt8s, Int16s]:
    """Code whitened gradients float64 [records, coordinates], each under its own best exponents.

    Returns packed codes uint8 [records, coordinates / 4] and the powers of two of least squared
    error, int16 [records, modules], not yet offsets from the index's bases.
    """
    codes = np.empty(whitened.shape, dtype=np.int8)
    exponents = np.empty((len(whitened), len(layout)), dtype=np.int16)
    for module, part in enumerate(module_slices(layout)):
        values = whitened[:, part]
        sizes = np.abs(values)
        best = _best_exponents(sizes)
        large = sizes > np.ldexp(2.0, best)[:, None]
        codes[:, part] = np.where(large, 3, 1) * np.where(values < 0, -1, 1)
        exponents[:, module] = best
    return pack_codes(codes), exponents


def _best_exponents(sizes: Float64s) -> Int64s:
    """Choose the power of two under which codes 1 and 3 miss absolute values least, int64 [n]."""
    means = sizes.mean(axis=1)
    middle = np.frexp(means)[1].astype(np.int64)
    best_error = np.full(len(sizes), np.inf)
    best = np.full(len(sizes), _EMPTY_EXPONENT, dtype=np.int64)
    for exponent in (middle - 2, middle - 1, middle):
        unit = np.ldexp(1.0, exponent)[:, None]
        error = ((sizes - np.where(sizes > 2 * unit, 3 * unit, unit)) ** 2).sum(axis=1)
        better = (error < best_error) & (means > 0)
        best_error = np.where(better, error, best_error)
        best = np.where(better, exponent, best)
    return best


def base_exponents(exponents: Int16s) -> Int16s:
    """Choose each module's base so that the largest exponent of any record is base + 15."""
    bases: Int16s = (exponents.max(axis=0) - MAX_RECORD_EXPONENT).astype(np.int16)
    return bases


def offset_records(
    packed: UInt8s, exponents: Int16s, bases: Int16s, layout: Sequence[int]
) -> tuple[UInt8s, UInt8s]:
    """Bring records to the index's bases; returns packed codes and offsets 0…15, uint8.

    A module too weak for its base is coded by its signs alone, one too strong is cut to the top.
    """
    settled = packed.copy()
    for module, part in enumerate(module_slices(layout)):
        weak = exponents[:, module] < bases[module]
        place = slice(part.start // 4, part.stop // 4)
        settled[weak, place] = _SIGNS_ONLY[settled[weak, place]]
    offsets = exponents.astype(np.int64) - bases
    return settled, np.clip(offsets, 0, MAX_RECORD_EXPONENT).astype(np.uint8)


def pack_codes(codes: Int8s) -> UInt8s:
    """Pack codes int8 [records, 4n] to uint8 [records, n], low bits first: code = 2 * bits - 3."""
    bits = ((codes + 3) >> 1).astype(np.uint8).reshape(len(codes), -1, 4)
    shifted = bits << np.array([0, 2, 4, 6], dtype=np.uint8)
    packed: UInt8s = np.bitwise_or.reduce(shifted, axis=2, dtype=np.uint8)
    return packed


def unpack_codes(packed: UInt8s) -> Int8s:
    """Reverse `pack_codes`: uint8 [records, n] to int8 [records, 4n]."""
    bits = packed[:, :, None] >> np.array([0, 2, 4, 6], dtype=np.uint8) & 3
    codes: Int8s = (2 * bits.astype(np.int8) - 3).reshape(len(packed), -1)
    return codes


def encode_query(whitened: Float64s, bases: Int16s, layout: Sequence[int]) -> QueryCode:
    """Code a whitened query gradient float64 [coordinates], rounding half to even.

    The exponents include the records' bases, so that code * 2**exponent * record code * 2**offset
    has one unit in every module. An exponent far below the largest is raised to what the score's
    bound allows; a module that then has no code left takes the largest.
    """
    parts = module_slices(layout)
    peaks = [float(np.abs(whitened[part]).max(initial=0.0)) for part in parts]
    own = [
        None if not peak else _query_exponent(peak) + int(base)
        for peak, base in zip(peaks, bases, strict=True)
    ]
    largest = max((exponent for exponent in own if exponent is not None), default=0)
    codes = np.zeros(len(whitened), dtype=np.int8)
    exponents = []
    for part, base, exponent in zip(parts, bases, own, strict=True):
        if exponent is not None:
            exponent = max(exponent, largest - MAX_QUERY_SPREAD)
            codes[part] = np.rint(np.ldexp(whitened[part], int(base) - exponent))
        exponents.append(largest if exponent is None or not codes[part].any() else exponent)
    return QueryCode(codes.tobytes(), tuple(exponents))


def _query_exponent(peak: float) -> int:
    """Find the least power of two under which the peak rounds to at most 127."""
    exponent = int(np.frexp(peak)[1]) - 7
    return exponent + int(np.rint(np.ldexp(peak, -exponent)) > MAX_QUERY_CODE)
