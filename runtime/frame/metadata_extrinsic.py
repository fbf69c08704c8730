"""What the metadata says of extrinsics: their parts, and the extensions in the order of signing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.frame.metadata_schema import Extension
from runtime.frame.portable_types import Composite, Enumeration, Field, TypeDef, Variant
from runtime.frame.type_registry import TypeRegistry
from runtime.primitives.extrinsic import Era
from runtime.primitives.scale import U8, U32, CompactU32, CompactU128
from runtime.primitives.types import Hash, MultiAddress, MultiSignature

EXTRINSIC_VERSION = 4
EXTENSION_VERSION = 0
"""Version of the set of extensions; extrinsics of version 4 name none and have this one."""
ERA_PATH = "sp_runtime::generic::era::Era"
EXTRINSIC_PATH = "sp_runtime::generic::unchecked_extrinsic::UncheckedExtrinsic"
_CHECKS = "frame_system::extensions::"


@dataclass(frozen=True, slots=True)
class _Extension:
    """An extension: its path, the type it carries, the type it signs besides."""

    name: str
    path: str
    carries: Any = None
    signs: Any = None


EXTENSIONS = (
    _Extension("CheckNonZeroSender", f"{_CHECKS}check_non_zero_sender::CheckNonZeroSender"),
    _Extension("CheckSpecVersion", f"{_CHECKS}check_spec_version::CheckSpecVersion", signs=U32),
    _Extension("CheckTxVersion", f"{_CHECKS}check_tx_version::CheckTxVersion", signs=U32),
    _Extension("CheckGenesis", f"{_CHECKS}check_genesis::CheckGenesis", signs=Hash),
    _Extension("CheckMortality", f"{_CHECKS}check_mortality::CheckMortality", Era, Hash),
    _Extension("CheckNonce", f"{_CHECKS}check_nonce::CheckNonce", CompactU32),
    _Extension("CheckWeight", f"{_CHECKS}check_weight::CheckWeight"),
    _Extension(
        "ChargeTransactionPayment",
        "pallet_transaction_payment::ChargeTransactionPayment",
        CompactU128,
    ),
)
"""In the order in which clients sign them; several clients hard-code it."""


@dataclass(frozen=True, slots=True)
class ExtrinsicParts:
    """The types of an extrinsic's parts, and its extensions."""

    whole: int
    address: int
    call: int
    signature: int
    extra: int
    extensions: tuple[Extension, ...]


class ExtrinsicDescriber:
    """Describes the envelope of extrinsics; `outer_call` gives the id of the call type."""

    def __init__(self, registry: TypeRegistry, outer_call: Callable[[], int]) -> None:
        self._registry = registry
        self._outer_call = outer_call

    def describe(self) -> ExtrinsicParts:
        """Return everything that is known of extrinsics."""
        extensions = tuple(self._extension(e) for e in EXTENSIONS)
        extra = self._registry.tuple_of(tuple(e.type for e in extensions))
        whole = self._whole(extra)
        resolve = self._registry.resolve
        address, signature = resolve(MultiAddress), resolve(MultiSignature)
        return ExtrinsicParts(whole, address, self._outer_call(), signature, extra, extensions)

    def whole(self) -> int:
        """Return the id of a whole extrinsic."""
        return self.describe().whole

    def era(self) -> int:
        """Return the id of an era: ``Immortal``, or ``MortalN`` with a second byte."""

        def make() -> TypeDef:
            byte = Field(None, self._registry.resolve(U8), None, ())
            mortal = tuple(Variant(f"Mortal{i}", (byte,), i, ()) for i in range(1, 256))
            return Enumeration((Variant("Immortal", (), 0, ()), *mortal))

        return self._registry.named(ERA_PATH, make)

    def _whole(self, extra: int) -> int:
        params = {
            "Address": MultiAddress,
            "Call": self._outer_call(),
            "Signature": MultiSignature,
            "Extra": extra,
        }
        data = Field(None, self._registry.resolve(bytes), None, ())
        return self._registry.named(EXTRINSIC_PATH, lambda: Composite((data,)), params)

    def _extension(self, extension: _Extension) -> Extension:
        def make() -> TypeDef:
            if extension.carries is None:
                return Composite(())
            return Composite((self._registry.field(None, extension.carries),))

        type_ = self._registry.named(extension.path, make, {"T": None})
        return Extension(extension.name, type_, self._registry.resolve(extension.signs))
