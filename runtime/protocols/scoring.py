"""Integer scores of records against a query: the same on every machine.

A record has 2-bit codes, four to a byte, low bits first, ``code = 2*bits - 3`` in {-3, -1, 1, 3};
its exponents are one byte per module, 0 to 15, offsets from the bases that the index commits to. A
query has one int8 code per coordinate, -127 to 127, and one i16 exponent per module, which includes
the module's base. The layout is the number of coordinates of each module; codes of all modules
follow each other without padding, and the unused bits of a record's last byte are zero.

    score = Σ_u dot_u << (e_u + f_u - min f)

The shift by min f, the same for all records of a query, makes every shift non-negative and changes
no ratio. A query's exponents lie within 16 of each other, so a layout has a bound on its scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from operator import mul

from runtime.primitives.errors import Refusal
from runtime.primitives.scale import U32
from runtime.protocols.report import QueryCode

MAX_RECORD_EXPONENT = 15
MAX_QUERY_CODE = 127
MAX_QUERY_SPREAD = 16
"""Most that two exponents of one query may differ."""
SCORE_LIMIT = 1 << 62

_UNPACKED = tuple(
    tuple(2 * (byte >> shift & 3) - 3 for shift in (0, 2, 4, 6)) for byte in range(256)
)


class ScoreReason(Enum):
    """Why codes are refused."""

    BAD_LAYOUT = "every module has at least one coordinate"
    TOO_LARGE = "the layout's scores could reach 2^62: select fewer coordinates"
    BAD_RECORD = (
        "a record has 2 bits per coordinate, zero padding, and an exponent 0..15 per module"
    )
    BAD_QUERY = "a query has an int8 code per coordinate, not -128, and an exponent per module"
    BAD_SPREAD = "a query's exponents lie within 16 of each other: narrow it"


class ScoreRefusal(Refusal):
    """Codes that do not follow their layout."""

    def __init__(self, reason: ScoreReason, detail: str = "") -> None:
        super().__init__(reason, detail or reason.value)
        self.reason: ScoreReason = reason


@dataclass(frozen=True, slots=True)
class ModuleSpan:
    """Where a module's codes stand among all codes."""

    offset: U32
    count: U32


def module_spans(layout: Sequence[int]) -> tuple[ModuleSpan, ...]:
    """Return each module's place; raises ScoreRefusal BAD_LAYOUT."""
    if not layout or min(layout) < 1:
        raise ScoreRefusal(ScoreReason.BAD_LAYOUT)
    offsets = accumulate(layout, initial=0)
    return tuple(ModuleSpan(offset, count) for offset, count in zip(offsets, layout, strict=False))


def score_bound(layout: Sequence[int]) -> int:
    """Return the largest absolute score that any codes of this layout can have."""
    coordinates = sum(span.count for span in module_spans(layout))
    return 3 * MAX_QUERY_CODE * coordinates << MAX_RECORD_EXPONENT + MAX_QUERY_SPREAD


def check_layout(layout: Sequence[int]) -> None:
    """Refuse a layout whose scores could reach 2^62 (BAD_LAYOUT, TOO_LARGE)."""
    if score_bound(layout) >= SCORE_LIMIT:
        raise ScoreRefusal(ScoreReason.TOO_LARGE)


def packed_length(layout: Sequence[int]) -> int:
    """Return the bytes of a record's packed codes."""
    return (sum(layout) + 3) // 4


