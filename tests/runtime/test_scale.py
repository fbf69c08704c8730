from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.primitives.scale import (
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    U128,
    Bytes4,
    Bytes32,
    CompactU32,
    CompactU64,
    CompactU128,
    DecodeError,
    EncodeError,
    Variants,
    codec,
    compact_decode,
    compact_encode,
    decode,
    encode,
    type_name,
    variant,
)


class Colour(IntEnum):
    RED = 0
    BLUE = 7


@dataclass(frozen=True, slots=True)
class Inner:
    high: U128
    flag: bool


@dataclass(frozen=True, slots=True)
class Everything:
    small: U8
    inner: Inner
    name: bytes
    colour: Colour
    hash_: Bytes32
    signed: I64
    maybe: U16 | None
    count: CompactU64
    items: tuple[U32, ...]
    pair: tuple[U8, str]


@variant(index=0)
@dataclass(frozen=True, slots=True)
class Nothing:
    pass


@variant(index=3)
@dataclass(frozen=True, slots=True)
class Something:
    value: U32
    rest: Bytes4


Choice = Annotated[Nothing | Something, Variants("test::Choice")]
INTEGERS = {
    U8: (0, 2**8 - 1),
    U16: (0, 2**16 - 1),
    U32: (0, 2**32 - 1),
    U64: (0, 2**64 - 1),
    U128: (0, 2**128 - 1),
    I8: (-(2**7), 2**7 - 1),
    I16: (-(2**15), 2**15 - 1),
    I32: (-(2**31), 2**31 - 1),
    I64: (-(2**63), 2**63 - 1),
    CompactU32: (0, 2**32 - 1),
    CompactU64: (0, 2**64 - 1),
    CompactU128: (0, 2**128 - 1),
}
everything = st.builds(
    Everything,
    st.integers(0, 255),
    st.builds(Inner, st.integers(0, 2**128 - 1), st.booleans()),
    st.binary(max_size=70),
    st.sampled_from(Colour),
    st.binary(min_size=32, max_size=32),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.integers(0, 65535),
    st.integers(0, 2**64 - 1),
    st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple),
    st.tuples(st.integers(0, 255), st.text(max_size=20)),
)
VALUES: list[tuple[Any, Any]] = [
    *((type_, bound) for type_, bounds in INTEGERS.items() for bound in bounds),
    (bool, True),
    (bytes, b"abc"),
    (str, "größe"),
    (U8 | None, None),
    (U8 | None, 4),
    (tuple[U16, bool], (5, False)),
    (tuple[U16, ...], (1, 2, 3)),
    (Colour, Colour.BLUE),
    (Choice, Nothing()),
    (Choice, Something(9, b"rest")),
    (Inner, Inner(2**128 - 1, True)),
]
FIGURES = [
    (U32, 1, "01000000"),
    (U128, 2**64, "00000000000000000100000000000000"),
    (I16, -2, "feff"),
    (bool, True, "01"),
    (bytes, b"ab", "086162"),
    (str, "ä", "08c3a4"),
    (U8 | None, None, "00"),
    (U8 | None, 7, "0107"),
    (tuple[U16, ...], (1, 2), "0801000200"),
    (CompactU128, 63, "fc"),
    (CompactU128, 64, "0101"),
    (CompactU128, 16383, "fdff"),
    (CompactU128, 16384, "02000100"),
    (CompactU128, 2**30 - 1, "feffffff"),
    (CompactU128, 2**30, "0300000040"),
    (CompactU128, 2**128 - 1, "33" + "ff" * 16),
    (Choice, Something(1, b"\0\1\2\3"), "0301000000" + "00010203"),
]


@pytest.mark.parametrize(("type_", "value", "hexed"), FIGURES)
def test_layouts_are_those_of_the_ecosystem(type_: Any, value: Any, hexed: str) -> None:
    assert encode(type_, value).hex() == hexed
    assert decode(type_, bytes.fromhex(hexed)) == value


@pytest.mark.parametrize("type_", INTEGERS)
@given(data=st.data())
def test_integers_survive_the_round_trip(type_: Any, data: st.DataObject) -> None:
    value = data.draw(st.integers(*INTEGERS[type_]))
    assert decode(type_, encode(type_, value)) == value


@pytest.mark.parametrize("type_", INTEGERS)
def test_integers_out_of_range_are_not_encoded(type_: Any) -> None:
    low, high = INTEGERS[type_]
    for value in (low - 1, high + 1):
        with pytest.raises(EncodeError):
            encode(type_, value)


