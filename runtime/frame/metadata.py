"""Metadata of a runtime, from the declarations of its pallets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from runtime.frame import pallet as declared
from runtime.frame.errors import DispatchErrorValue
from runtime.frame.metadata_schema import (
    Composite,
    Constant,
    Enumeration,
    ExtrinsicMetadata,
    Field,
    HasherKind,
    Map,
    MetadataV14,
    Modifier,
    PalletMetadata,
    PalletStorage,
    Plain,
    SignedExtension,
    StorageEntry,
    TypeDef,
    Variant,
)
from runtime.frame.pallet import Pallet
from runtime.frame.storage import StorageItem
from runtime.frame.type_registry import TypeRegistry, doc_lines
from runtime.primitives.extrinsic import Era
from runtime.primitives.scale import U8, U32, CompactU32, CompactU128, encode
from runtime.primitives.types import Hash, MultiAddress, MultiSignature

EXTRINSIC_VERSION = 4
_UNIT = "()"


@dataclass(frozen=True, slots=True)
class _Extension:
    """A signed extension: its path, the type it carries, the type it signs besides."""

    name: str
    path: str
    carries: Any = None
    signs: Any = None


class _Check:
    PATH: ClassVar[str] = "frame_system::extensions::"


EXTENSIONS = (
    _Extension("CheckNonZeroSender", f"{_Check.PATH}check_non_zero_sender::CheckNonZeroSender"),
    _Extension("CheckSpecVersion", f"{_Check.PATH}check_spec_version::CheckSpecVersion", signs=U32),
    _Extension("CheckTxVersion", f"{_Check.PATH}check_tx_version::CheckTxVersion", signs=U32),
    _Extension("CheckGenesis", f"{_Check.PATH}check_genesis::CheckGenesis", signs=Hash),
    _Extension("CheckMortality", f"{_Check.PATH}check_mortality::CheckMortality", Era, Hash),
    _Extension("CheckNonce", f"{_Check.PATH}check_nonce::CheckNonce", CompactU32),
    _Extension("CheckWeight", f"{_Check.PATH}check_weight::CheckWeight"),
    _Extension(
        "ChargeTransactionPayment",
        "pallet_transaction_payment::ChargeTransactionPayment",
        CompactU128,
    ),
)
"""In the order in which clients sign them; several clients hard-code it."""


class MetadataBuilder:
    """Collects the types of all pallets into one registry."""

    def __init__(self, pallets: Sequence[type[Pallet]], crate: str) -> None:
        self.pallets = pallets
        self.crate = crate
        self.registry = TypeRegistry()
        self.registry.special = {
            f"{crate}::RuntimeCall": self.outer_call,
            "Vec<EventRecord>": self.event_records,
            "sp_runtime::generic::era::Era": self.era,
        }

    def build(self) -> MetadataV14:
        """Return the metadata."""
        pallets = tuple(self._pallet(cls) for cls in self.pallets)
        extrinsic = self._extrinsic()
        self.registry.resolve(DispatchErrorValue)
        runtime = self._define(f"{self.crate}::Runtime", lambda: Composite(()))
        return MetadataV14(self.registry.types(), pallets, extrinsic, runtime)

    def _define(
        self, path: str, make: Callable[[], TypeDef], params: dict[str, Any] | None = None
    ) -> int:
        return self.registry.define(("path", path), path, make, params)

    def _pallet(self, cls: type[Pallet]) -> PalletMetadata:
        items = declared.storage_items(cls)
        entries = tuple(self._entry(item) for item in items.values())
        constants = tuple(
            Constant(
                c.name, self.registry.resolve(c.type), encode(c.type, c.value), doc_lines(c.doc)
            )
            for c in declared.constants(cls)
        )
        return PalletMetadata(
            cls.NAME,
            PalletStorage(cls.NAME, entries) if entries else None,
            self._calls(cls),
            self._events(cls),
            constants,
            self._errors(cls),
            cls.INDEX,
        )

    def _entry(self, item: StorageItem) -> StorageEntry:
        value = self.registry.resolve(item.value_type)
        if not item.hashers:
            type_: Plain | Map = Plain(value)
        else:
            keys = [self.registry.resolve(k) for k in item.key_types]
            key = keys[0] if len(keys) == 1 else self.registry.tuple_of(tuple(keys))
            type_ = Map(tuple(HasherKind(h.value) for h in item.hashers), key, value)
        default = encode(item.value_type, item.default) if item.has_default else b"\x00"
        modifier = Modifier.DEFAULT if item.has_default else Modifier.OPTIONAL
        return StorageEntry(item.name, modifier, type_, default, doc_lines(item.doc))

    def _calls(self, cls: type[Pallet]) -> int | None:
        infos = declared.calls(cls)
        if not infos:
            return None

        def make() -> TypeDef:
            return Enumeration(
                tuple(
                    Variant(
                        info.name,
                        tuple(self.registry.field(n, t) for n, t in info.arguments.items()),
                        info.index,
                        doc_lines(info.docs),
                    )
                    for info in infos.values()
                )
            )

        return self._define(f"{_crate(cls)}::pallet::Call", make, {"T": None})

    def _events(self, cls: type[Pallet]) -> int | None:
        infos = declared.events(cls)
        if not infos:
            return None

        def make() -> TypeDef:
            return Enumeration(
                tuple(
                    Variant(
                        info.name,
                        tuple(self.registry.field(n, t) for n, t in info.fields.items()),
                        info.index,
                        doc_lines(info.docs),
                    )
                    for info in infos.values()
                )
            )

        return self._define(f"{_crate(cls)}::pallet::Event", make, {"T": None})

    def _errors(self, cls: type[Pallet]) -> int | None:
        infos = declared.errors(cls)
        if not infos:
            return None

        def make() -> TypeDef:
            return Enumeration(
                tuple(Variant(i.name, (), i.index, doc_lines(i.docs)) for i in infos.values())
            )

        return self._define(f"{_crate(cls)}::pallet::Error", make, {"T": None})

    def outer_call(self) -> int:
        """Return the id of the enumeration over all pallets' calls."""
        return self._outer("RuntimeCall", self._calls)

    def outer_event(self) -> int:
        """Return the id of the enumeration over all pallets' events."""
        return self._outer("RuntimeEvent", self._events)

    def _outer(self, name: str, part: Callable[[type[Pallet]], int | None]) -> int:
        def make() -> TypeDef:
            variants = []
            for cls in self.pallets:
                inner = part(cls)
                if inner is not None:
                    label = f"{_crate(cls)}::{name.removeprefix('Runtime')}<Runtime>"
                    field = Field(None, inner, label, ())
                    variants.append(Variant(cls.NAME, (field,), cls.INDEX, ()))
            return Enumeration(tuple(variants))

        return self._define(f"{self.crate}::{name}", make)

    def event_records(self) -> int:
        """Return the id of the vector of event records."""
        event = self.outer_event()
        phase = self._phase()
        topics = self.registry.sequence_of(self.registry.resolve(Hash))

        def make() -> TypeDef:
            return Composite(
                (
                    Field("phase", phase, "Phase", ()),
                    Field("event", event, "E", ()),
                    Field("topics", topics, "Vec<T>", ()),
                )
            )

        record = self._define("frame_system::EventRecord", make, {"E": event, "T": Hash})
        return self.registry.sequence_of(record)

    def _phase(self) -> int:
        number = self.registry.resolve(U32)

        def make() -> TypeDef:
            applied = Variant("ApplyExtrinsic", (Field(None, number, "u32", ()),), 0, ())
            return Enumeration(
                (applied, Variant("Finalization", (), 1, ()), Variant("Initialization", (), 2, ()))
            )

        return self._define("frame_system::Phase", make)

    def era(self) -> int:
        """Return the id of an era: ``Immortal``, or ``MortalN`` with a second byte."""

        def make() -> TypeDef:
            byte = Field(None, self._byte(), None, ())
            mortal = tuple(Variant(f"Mortal{i}", (byte,), i, ()) for i in range(1, 256))
            return Enumeration((Variant("Immortal", (), 0, ()), *mortal))

        return self._define("sp_runtime::generic::era::Era", make)

    def _byte(self) -> int:
        return self.registry.resolve(U8)

    def _extrinsic(self) -> ExtrinsicMetadata:
        extensions = tuple(self._extension(e) for e in EXTENSIONS)
        extra = self.registry.tuple_of(tuple(e.type for e in extensions))
        params = {
            "Address": MultiAddress,
            "Call": self.outer_call(),
            "Signature": MultiSignature,
            "Extra": extra,
        }
        data = Field(None, self.registry.resolve(bytes), None, ())
        path = "sp_runtime::generic::unchecked_extrinsic::UncheckedExtrinsic"
        type_ = self._define(path, lambda: Composite((data,)), params)
        return ExtrinsicMetadata(type_, EXTRINSIC_VERSION, extensions)

    def _extension(self, extension: _Extension) -> SignedExtension:
        def make() -> TypeDef:
            if extension.carries is None:
                return Composite(())
            return Composite((self.registry.field(None, extension.carries),))

        type_ = self._define(extension.path, make, {"T": None})
        return SignedExtension(extension.name, type_, self.registry.resolve(extension.signs))


def _crate(cls: type[Pallet]) -> str:
    """Return the name that the ecosystem gives a pallet's crate."""
    if cls.NAME == "System":
        return "frame_system"
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.NAME).lstrip("_")
    return f"pallet_{snake}"
