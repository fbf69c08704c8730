"""Version of the rules, as clients read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from runtime.primitives.errors import InvariantViolation
from runtime.primitives.scale import U8, U32, Bytes8, CompactU32


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """`sp_version::RuntimeVersion`; signatures cover `spec_version` and `transaction_version`."""

    SCALE_PATH: ClassVar[str] = "sp_version::RuntimeVersion"
    spec_name: str
    impl_name: str
    authoring_version: U32
    spec_version: U32
    impl_version: U32
    apis: tuple[tuple[Bytes8, U32], ...]
    transaction_version: U32
    system_version: U8


@dataclass(frozen=True, slots=True)
class LastRuntimeUpgrade:
    """Which rules execute the next block."""

    SCALE_PATH: ClassVar[str] = "frame_system::LastRuntimeUpgradeInfo"
    spec_version: CompactU32
    spec_name: str


RUNTIME_VERSION = RuntimeVersion(
    spec_name="openledger",
    impl_name="openledger-py",
    authoring_version=1,
    spec_version=1,
    impl_version=1,
    apis=(),
    transaction_version=1,
    system_version=1,
)
"""The version without the APIs: those are listed far from here, see `offered_version`."""
STATE_VERSION = 1
"""Values above 32 bytes are hashed in the trie."""

_OFFERED: list[RuntimeVersion] = []


def offer_apis(apis: Iterable[tuple[bytes, int]]) -> None:
    """Note ids and versions of the runtime APIs; done once, where they are listed."""
    _OFFERED[:] = [replace(RUNTIME_VERSION, apis=tuple(apis))]


def offered_version() -> RuntimeVersion:
    """Return the version with the APIs, as clients read it."""
    if not _OFFERED:
        raise InvariantViolation("the runtime's APIs are not listed yet; import runtime.api")
    return _OFFERED[0]
