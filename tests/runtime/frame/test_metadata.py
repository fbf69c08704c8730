"""The metadata says everything, and says it about the codec that is really used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dev_chain import OPEN, DevChain, account
from metadata_pins import VECTORS, pins

from runtime import executive
from runtime.construct import CALLS, PALLETS, storage_item
from runtime.frame import pallet as declared
from runtime.frame.metadata_schema import MetadataV14, decode_metadata
from runtime.frame.pallet_metadata import Map
from runtime.frame.portable_types import (
    Array,
    CompactOf,
    Composite,
    Enumeration,
    Primitive,
    PrimitiveKind,
    Sequence,
    Tuple,
)
from runtime.pallets.datanets.types import Policy
from runtime.primitives.scale import compact_decode
from runtime.primitives.types import Id


@pytest.fixture(scope="module")
def metadata() -> MetadataV14:
    found = decode_metadata(executive.metadata(14) or b"")
    assert isinstance(found, MetadataV14)
    return found


@pytest.mark.parametrize("cls", PALLETS, ids=lambda cls: cls.NAME)
def test_everything_a_wallet_can_meet_is_documented(cls: Any) -> None:
    assert (cls.__doc__ or "").strip()
    for info in declared.calls(cls).values():
        assert info.docs, f"call {cls.NAME}.{info.name}"
    for event in declared.events(cls).values():
        assert event.docs, f"event {cls.NAME}.{event.name}"
        assert not event.docs.startswith(f"{event.name}("), f"event {cls.NAME}.{event.name}"
    for error in declared.errors(cls).values():
        assert error.docs.endswith("."), f"error {cls.NAME}.{error.name}"
    for item in declared.storage_items(cls).values():
        assert item.doc.endswith("."), f"storage {cls.NAME}.{item.name}"
    for constant in declared.constants(cls):
        assert constant.doc.endswith("."), f"constant {cls.NAME}.{constant.name}"


def test_indices_keys_and_layouts_are_the_approved_ones() -> None:
    assert pins() == json.loads(VECTORS.read_text())


def skip(metadata: MetadataV14, index: int, data: bytes, offset: int) -> int:
    """Return where a value ends, by the metadata alone: what a foreign client does."""
    match metadata.types[index].definition:
        case Primitive(PrimitiveKind.BOOL):
            assert data[offset] < 2
            return offset + 1
        case Primitive(PrimitiveKind.STR):
            length, offset = compact_decode(data, offset)
            return offset + length
        case Primitive(kind):
            return offset + int(kind.name[1:]) // 8
        case CompactOf(_):
            return compact_decode(data, offset)[1]
        case Array(length, inner):
            for _ in range(length):
                offset = skip(metadata, inner, data, offset)
            return offset
        case Sequence(inner):
            count, offset = compact_decode(data, offset)
            for _ in range(count):
                offset = skip(metadata, inner, data, offset)
            return offset
        case Tuple(inner):
            for part in inner:
                offset = skip(metadata, part, data, offset)
            return offset
        case Composite(fields):
            for field in fields:
                offset = skip(metadata, field.type, data, offset)
            return offset
        case Enumeration(variants):
            (chosen,) = [v for v in variants if v.index == data[offset]]
            offset += 1
            for field in chosen.fields:
                offset = skip(metadata, field.type, data, offset)
            return offset
    raise AssertionError(f"type {index} is of no kind")


def test_every_entry_of_a_living_state_reads_by_the_metadata_alone(metadata: MetadataV14) -> None:
    chain = busy_chain()
    read = 0
    for pallet in metadata.pallets:
        if pallet.storage is None:
            continue
        for entry in pallet.storage.entries:
            item = storage_item(pallet.name, entry.name)
            value = entry.type.value if isinstance(entry.type, Map) else entry.type.type
            if item.has_default:
                assert skip(metadata, value, entry.default, 0) == len(entry.default)
            for _, raw in chain.state.iterate(item.key()):
                assert skip(metadata, value, raw, 0) == len(raw), f"{pallet.name}.{entry.name}"
                read += 1
    assert read > 30


def test_calls_read_by_the_metadata_alone(metadata: MetadataV14) -> None:
    (outer,) = [t.id for t in metadata.types if t.path[-1:] == ("RuntimeCall",)]
    transfer = CALLS.make("Balances", "transfer_keep_alive", dest=Id(account("Bob")), value=OPEN)
    for call in (
        transfer,
        CALLS.make("Utility", "batch_all", calls=(transfer, transfer)),
        CALLS.make("Sudo", "sudo", call=transfer),
        CALLS.make("System", "remark", remark=bytes(100)),
        CALLS.make("Datanets", "create", name=b"x", schema=(b"a", b"b"), policy=Policy(True, 1, 2)),
    ):
        data = CALLS.encode(call)
        assert skip(metadata, outer, data, 0) == len(data)


def busy_chain() -> DevChain:
    chain = DevChain()
    policy = Policy(True, 0, 0)
    chain.submit("Alice", "Datanets", "create", name=b"n", schema=(b"f",), policy=policy)
    transfer = CALLS.make("Balances", "transfer_keep_alive", dest=Id(account("Bob")), value=OPEN)
    failing = CALLS.make("Sudo", "sudo", call=transfer)
    chain.submit("Bob", "Utility", "force_batch", calls=(transfer, failing))
    return chain


def test_constants_are_encoded_as_their_types_say(metadata: MetadataV14) -> None:
    for pallet in metadata.pallets:
        for constant in pallet.constants:
            assert skip(metadata, constant.type, constant.value, 0) == len(constant.value)
