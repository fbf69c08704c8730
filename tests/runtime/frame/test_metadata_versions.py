"""The three versions of the metadata tell the same, each as much as it has room for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from runtime import executive
from runtime.frame import pallet as declared
from runtime.frame.metadata import VERSIONS, describe
from runtime.frame.metadata_schema import (
    Metadata,
    MetadataV16,
    OuterEnums,
    decode_metadata,
    encode_metadata,
)
from runtime.frame.origin import Origin
from runtime.frame.pallet_metadata import Deprecated, Map, NotDeprecated, PalletMetadata
from runtime.frame.portable_types import Enumeration, Tuple
from runtime.frame.runtime_api import RuntimeApi, api_method, deprecated_api_method
from runtime.frame.storage import StorageValue, value
from runtime.primitives.scale import U32
from runtime.primitives.types import Weight


def told(version: int) -> Metadata:
    return decode_metadata(executive.metadata(version) or b"")


@pytest.fixture(scope="module")
def latest() -> MetadataV16:
    found = told(16)
    assert isinstance(found, MetadataV16)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_the_metadata_decodes_and_encodes_to_the_same_bytes(version: int) -> None:
    blob = executive.metadata(version) or b""
    assert encode_metadata(decode_metadata(blob)) == blob
    assert blob[:4] == b"meta"
    assert blob[4] == version


def test_the_versions_tell_the_same_types_under_the_same_ids(latest: MetadataV16) -> None:
    earliest = told(14)
    assert told(15).types == latest.types
    assert earliest.types == latest.types[: len(earliest.types)]
    assert [p.name for p in earliest.pallets] == [p.name for p in latest.pallets]


def test_a_path_names_one_type_for_the_same_parameters(latest: MetadataV16) -> None:
    named = [(t.path, t.params) for t in latest.types if t.path]
    assert len(named) > 100
    assert [one for one in named if named.count(one) > 1] == []


def test_extrinsics_have_one_form_with_all_extensions(latest: MetadataV16) -> None:
    extrinsic = latest.extrinsic
    assert extrinsic.versions == (4,)
    assert extrinsic.extensions_by_version == ((0, tuple(range(len(extrinsic.extensions)))),)
    assert [e.identifier for e in extrinsic.extensions] == [
        "CheckNonZeroSender",
        "CheckSpecVersion",
        "CheckTxVersion",
        "CheckGenesis",
        "CheckMortality",
        "CheckNonce",
        "CheckWeight",
        "ChargeTransactionPayment",
    ]


def test_outer_enumerations_have_the_pallets_that_declare_something(latest: MetadataV16) -> None:
    outer = latest.outer_enums
    for id_, last, part in (
        (outer.call, "RuntimeCall", "calls"),
        (outer.event, "RuntimeEvent", "events"),
        (outer.error, "RuntimeError", "errors"),
    ):
        type_ = latest.types[id_]
        assert type_.path == ("openledger_runtime", last)
        assert isinstance(type_.definition, Enumeration)
        assert {v.name: (v.index, v.fields[0].type) for v in type_.definition.variants} == {
            p.name: (p.index, getattr(p, part).type) for p in latest.pallets if getattr(p, part)
        }


def test_everything_that_the_metadata_shows_is_documented(latest: MetadataV16) -> None:
    shown: list[tuple[str, Any]] = []
    for pallet in latest.pallets:
        shown.append((pallet.name, pallet))
        entries = pallet.storage.entries if pallet.storage else ()
        items = (*entries, *pallet.constants, *pallet.associated_types)
        shown += [(f"{pallet.name}.{item.name}", item) for item in items]
        for enum in (pallet.calls, pallet.events, pallet.errors):
            if enum is not None:
                definition = latest.types[enum.type].definition
                assert isinstance(definition, Enumeration)
                shown += [(f"{pallet.name}.{v.name}", v) for v in definition.variants]
    for api in latest.apis:
        shown.append((api.name, api))
        shown += [(f"{api.name}_{m.name}", m) for m in api.methods]
    assert len(shown) > 300
    assert [name for name, item in shown if not "".join(item.docs).strip()] == []


def test_an_api_has_documentation_of_its_own(latest: MetadataV16) -> None:
    texts = [api.docs for api in latest.apis]
    assert len(set(texts)) == len(texts)


def test_what_clients_look_up_by_name_is_there(latest: MetadataV16) -> None:
    constants = {f"{p.name}.{c.name}" for p in latest.pallets for c in p.constants}
    assert constants >= {
        "System.BlockWeights",
        "System.BlockLength",
        "System.BlockHashCount",
        "System.DbWeight",
        "System.Version",
        "System.SS58Prefix",
        "Timestamp.MinimumPeriod",
        "Balances.ExistentialDeposit",
    }
    entries = {f"{p.name}.{e.name}" for p in latest.pallets if p.storage for e in p.storage.entries}
    system = ("Account", "BlockHash", "Number", "ParentHash", "Digest", "Events", "EventCount")
    balances = ("TotalIssuance", "InactiveIssuance", "Locks", "Reserves", "Holds")
    assert entries >= {f"System.{name}" for name in (*system, "ExtrinsicCount")}
    assert entries >= {f"Balances.{name}" for name in (*balances, "Freezes")}
    assert "Timestamp.Now" in entries
    paths = {"::".join(t.path) for t in latest.types}
    assert paths >= {
        "sp_core::crypto::AccountId32",
        "sp_runtime::multiaddress::MultiAddress",
        "sp_runtime::generic::era::Era",
        "openledger_runtime::RuntimeCall",
        "openledger_runtime::RuntimeEvent",
        "frame_system::EventRecord",
        "sp_runtime::generic::unchecked_extrinsic::UncheckedExtrinsic",
        "sp_runtime::transaction_validity::TransactionSource",
        "sp_runtime::transaction_validity::TransactionValidityError",
        "sp_runtime::transaction_validity::InvalidTransaction",
        "sp_runtime::transaction_validity::UnknownTransaction",
        "sp_runtime::transaction_validity::ValidTransaction",
        "sp_core::OpaqueMetadata",
        "sp_version::RuntimeVersion",
        "sp_weights::weight_v2::Weight",
        "Result",
        "Option",
    }


@declared.event(index=0)
class Stays:
    """An event that stays."""


@declared.event(index=1, deprecated="watch Stays")
class Goes:
    """An event that goes."""


class Aging(declared.Pallet, index=7):
    """A pallet of which half will go."""

    EVENTS = (Stays, Goes)
    old_limit: declared.Const[U32] = declared.constant(1, doc="A limit.", deprecated="read Limit")
    old: StorageValue[bool] = value(doc="A value.", default=False, deprecated="read New")
    new: StorageValue[bool] = value(doc="A value.", default=False)

    @declared.call(index=3, weight=Weight(0, 0), deprecated="make stay")
    def go(self, origin: Origin) -> None:
        """Make the call that goes."""

    @declared.call(index=4, weight=Weight(0, 0))
    def stay(self, origin: Origin) -> None:
        """Make the call that stays."""


class AgingApi(RuntimeApi, version=9):
    """An API of which half will go."""

    @deprecated_api_method("call stay")
    def go(self) -> bool:
        """Answer."""
        return False

    @api_method
    def stay(self) -> bool:
        """Answer."""
        return True


def test_what_is_deprecated_is_marked_in_the_latest_version() -> None:
    found = describe([Aging], [AgingApi], "test_runtime").at_version(16)
    assert isinstance(found, MetadataV16)
    (pallet,), (api,) = found.pallets, found.apis
    assert pallet.calls is not None
    assert pallet.events is not None
    assert pallet.storage is not None
    assert pallet.calls.deprecation == ((3, Deprecated("make stay", None)),)
    assert pallet.events.deprecation == ((1, Deprecated("watch Stays", None)),)
    assert [e.deprecation for e in pallet.storage.entries] == [
        Deprecated("read New", None),
        NotDeprecated(),
    ]
    assert [c.deprecation for c in pallet.constants] == [Deprecated("read Limit", None)]
    assert [m.deprecation for m in api.methods] == [Deprecated("call stay", None), NotDeprecated()]
    assert api.version == 9


@pytest.mark.parametrize("version", VERSIONS)
def test_type_ids_have_no_gaps_and_refer_to_types_that_exist(version: int) -> None:
    found = told(version)
    count = len(found.types)
    assert [t.id for t in found.types] == list(range(count))
    used = list(references(found))
    assert len(used) > count
    assert all(0 <= id_ < count for id_ in used)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_type_is_there_for_nothing(version: int) -> None:
    found = told(version)
    unused = set(range(len(found.types))) - set(references(found))
    assert [found.types[id_].path for id_ in sorted(unused)] in (
        [],
        [("openledger_runtime", "Runtime")],
        [("sp_runtime", "DispatchError")],
    )


def references(item: Any) -> Iterator[int]:
    """Yield every type id that a part of the metadata names."""
    match item:
        case tuple():
            for part in item:
                yield from references(part)
            return
        case Tuple(types):
            yield from types
            return
        case OuterEnums(call, event_, error):
            yield from (call, event_, error)
            return
        case Map(_, key, inner):
            yield from (key, inner)
            return
        case PalletMetadata(calls=calls, events=events, errors=errors):
            yield from (id_ for id_ in (calls, events, errors) if id_ is not None)
    if not dataclasses.is_dataclass(item):
        return
    for field in dataclasses.fields(item):
        part = getattr(item, field.name)
        if field.name in TYPE_FIELDS and isinstance(part, int):
            yield part
        else:
            yield from references(part)


TYPE_FIELDS = ("type", "output", "additional_signed", "address", "call", "signature", "extra")
