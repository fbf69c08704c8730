"""Metadata of a runtime in each version that clients read, from one description of it.

The description is made once, from the declarations of the pallets and of the runtime APIs. Each
version tells a part of it. Type ids are the same in all of them: V14 knows no runtime APIs, so
its registry is the beginning of the others', whose types of the APIs come last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from runtime.frame.documentation import doc_lines, own_doc
from runtime.frame.errors import DispatchErrorValue
from runtime.frame.metadata_extrinsic import (
    ERA_PATH,
    EXTENSION_VERSION,
    EXTRINSIC_PATH,
    EXTRINSIC_VERSION,
    ExtrinsicDescriber,
    ExtrinsicParts,
)
from runtime.frame.metadata_pallets import PalletDescriber, deprecation
from runtime.frame.metadata_schema import (
    ApiMethodV15,
    ApiMethodV16,
    ApiV15,
    ApiV16,
    ExtrinsicV14,
    ExtrinsicV15,
    ExtrinsicV16,
    Metadata,
    MetadataV14,
    MetadataV15,
    MetadataV16,
    OuterEnums,
)
from runtime.frame.pallet import Pallet
from runtime.frame.pallet_metadata import (
    Constant,
    Input,
    NotDeprecated,
    PalletMetadata,
    PalletStorage,
    PalletV15,
    PalletV16,
    StorageEntry,
)
from runtime.frame.portable_types import Composite, PortableType
from runtime.frame.runtime_api import RuntimeApi, api_methods
from runtime.frame.transaction_validity import INVALID_PATH, invalidity_type
from runtime.frame.type_registry import TypeRegistry

T = TypeVar("T")

VERSIONS = (14, 15, 16)
"""The versions that a description can be told in."""


@dataclass(frozen=True, slots=True)
class Description:
    """Everything that is known of a runtime, in the records of the latest version."""

    types: tuple[PortableType, ...]
    types_without_apis: int
    """So many of the types are those of pallets and extrinsics."""
    pallets: tuple[PalletV16, ...]
    extrinsic: ExtrinsicParts
    runtime: int
    apis: tuple[ApiV16, ...]
    outer: OuterEnums

    def at_version(self, version: int) -> Metadata:
        """Tell what a version of the metadata has room for; raises KeyError for other versions."""
        told: dict[int, Callable[[], Metadata]] = {14: self._v14, 15: self._v15, 16: self._v16}
        return told[version]()

    def _v14(self) -> MetadataV14:
        extrinsic = ExtrinsicV14(self.extrinsic.whole, EXTRINSIC_VERSION, self.extrinsic.extensions)
        pallets = tuple(_earlier(PalletMetadata, p) for p in self.pallets)
        return MetadataV14(self.types[: self.types_without_apis], pallets, extrinsic, self.runtime)

    def _v15(self) -> MetadataV15:
        parts = self.extrinsic
        extrinsic = ExtrinsicV15(
            EXTRINSIC_VERSION,
            parts.address,
            parts.call,
            parts.signature,
            parts.extra,
            parts.extensions,
        )
        apis = tuple(
            ApiV15(a.name, tuple(_narrow(ApiMethodV15, m) for m in a.methods), a.docs)
            for a in self.apis
        )
        pallets = tuple(_earlier(PalletV15, p) for p in self.pallets)
        return MetadataV15(self.types, pallets, extrinsic, self.runtime, apis, self.outer, ())

    def _v16(self) -> MetadataV16:
        parts = self.extrinsic
        positions = tuple(range(len(parts.extensions)))
        extrinsic = ExtrinsicV16(
            (EXTRINSIC_VERSION,),
            parts.address,
            parts.call,
            parts.signature,
            ((EXTENSION_VERSION, positions),),
            parts.extensions,
        )
        return MetadataV16(self.types, self.pallets, extrinsic, self.apis, self.outer, ())


def describe(
    pallets: Sequence[type[Pallet]], apis: Sequence[type[RuntimeApi]], crate: str
) -> Description:
    """Describe a runtime; `crate` is the name under which clients know its outer enumerations."""
    registry = TypeRegistry()
    of_pallets = PalletDescriber(registry, pallets, crate)
    of_extrinsics = ExtrinsicDescriber(registry, of_pallets.outer_call)
    registry.special = {
        f"{crate}::RuntimeCall": of_pallets.outer_call,
        "Vec<EventRecord>": of_pallets.event_records,
        ERA_PATH: of_extrinsics.era,
        EXTRINSIC_PATH: of_extrinsics.whole,
        INVALID_PATH: lambda: invalidity_type(registry),
    }
    described = tuple(of_pallets.describe(cls) for cls in pallets)
    extrinsic = of_extrinsics.describe()
    registry.resolve(DispatchErrorValue)
    runtime = registry.named(f"{crate}::Runtime", lambda: Composite(()))
    without_apis = len(registry.types())
    outer = OuterEnums(of_pallets.outer_call(), of_pallets.outer_event(), of_pallets.outer_error())
    of_apis = tuple(_api(registry, api) for api in apis)
    return Description(
        registry.types(), without_apis, described, extrinsic, runtime, of_apis, outer
    )


def _api(registry: TypeRegistry, api: type[RuntimeApi]) -> ApiV16:
    methods = tuple(
        ApiMethodV16(
            name,
            tuple(Input(n.rstrip("_"), registry.resolve(t)) for n, t in method.arguments.items()),
            registry.resolve(method.output),
            doc_lines(method.docs),
            deprecation(method.deprecated),
        )
        for name, method in api_methods(api).items()
    )
    return ApiV16(api.NAME, methods, doc_lines(own_doc(api)), api.VERSION, NotDeprecated())


def _earlier(layout: type[T], pallet: PalletV16) -> T:
    """Return a pallet in the layout of an earlier version."""
    values = {f.name: getattr(pallet, f.name) for f in dataclasses.fields(layout)}  # type: ignore[arg-type]
    if pallet.storage is not None:
        entries = tuple(_narrow(StorageEntry, e) for e in pallet.storage.entries)
        values["storage"] = PalletStorage(pallet.storage.prefix, entries)
    for name in ("calls", "events", "errors"):
        values[name] = None if values[name] is None else values[name].type
    values["constants"] = tuple(_narrow(Constant, c) for c in pallet.constants)
    return layout(**values)


def _narrow(layout: type[T], record: Any) -> T:
    """Return an earlier version's record from one that has more fields."""
    return layout(**{f.name: getattr(record, f.name) for f in dataclasses.fields(layout)})  # type: ignore[arg-type]
