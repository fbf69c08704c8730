"""Version of the rules, as clients read it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar

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


API_VERSIONS = {
    "Core": 5,
    "Metadata": 2,
    "BlockBuilder": 6,
    "TaggedTransactionQueue": 3,
    "AccountNonceApi": 1,
    "TransactionPaymentApi": 4,
}
"""Runtime APIs by name. An id is blake2b-64 of the name."""

RUNTIME_VERSION = RuntimeVersion(
    spec_name="openledger",
    impl_name="openledger-py",
    authoring_version=1,
    spec_version=1,
    impl_version=1,
    apis=tuple(
        (blake2b(name.encode(), digest_size=8).digest(), version)
        for name, version in API_VERSIONS.items()
    ),
    transaction_version=1,
    system_version=1,
)
STATE_VERSION = 1
"""Values above 32 bytes are hashed in the trie."""
