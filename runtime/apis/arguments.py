"""Types of arguments and results that clients look for under the ecosystem's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from runtime.frame.metadata_extrinsic import EXTRINSIC_PATH
from runtime.primitives.scale import Codec, DecodeError, Named, Raw, compact_decode


def _encode_as_is(extrinsic: bytes) -> bytes:
    return extrinsic


def _decode_extrinsic(data: bytes, offset: int) -> tuple[bytes, int]:
    try:
        length, start = compact_decode(data, offset)
    except IndexError as error:
        raise DecodeError("an extrinsic is missing") from error
    end = start + length
    if end > len(data):
        raise DecodeError("the extrinsic is longer than the arguments")
    return data[offset:end], end


Extrinsic = Annotated[
    bytes, Raw(Codec(_encode_as_is, _decode_extrinsic), EXTRINSIC_PATH), Named("Extrinsic")
]
"""An extrinsic as it is submitted, its length prefix included; its parts are not looked at."""


@dataclass(frozen=True, slots=True)
class OpaqueMetadata:
    """Metadata in one of its versions, with magic and version."""

    SCALE_PATH: ClassVar[str] = "sp_core::OpaqueMetadata"
    SCALE_POSITIONAL: ClassVar[bool] = True
    blob: bytes
