"""Save and load an influence index; what is loaded is checked before it is used."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from inference.attribution.basis import Basis, FactorBasis, IntegerRows
from inference.attribution.container import (
    ContainerReason,
    ContainerRefused,
    pack_container,
    read_container,
    unpack_container,
    write_container,
)
from inference.attribution.gradients import Factor
from inference.attribution.index import InfluenceIndex
from inference.backbone.lora import Side
from inference.backbone.sites import MODULES, LoraSite
from runtime.protocols.ids import RecordId
from runtime.protocols.scoring import MAX_RECORD_EXPONENT, ScoreRefusal, check_layout

FORMAT = "influence-index-1"


class _Part(NamedTuple):
    name: str
    dtype: str


_FACTOR_PARTS = (
    _Part("input_values", "<i2"),
    _Part("input_exponents", "<i2"),
    _Part("output_values", "<i2"),
    _Part("output_exponents", "<i2"),
    _Part("coordinates", "<u4"),
    _Part("weights", "<i2"),
    _Part("weight_exponents", "<i2"),
)


def index_bytes(index: InfluenceIndex) -> bytes:
    """Encode an index; equal indexes have equal bytes."""
    factors = [
        [f.factor.site.layer, f.factor.site.module, f.factor.side, f.number]
        for f in index.basis.factors
    ]
    arrays: dict[str, NDArray[Any]] = {
        "bases": index.bases,
        "datanets": np.array([r.datanet for r in index.records], dtype=np.uint32),
        "records": np.array([r.record for r in index.records], dtype=np.uint64),
        "content_hashes": np.frombuffer(b"".join(index.content_hashes), np.uint8).reshape(-1, 32),
        "codes": index.codes,
        "offsets": index.offsets,
    }
    for number, factor in enumerate(index.basis.factors):
        for part, array in zip(_FACTOR_PARTS, _factor_arrays(factor), strict=True):
            arrays[f"{number}.{part.name}"] = array
    return pack_container({"format": FORMAT, "factors": factors}, arrays)


def save_index(index: InfluenceIndex, path: Path) -> bytes:
    """Write an index; returns the content hash that a manifest names."""
    return write_container(path, index_bytes(index))


def load_index(path: Path, expected: bytes | None = None) -> InfluenceIndex:
    """Read an index, of an expected content hash; raises ContainerRefused."""
    return decode_index(read_container(path, expected))


def decode_index(data: bytes) -> InfluenceIndex:
    """Decode and check an index; raises ContainerRefused."""
    fields, arrays = unpack_container(data)
    try:
        factors = tuple(
            _factor(arrays, number, stated) for number, stated in enumerate(fields["factors"])
        )
        index = InfluenceIndex(
            Basis(factors),
            arrays["bases"],
            tuple(
                RecordId(int(datanet), int(record))
                for datanet, record in zip(arrays["datanets"], arrays["records"], strict=True)
            ),
            tuple(row.tobytes() for row in arrays["content_hashes"]),
            arrays["codes"],
            arrays["offsets"],
        )
        known = fields["format"] == FORMAT and _is_consistent(index)
        check_layout(index.layout)
    except (KeyError, ValueError, TypeError, IndexError, ScoreRefusal) as error:
        raise ContainerRefused(
            ContainerReason.UNEXPECTED, f"no influence index: {error}"
        ) from error
    if not known:
        raise ContainerRefused(ContainerReason.UNEXPECTED)
    return index


def _factor_arrays(factor: FactorBasis) -> tuple[NDArray[Any], ...]:
    return (
        factor.inputs.values,
        factor.inputs.exponents,
        factor.outputs.values,
        factor.outputs.exponents,
        factor.coordinates,
        factor.weights,
        factor.weight_exponents,
    )


def _factor(arrays: dict[str, NDArray[Any]], number: int, stated: list[Any]) -> FactorBasis:
    layer, module, side, place = stated
    if module not in MODULES or side not in ("A", "B"):
        raise ValueError(f"{module} {side} is no LoRA factor")
    parts = [arrays[f"{number}.{part.name}"] for part in _FACTOR_PARTS]
    for part, array in zip(_FACTOR_PARTS, parts, strict=True):
        if array.dtype != np.dtype(part.dtype):
            raise ValueError(f"{part.name} is {array.dtype}")
    factor = Factor(LoraSite(int(layer), module), cast(Side, side))
    inputs, outputs = IntegerRows(parts[0], parts[1]), IntegerRows(parts[2], parts[3])
    return FactorBasis(factor, int(place), inputs, outputs, parts[4], parts[5], parts[6])


def _is_consistent(index: InfluenceIndex) -> bool:
    """Tell whether all shapes fit each other and codes are within their bounds."""
    layout, records = index.layout, len(index.records)
    numbers = [factor.number for factor in index.basis.factors]
    rising = numbers == sorted(set(numbers))
    ordered = list(index.records) == sorted(set(index.records))
    shapes = (
        index.codes.shape == (sum(layout) // 4, records)
        and index.offsets.shape == (len(layout), records)
        and index.bases.shape == (len(layout),)
        and len(index.content_hashes) == records
        and all(len(digest) == 32 for digest in index.content_hashes)
        and not any(count % 4 for count in layout)
    )
    types = index.codes.dtype == index.offsets.dtype == np.uint8 and index.bases.dtype == np.int16
    bounded = not index.offsets.size or int(index.offsets.max()) <= MAX_RECORD_EXPONENT
    return (
        rising
        and ordered
        and shapes
        and types
        and bounded
        and all(_factor_is_consistent(factor) for factor in index.basis.factors)
    )


def _factor_is_consistent(factor: FactorBasis) -> bool:
    rows, columns = len(factor.rows()), len(factor.columns())
    coordinates = factor.coordinates.astype(np.int64)
    return (
        factor.inputs.values.ndim == factor.outputs.values.ndim == 2
        and len(factor.inputs.values) == len(factor.inputs.exponents) == columns
        and len(factor.outputs.values) == len(factor.outputs.exponents) == rows
        and len(factor.weight_exponents) == rows
        and len(factor.weights) == len(coordinates)
        and bool((np.diff(coordinates) > 0).all())
        and int(factor.rows()[-1]) < factor.outputs.values.shape[1]
    )
