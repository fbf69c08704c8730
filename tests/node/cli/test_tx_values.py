"""Typed values as text: what is written reads back, what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.cli.account_wallet import Wallet
from node.cli.amounts import UNIT
from node.cli.values import Reader
from node.cli.values_errors import ValueReason, ValueRefusal
from node.cli.values_kinds import Opaque, kind_of
from node.cli.values_labels import label
from node.cli.values_show import FOR_PEOPLE, FOR_PROGRAMS
from node.client.signing import from_uri
from runtime.construct import PALLETS
from runtime.frame.calls import RuntimeCall
from runtime.frame.pallet import constants, events, storage_items
from runtime.pallets.datanets.types import FlagKind, Policy
from runtime.primitives.scale import I16, U8, U32, Bytes4, encode
from runtime.primitives.types import (
    AccountId,
    Balance,
    Id,
    Index,
    MultiAddress,
    MultiSignature,
    Sr25519Signature,
)
from tests.node.cli.typed_values import CALLS, values

READER = Reader(Wallet(Path("/nonexistent")).account)
TYPES = sorted(
    {
        *(type_ for _, info in CALLS for type_ in info.arguments.values()),
        *(k for p in PALLETS for item in storage_items(p).values() for k in item.key_types),
    },
    key=repr,
)
SHOWN = [
    *(item.value_type for p in PALLETS for item in storage_items(p).values()),
    *(constant.type for p in PALLETS for constant in constants(p)),
    *(type_ for p in PALLETS for info in events(p).values() for type_ in info.fields.values()),
]
READABLE = sorted({t for t in SHOWN if not isinstance(kind_of(t), Opaque)}, key=repr)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_written_for_people_reads_back(data: st.DataObject) -> None:
    type_ = data.draw(st.sampled_from([*TYPES, *READABLE]))
    value = data.draw(values(type_))
    assert READER.read("it", type_, FOR_PEOPLE.text(type_, value)) == value


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_written_for_programs_is_json_with_amounts_in_planck(data: st.DataObject) -> None:
    type_ = data.draw(st.sampled_from([*TYPES, *READABLE]))
    item = FOR_PROGRAMS.item(type_, data.draw(values(type_)))
    assert json.loads(json.dumps(item)) == item
    assert " OPEN" not in json.dumps(item)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.data(), st.text(max_size=20))
def test_any_text_is_a_value_or_a_named_refusal(data: st.DataObject, text: str) -> None:
    type_ = data.draw(st.sampled_from(TYPES))
    try:
        value = READER.read("the argument", type_, text)
    except ValueRefusal as refusal:
        assert refusal.detail.startswith("the argument")
    else:
        encode(type_, value)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_json_is_a_value_or_a_named_refusal(data: st.DataObject) -> None:
    type_ = data.draw(st.sampled_from(TYPES))
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    items = st.recursive(leaves, lambda i: st.lists(i, max_size=3) | st.dictionaries(_names, i))
    try:
        encode(type_, READER.build("it", type_, data.draw(items)))
    except ValueRefusal as refusal:
        assert refusal.detail.startswith("it")


_names = st.sampled_from(["pallet", "call", "args", "Id", "open", "batch", "x"])


@pytest.mark.parametrize("type_", [*TYPES, *READABLE], ids=label)
def test_every_type_has_a_label(type_: Any) -> None:
    assert label(type_)


@pytest.mark.parametrize(
    ("text", "planck"),
    [("1.5", 3 * UNIT // 2), ("1.5 OPEN", 3 * UNIT // 2), ("7planck", 7), ("7 planck", 7)],
)
def test_an_amount_is_open_unless_it_names_planck(text: str, planck: int) -> None:
    assert READER.read("value", Balance, text) == planck
    policy = json.dumps({"open": True, "bond-per-record": text, "minBond": 1})
    assert READER.read("policy", Policy, policy) == Policy(True, planck, UNIT)


def test_a_number_with_a_point_in_json_is_exact() -> None:
    text = '{"open": false, "bond_per_record": 0.100000000000000001, "min_bond": 0}'
    assert READER.read("policy", Policy, text).bond_per_record == UNIT // 10 + 1


def test_bytes_are_text_hex_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "name"
    file.write_bytes(b"\x00\xff")
    read = [READER.read("name", bytes, text) for text in ("ab", "0x6162", f"@{file}")]
    assert read == [b"ab", b"ab", b"\x00\xff"]


def test_json_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "kinds.json"
    file.write_text("[1, 2]")
    assert READER.read("ids", tuple[U32, ...], f"@{file}") == (1, 2)


def test_an_account_is_a_path_an_address_or_an_id() -> None:
    alice = from_uri("//Alice").account_id
    texts = ["//Alice", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY", f"0x{alice.hex()}"]
    assert [READER.read("who", AccountId, text) for text in texts] == [alice] * 3
    assert READER.read("who", MultiAddress, "//Alice") == Id(alice)
    assert READER.read("who", MultiAddress, '{"Index": 3}') == Index(3)


def test_a_call_is_json_or_its_scale() -> None:
    told = {"pallet": "balances", "call": "burn", "args": {"value": "2", "keepAlive": True}}
    call = READER.read("call", RuntimeCall, json.dumps(told))
    assert (call.pallet, call.name, call.arguments) == ("Balances", "burn", (2 * UNIT, True))
    assert READER.read("call", RuntimeCall, f"0x{encode(RuntimeCall, call).hex()}") == call


def test_a_member_of_a_union_is_named() -> None:
    text = json.dumps({"sr25519": "0x" + "ab" * 64})
    assert READER.read("proof", MultiSignature, text) == Sr25519Signature(b"\xab" * 64)


@pytest.mark.parametrize(
    ("type_", "text", "reason", "told"),
    [
        (U8, "256", ValueReason.OUT_OF_RANGE, "from 0 to 255"),
        (U8, "1.0", ValueReason.NOT_AN_INTEGER, "whole number"),
        (I16, "-32769", ValueReason.OUT_OF_RANGE, "from -32768"),
        (Balance, "1,5", ValueReason.NOT_AN_AMOUNT, "amount"),
        (AccountId, "nobody", ValueReason.NOT_AN_ACCOUNT, "nobody"),
        (Bytes4, "0x00", ValueReason.WRONG_LENGTH, "8 hex digits"),
        (bytes, "0xabc", ValueReason.NOT_HEX, "pairs"),
        (bytes, "@/nonexistent/file", ValueReason.UNREADABLE, "/nonexistent/file"),
        (bool, "perhaps", ValueReason.NOT_A_FLAG, "neither true nor false"),
        (FlagKind, "nasty", ValueReason.NOT_A_MEMBER, "Redundant, Adversarial"),
        (Policy, "{", ValueReason.NOT_JSON, "no JSON"),
        (Policy, "[]", ValueReason.WRONG_SHAPE, "JSON object"),
        (Policy, '{"open": true}', ValueReason.WRONG_FIELDS, "bond_per_record is missing"),
        (Policy, '{"shut": true}', ValueReason.WRONG_FIELDS, "'shut'"),
        (tuple[U32, ...], "[1, -1]", ValueReason.OUT_OF_RANGE, "it[1]"),
        (MultiSignature, '{"Rsa": "0x00"}', ValueReason.NOT_A_MEMBER, "Sr25519"),
        (RuntimeCall, '{"pallet": "Moon", "call": "x"}', ValueReason.NOT_A_MEMBER, "'Moon'"),
        (RuntimeCall, "0xffff", ValueReason.NOT_SCALE, "255"),
    ],
)
def test_a_refusal_names_argument_type_and_fault(
    type_: Any, text: str, reason: ValueReason, told: str
) -> None:
    with pytest.raises(ValueRefusal) as refused:
        READER.read("it", type_, text)
    assert refused.value.reason is reason
    assert refused.value.detail.startswith("it")
    assert told in refused.value.detail
