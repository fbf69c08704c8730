"""From Python annotations to the portable type registry of the metadata."""

from __future__ import annotations

import typing
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from runtime.frame.documentation import doc_lines, member_docs, own_doc
from runtime.frame.pallet import pascal
from runtime.frame.portable_types import (
    Array,
    CompactOf,
    Composite,
    Enumeration,
    Field,
    PortableType,
    Primitive,
    PrimitiveKind,
    Sequence,
    Tuple,
    TypeDef,
    TypeParameter,
    Variant,
)
from runtime.primitives.scale import (
    Compact,
    Fixed,
    Int,
    Raw,
    Uint,
    Variants,
    field_types,
    is_option,
    option_inner,
    type_name,
)

_PRIMITIVES = {bool: PrimitiveKind.BOOL, str: PrimitiveKind.STR}


class TypeRegistry:
    """Types by id, each once. `special` resolves the paths of `Raw` types."""

    def __init__(self) -> None:
        self._types: list[PortableType | None] = []
        self._ids: dict[Any, int] = {}
        self.special: dict[str, Callable[[], int]] = {}

    def types(self) -> tuple[PortableType, ...]:
        """Return the registry; ids run from 0 without gaps."""
        return tuple(t for t in self._types if t is not None)

    def define(
        self,
        key: Any,
        path: str,
        make: Callable[[], TypeDef],
        params: dict[str, Any] | None = None,
        docs: str = "",
    ) -> int:
        """Register a type under a key of its own; `make` may refer to the type itself."""
        if key in self._ids:
            return self._ids[key]
        index = self._ids[key] = len(self._types)
        self._types.append(None)
        parameters = tuple(
            TypeParameter(name, None if t is None else self.resolve(t))
            for name, t in (params or {}).items()
        )
        self._types[index] = PortableType(
            index, tuple(path.split("::")) if path else (), parameters, make(), doc_lines(docs)
        )
        return index

    def named(
        self, path: str, make: Callable[[], TypeDef], params: dict[str, Any] | None = None
    ) -> int:
        """Register the one type of a path."""
        return self.define(("path", path), path, make, params)

    def field(self, name: str | None, type_: Any, docs: str = "") -> Field:
        """Describe a field by its annotation, or by a type id."""
        shown = None if name is None else name.rstrip("_")
        label = None if isinstance(type_, int) else type_name(type_)
        return Field(shown, self.resolve(type_), label, doc_lines(docs))

    def resolve(self, type_: Any) -> int:
        """Return the id of an annotation; an int is an id already."""
        if isinstance(type_, int):
            return type_
        for mark in getattr(type_, "__metadata__", ()):
            match mark:
                case Uint(bits):
                    return self._primitive(PrimitiveKind[f"U{bits}"])
                case Int(bits):
                    return self._primitive(PrimitiveKind[f"I{bits}"])
                case Compact(bits):
                    return self._compact(PrimitiveKind[f"U{bits}"])
                case Fixed(length, path):
                    return self._fixed(length, path)
                case Variants(path, params):
                    arms = typing.get_args(typing.get_args(type_)[0])
                    return self._union(path, arms, dict(params))
                case Raw(_, path):
                    return self.special[path]()
                case _:
                    pass
        if hasattr(type_, "__metadata__"):
            return self.resolve(type_.__origin__)
        return self._resolve_plain(type_)

    def _resolve_plain(self, type_: Any) -> int:
        if type_ in _PRIMITIVES:
            return self._primitive(_PRIMITIVES[type_])
        if type_ is bytes:
            return self.sequence_of(self._primitive(PrimitiveKind.U8))
        if type_ is None or type_ is type(None):
            return self.tuple_of(())
        if is_option(type_):
            return self._option(option_inner(type_))
        if typing.get_origin(type_) is tuple:
            arguments = typing.get_args(type_)
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return self.sequence_of(self.resolve(arguments[0]))
            return self.tuple_of(tuple(self.resolve(a) for a in arguments if a != ()))
        if issubclass(type_, IntEnum):
            return self._plain_enum(type_)
        return self.composite(type_)

    def _primitive(self, kind: PrimitiveKind) -> int:
        return self.define(kind, "", lambda: Primitive(kind))

    def _compact(self, kind: PrimitiveKind) -> int:
        return self.define(("compact", kind), "", lambda: CompactOf(self._primitive(kind)))

    def _fixed(self, length: int, path: str) -> int:
        byte = self._primitive(PrimitiveKind.U8)
        array = self.define(("array", length), "", lambda: Array(length, byte))
        if not path:
            return array
        inner = Field(None, array, f"[u8; {length}]", ())
        return self.define(("fixed", path), path, lambda: Composite((inner,)))

    def sequence_of(self, inner: int) -> int:
        """Return the id of a vector."""
        return self.define(("sequence", inner), "", lambda: Sequence(inner))

    def tuple_of(self, inner: tuple[int, ...]) -> int:
        """Return the id of a tuple."""
        return self.define(("tuple", inner), "", lambda: Tuple(inner))

    def _option(self, inner: Any) -> int:
        def make() -> TypeDef:
            some = Field(None, self.resolve(inner), None, ())
            return Enumeration((Variant("None", (), 0, ()), Variant("Some", (some,), 1, ())))

        return self.define(("option", self.resolve(inner)), "Option", make, {"T": inner})

    def _plain_enum(self, cls: type[IntEnum]) -> int:
        docs = member_docs(cls)

        def make() -> TypeDef:
            return Enumeration(
                tuple(
                    Variant(pascal(m.name), (), int(m), doc_lines(docs.get(m.name, "")))
                    for m in cls
                )
            )

        return self.define(cls, type_path(cls), make, docs=own_doc(cls))

    def composite(self, cls: type) -> int:
        """Return the id of a dataclass."""
        positional = getattr(cls, "SCALE_POSITIONAL", False)
        params = getattr(cls, "SCALE_PARAMS", None)
        return self.define(
            cls,
            type_path(cls),
            lambda: Composite(self._fields(cls, positional)),
            params,
            own_doc(cls),
        )

    def _fields(self, cls: type, positional: bool) -> tuple[Field, ...]:
        docs = member_docs(cls)
        return tuple(
            self.field(None if positional else name, t, docs.get(name, ""))
            for name, t in field_types(cls).items()
        )

    def _union(self, path: str, arms: tuple[Any, ...], params: dict[str, Any]) -> int:
        def make() -> TypeDef:
            return Enumeration(tuple(self._arm(a) for a in arms))

        return self.define(("enum", path, *params.items()), path, make, params)

    def _arm(self, arm: Any) -> Variant:
        fields = self._fields(arm, arm.VARIANT_POSITIONAL)
        return Variant(arm.VARIANT_NAME, fields, arm.VARIANT_INDEX, doc_lines(own_doc(arm)))


def type_path(cls: type) -> str:
    """Return the metadata path of a class: its own `SCALE_PATH`, or one made from its module.

    ``runtime.pallets.datanets.types.Datanet`` is ``pallet_datanets::types::Datanet``.
    """
    own = STANDARD_PATHS.get(cls.__name__) or cls.__dict__.get("SCALE_PATH")
    if isinstance(own, str):
        return own
    parts = cls.__module__.split(".")
    if parts[:2] == ["runtime", "pallets"]:
        return "::".join([f"pallet_{parts[2]}", *parts[3:], cls.__name__])
    return "::".join(["openledger", *parts[1:], cls.__name__])


STANDARD_PATHS = {
    "DispatchClass": "frame_support::dispatch::DispatchClass",
    "Pays": "frame_support::dispatch::Pays",
    "TokenError": "sp_runtime::TokenError",
    "TransactionSource": "sp_runtime::transaction_validity::TransactionSource",
    "ArithmeticReason": "sp_arithmetic::ArithmeticError",
    "HoldReason": "openledger_runtime::RuntimeHoldReason",
    "Weight": "sp_weights::weight_v2::Weight",
    "Reasons": "pallet_balances::types::Reasons",
}
"""Paths by which clients know types whose Python classes cannot carry them."""