def pack_codes(codes: Sequence[int]) -> bytes:
    """Pack codes -3, -1, 1, 3; raises ScoreRefusal BAD_RECORD on any other."""
    packed = bytearray((len(codes) + 3) // 4)
    for position, code in enumerate(codes):
        if code not in (-3, -1, 1, 3):
            raise ScoreRefusal(ScoreReason.BAD_RECORD, f"code {code}")
        packed[position >> 2] |= (code + 3) // 2 << 2 * (position & 3)
    return bytes(packed)


def unpack_codes(packed: bytes, count: int) -> list[int]:
    """Unpack `count` codes; raises ScoreRefusal BAD_RECORD on a wrong length or padding."""
    if len(packed) != (count + 3) // 4:
        raise ScoreRefusal(ScoreReason.BAD_RECORD, f"{len(packed)} bytes for {count} codes")
    if count & 3 and packed[-1] >> 2 * (count & 3):
        raise ScoreRefusal(ScoreReason.BAD_RECORD, "bits after the last code")
    codes = [code for byte in packed for code in _UNPACKED[byte]]
    return codes[:count]


def check_record_codes(codes: bytes, exponents: bytes, layout: Sequence[int]) -> None:
    """Refuse a record's codes that do not follow the layout (BAD_RECORD)."""
    if len(exponents) != len(layout) or max(exponents, default=0) > MAX_RECORD_EXPONENT:
        raise ScoreRefusal(ScoreReason.BAD_RECORD, "exponents")
    unpack_codes(codes, sum(layout))


def check_query(query: QueryCode, layout: Sequence[int]) -> None:
    """Refuse a query that does not follow the layout (BAD_QUERY, BAD_SPREAD)."""
    if len(query.codes) != sum(layout) or len(query.exponents) != len(layout):
        raise ScoreRefusal(ScoreReason.BAD_QUERY, "length")
    if b"\x80" in query.codes:
        raise ScoreRefusal(ScoreReason.BAD_QUERY, "code -128")
    if max(query.exponents) - min(query.exponents) > MAX_QUERY_SPREAD:
        raise ScoreRefusal(ScoreReason.BAD_SPREAD)


def signed_codes(codes: bytes) -> list[int]:
    """Return int8 codes as integers."""
    return memoryview(codes).cast("b").tolist()


def aligned_exponents(exponents: Sequence[int]) -> tuple[int, ...]:
    """Return f - min f per module: the query's part of every shift."""
    least = min(exponents)
    return tuple(exponent - least for exponent in exponents)


def score(
    record_codes: bytes,
    record_exponents: bytes,
    query_codes: bytes,
    query_exponents: Sequence[int],
    layout: Sequence[int],
) -> int:
    """Return a record's exact score for a query.

    Raises:
        ScoreRefusal: BAD_LAYOUT, BAD_RECORD, BAD_QUERY or BAD_SPREAD.
    """
    spans = module_spans(layout)
    check_query(QueryCode(query_codes, tuple(query_exponents)), layout)
    if len(record_exponents) != len(layout) or max(record_exponents) > MAX_RECORD_EXPONENT:
        raise ScoreRefusal(ScoreReason.BAD_RECORD, "exponents")
    record = unpack_codes(record_codes, sum(layout))
    query = signed_codes(query_codes)
    shifts = map(sum, zip(record_exponents, aligned_exponents(query_exponents), strict=True))
    total = 0
    for span, shift in zip(spans, shifts, strict=True):
        part = slice(span.offset, span.offset + span.count)
        total += sum(map(mul, record[part], query[part])) << shift
    return total


def narrow_query(query: QueryCode, layout: Sequence[int]) -> QueryCode:
    """Bring a query's exponents within 16 of the largest.

    A module below that is shifted right, halves to even; a module without a non-zero code takes the
    largest exponent. Raises ScoreRefusal BAD_LAYOUT or BAD_QUERY.
    """
    if len(query.codes) != sum(layout) or len(query.exponents) != len(layout):
        raise ScoreRefusal(ScoreReason.BAD_QUERY, "length")
    modules = list(split(signed_codes(query.codes), layout))
    live = [e for e, codes in zip(query.exponents, modules, strict=True) if any(codes)]
    largest = max(live, default=0)
    codes: list[int] = []
    exponents: list[int] = []
    for exponent, module in zip(query.exponents, modules, strict=True):
        lowest = largest - MAX_QUERY_SPREAD
        kept = [_shift_right(code, max(0, lowest - exponent)) for code in module]
        codes += kept
        exponents.append(max(exponent, lowest) if any(kept) else largest)
    return QueryCode(bytes(code & 0xFF for code in codes), tuple(exponents))


def split(codes: Sequence[int], layout: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield each module's codes; raises ScoreRefusal BAD_LAYOUT."""
    if not layout or min(layout) < 1:
        raise ScoreRefusal(ScoreReason.BAD_LAYOUT)
    end = 0
    for count in layout:
        start, end = end, end + count
        yield codes[start:end]


def _shift_right(value: int, bits: int) -> int:
    """Divide by 2^bits, halves to even."""
    if bits == 0 or value == 0:
        return value
    if bits > 8:
        return 0
    quotient, rest = value >> bits, value & ((1 << bits) - 1)
    half = 1 << bits - 1
    return quotient + (rest > half or (rest == half and quotient & 1))