@given(everything)
def test_records_survive_the_round_trip(value: Everything) -> None:
    assert decode(Everything, encode(Everything, value)) == value


@given(everything)
def test_a_record_is_its_fields_one_after_the_other(value: Everything) -> None:
    fields: list[tuple[Any, Any]] = [
        (U8, value.small),
        (U128, value.inner.high),
        (bool, value.inner.flag),
        (bytes, value.name),
        (Colour, value.colour),
        (Bytes32, value.hash_),
        (I64, value.signed),
        (U16 | None, value.maybe),
        (CompactU64, value.count),
        (tuple[U32, ...], value.items),
        (tuple[U8, str], value.pair),
    ]
    assert encode(Everything, value) == b"".join(encode(t, v) for t, v in fields)


@given(everything, st.data())
def test_a_truncated_record_is_refused_wherever_it_ends(
    value: Everything, data: st.DataObject
) -> None:
    encoded = encode(Everything, value)
    end = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(DecodeError):
        decode(Everything, encoded[:end])


@given(everything, st.binary(min_size=1, max_size=4))
def test_bytes_after_a_value_are_refused(value: Everything, extra: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(Everything, encode(Everything, value) + extra)


@given(st.binary(max_size=120))
def test_random_bytes_decode_canonically_or_not_at_all(data: bytes) -> None:
    try:
        value = decode(Everything, data)
    except DecodeError:
        return
    assert encode(Everything, value) == data


@pytest.mark.parametrize(("type_", "value"), VALUES)
def test_every_proper_prefix_of_an_encoding_is_refused(type_: Any, value: Any) -> None:
    encoded = encode(type_, value)
    for end in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode(type_, encoded[:end])


@given(st.integers(0, 2**536 - 1))
def test_compact_integers_have_one_form(value: int) -> None:
    encoded = compact_encode(value)
    assert compact_decode(encoded, 0) == (value, len(encoded))


@pytest.mark.parametrize(
    "longer",
    ["0100", "fd00", "02000000", "feff0000", "0301000000", "03ffffff3f", "07ffffffff00"],
)
def test_a_longer_form_of_a_compact_integer_is_refused(longer: str) -> None:
    with pytest.raises(DecodeError):
        decode(CompactU128, bytes.fromhex(longer))


@pytest.mark.parametrize("value", [-1, 2**536])
def test_what_has_no_compact_form_is_not_encoded(value: int) -> None:
    with pytest.raises(EncodeError):
        compact_encode(value)


def test_a_compact_integer_above_its_type_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode(CompactU32, compact_encode(2**32))


@pytest.mark.parametrize(
    ("type_", "hexed"),
    [
        (bool, "02"),
        (U8 | None, "0201"),
        (Colour, "01"),
        (Choice, "01"),
        (str, "04ff"),
        (tuple[U8, ...], "feffffff"),
        (bytes, "feffffff" + "00" * 8),
        (Inner, "00" * 16 + "02"),
        (tuple[Colour, ...], "0803"),
    ],
)
def test_values_that_no_type_has_are_refused(type_: Any, hexed: str) -> None:
    with pytest.raises(DecodeError):
        decode(type_, bytes.fromhex(hexed))


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Bytes4, b"abc"),
        (Something, Something(1, b"toolong")),
        (tuple[U8, U8], (1,)),
        (Choice, Inner(0, True)),
        (Inner, Inner(-1, True)),
        (Inner, Inner(2**128, True)),
        (U8, "text"),
        (Colour, 256),
        (Everything, None),
    ],
)
def test_values_of_another_shape_are_not_encoded(type_: Any, value: Any) -> None:
    with pytest.raises(EncodeError):
        encode(type_, value)


def test_a_codec_is_compiled_once() -> None:
    assert codec(Everything) is codec(Everything)


def test_a_type_without_a_codec_is_named() -> None:
    with pytest.raises(TypeError, match="float"):
        codec(float)


def test_two_arms_with_one_index_are_refused() -> None:
    @variant(index=3)
    @dataclass(frozen=True, slots=True)
    class Again:
        pass

    with pytest.raises(TypeError, match="index 3"):
        codec(Annotated[Something | Again, Variants("test::Twice")])


def test_type_names_are_those_of_the_metadata() -> None:
    shown = [type_name(t) for t in (U32, CompactU128, Bytes4, bytes, tuple[U8, ...], U8 | None)]
    assert shown == ["u32", "Compact<u128>", "[u8; 4]", "Vec<u8>", "Vec<u8>", "Option<u8>"]
