"""What the metadata says of pallets, from their declarations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from runtime.frame import pallet as declared
from runtime.frame.documentation import doc_lines, member_docs, own_doc
from runtime.frame.pallet import CallInfo, EventInfo, Pallet
from runtime.frame.pallet_metadata import (
    AssociatedType,
    ConstantV16,
    Deprecated,
    EnumV16,
    HasherKind,
    ItemDeprecation,
    Map,
    Modifier,
    NotDeprecated,
    PalletStorageV16,
    PalletV16,
    Plain,
    StorageEntryV16,
)
from runtime.frame.portable_types import Composite, Enumeration, Field, TypeDef, Variant
from runtime.frame.storage import StorageItem
from runtime.frame.type_registry import TypeRegistry
from runtime.primitives.scale import U32, encode
from runtime.primitives.types import Hash

_NO_DOCS: dict[str, str] = {}


class PalletDescriber:
    """Describes the pallets of a runtime, and the enumerations over all of them."""

    def __init__(self, registry: TypeRegistry, pallets: Sequence[type[Pallet]], crate: str) -> None:
        self._registry = registry
        self._pallets = pallets
        self._crate = crate

    def describe(self, cls: type[Pallet]) -> PalletV16:
        """Return everything that is known of a pallet."""
        items = declared.storage_items(cls)
        entries = tuple(self._entry(item) for item in items.values())
        constants = tuple(self._constant(c) for c in declared.constants(cls))
        calls, events, errors = self._calls(cls), self._events(cls), self._errors(cls)
        return PalletV16(
            name=cls.NAME,
            storage=PalletStorageV16(cls.NAME, entries) if entries else None,
            calls=_enumeration(calls, declared.calls(cls).values()),
            events=_enumeration(events, declared.events(cls).values()),
            constants=constants,
            errors=_enumeration(errors, ()),
            associated_types=tuple(
                AssociatedType(name, self._registry.resolve(type_), doc_lines(doc))
                for name, (type_, doc) in cls.TYPES.items()
            ),
            view_functions=(),
            index=cls.INDEX,
            docs=doc_lines(own_doc(cls)),
            deprecation=NotDeprecated(),
        )

    def _constant(self, constant: declared.Const[Any]) -> ConstantV16:
        return ConstantV16(
            constant.name,
            self._registry.resolve(constant.type),
            encode(constant.type, constant.value),
            doc_lines(constant.doc),
            deprecation(constant.deprecated),
        )

    def _entry(self, item: StorageItem) -> StorageEntryV16:
        value = self._registry.resolve(item.value_type)
        if not item.hashers:
            type_: Plain | Map = Plain(value)
        else:
            keys = [self._registry.resolve(k) for k in item.key_types]
            key = keys[0] if len(keys) == 1 else self._registry.tuple_of(tuple(keys))
            type_ = Map(tuple(HasherKind(h.value) for h in item.hashers), key, value)
        default = encode(item.value_type, item.default) if item.has_default else b"\x00"
        modifier = Modifier.DEFAULT if item.has_default else Modifier.OPTIONAL
        docs = doc_lines(item.doc)
        return StorageEntryV16(
            item.name, modifier, type_, default, docs, deprecation(item.deprecated)
        )

    def _calls(self, cls: type[Pallet]) -> int | None:
        found = [(i, i.arguments, _NO_DOCS) for i in declared.calls(cls).values()]
        return self._variants(cls, "Call", found)

    def _events(self, cls: type[Pallet]) -> int | None:
        found = [(i, i.fields, member_docs(i.cls)) for i in declared.events(cls).values()]
        return self._variants(cls, "Event", found)

    def _errors(self, cls: type[Pallet]) -> int | None:
        found = [(i, _NO_DOCS, _NO_DOCS) for i in declared.errors(cls).values()]
        return self._variants(cls, "Error", found)

    def _variants(
        self,
        cls: type[Pallet],
        kind: str,
        infos: Sequence[tuple[Any, dict[str, Any], dict[str, str]]],
    ) -> int | None:
        """Register an enumeration of declarations with their fields and the fields' texts."""
        if not infos:
            return None

        def make() -> TypeDef:
            return Enumeration(
                tuple(
                    Variant(
                        info.name,
                        tuple(
                            self._registry.field(n, t, docs.get(n, "")) for n, t in fields.items()
                        ),
                        info.index,
                        doc_lines(info.docs),
                    )
                    for info, fields, docs in infos
                )
            )

        return self._registry.named(f"{_crate(cls)}::pallet::{kind}", make, {"T": None})

    def outer_call(self) -> int:
        """Return the id of the enumeration over all pallets' calls."""
        return self._outer("Call", self._calls)

    def outer_event(self) -> int:
        """Return the id of the enumeration over all pallets' events."""
        return self._outer("Event", self._events)

    def outer_error(self) -> int:
        """Return the id of the enumeration over all pallets' errors."""
        return self._outer("Error", self._errors)

    def _outer(self, kind: str, part: Callable[[type[Pallet]], int | None]) -> int:
        def make() -> TypeDef:
            variants = []
            for cls in self._pallets:
                inner = part(cls)
                if inner is not None:
                    field = Field(None, inner, f"{_crate(cls)}::{kind}<Runtime>", ())
                    variants.append(Variant(cls.NAME, (field,), cls.INDEX, ()))
            return Enumeration(tuple(variants))

        return self._registry.named(f"{self._crate}::Runtime{kind}", make)

    def event_records(self) -> int:
        """Return the id of the vector of event records."""
        event = self.outer_event()
        phase = self._phase()
        topics = self._registry.sequence_of(self._registry.resolve(Hash))

        def make() -> TypeDef:
            return Composite(
                (
                    Field("phase", phase, "Phase", ()),
                    Field("event", event, "E", ()),
                    Field("topics", topics, "Vec<T>", ()),
                )
            )

        params = {"E": event, "T": Hash}
        return self._registry.sequence_of(
            self._registry.named("frame_system::EventRecord", make, params)
        )

    def _phase(self) -> int:
        number = self._registry.resolve(U32)

        def make() -> TypeDef:
            applied = Variant("ApplyExtrinsic", (Field(None, number, "u32", ()),), 0, ())
            return Enumeration(
                (applied, Variant("Finalization", (), 1, ()), Variant("Initialization", (), 2, ()))
            )

        return self._registry.named("frame_system::Phase", make)


def deprecation(note: str) -> ItemDeprecation:
    """Return what the metadata says of a declaration with this note; empty for what stays."""
    return Deprecated(note, None) if note else NotDeprecated()


def _enumeration(type_: int | None, infos: Iterable[CallInfo | EventInfo]) -> EnumV16 | None:
    if type_ is None:
        return None
    gone = tuple((i.index, Deprecated(i.deprecated, None)) for i in infos if i.deprecated)
    return EnumV16(type_, gone)


def _crate(cls: type[Pallet]) -> str:
    """Return the name that the ecosystem gives a pallet's crate."""
    if cls.NAME == "System":
        return "frame_system"
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.NAME).lstrip("_")
    return f"pallet_{snake}"
