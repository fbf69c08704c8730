"""What wallets read of accounts, blocks and events, as `frame_system` lays it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from runtime.primitives.header import DigestItem
from runtime.primitives.scale import U32, U128, Codec, Raw, Variants, variant
from runtime.primitives.types import Balance, Nonce


@dataclass(frozen=True, slots=True)
class ExtraFlags:
    """Bit 127 says that holds are counted the new way; wallets expect it."""

    SCALE_PATH: ClassVar[str] = "pallet_balances::types::ExtraFlags"
    SCALE_POSITIONAL: ClassVar[bool] = True
    value: U128


@dataclass(frozen=True, slots=True)
class AccountData:
    """Balances of an account, in units of 10⁻¹⁸ OPEN."""

    SCALE_PATH: ClassVar[str] = "pallet_balances::types::AccountData"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"Balance": Balance}
    free: Balance
    reserved: Balance
    frozen: Balance
    flags: ExtraFlags


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """An account: how often it signed, what keeps it alive, what it owns."""

    SCALE_PATH: ClassVar[str] = "frame_system::AccountInfo"
    SCALE_PARAMS: ClassVar[dict[str, Any]] = {"Nonce": Nonce, "AccountData": AccountData}
    nonce: Nonce
    consumers: U32
    providers: U32
    sufficients: U32
    data: AccountData


NEW_FLAGS = ExtraFlags(1 << 127)
EMPTY_ACCOUNT = AccountInfo(0, 0, 0, 0, AccountData(0, 0, 0, NEW_FLAGS))


@variant(index=0, positional=True)
@dataclass(frozen=True, slots=True)
class ApplyExtrinsic:
    """While the extrinsic of this index was applied."""

    index: U32


@variant(index=1)
@dataclass(frozen=True, slots=True)
class Finalization:
    """While the block was closed."""


@variant(index=2)
@dataclass(frozen=True, slots=True)
class Initialization:
    """While the block was opened."""


Phase = Annotated[ApplyExtrinsic | Finalization | Initialization, Variants("frame_system::Phase")]


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest items of a header."""

    SCALE_PATH: ClassVar[str] = "sp_runtime::generic::digest::Digest"
    logs: tuple[DigestItem, ...]


def _encode_as_is(data: bytes) -> bytes:
    return data


def _decode_rest(data: bytes, offset: int) -> tuple[bytes, int]:
    return data[offset:], len(data)


EncodedEvents = Annotated[bytes, Raw(Codec(_encode_as_is, _decode_rest), "Vec<EventRecord>")]
"""`Vec<EventRecord>`, kept encoded: a block's events are encoded once, when it is closed."""
