"""The committed curvature: integers from which all validators compute the same coordinates.

Only the eigenvectors that a chosen coordinate needs are kept. Each is a row of int16 values times a
power of two of its own; so are the weights `(Λ + λ)^(-1/2)` of the coordinates of one output row.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.attribution.arrays import Float64s, Int16s, Int64s, UInt32s
from inference.attribution.gradients import Factor, Trace
from runtime.protocols import commitments
from runtime.protocols.commitments import CoordinateLeaf, CurvatureLeaf, CurvaturePart


@dataclass(frozen=True, slots=True)
class IntegerRows:
    """int16 [rows, width] times 2**exponents, int16 [rows]."""

    values: Int16s
    exponents: Int16s

    def floats(self) -> Float64s:
        """Return the numbers that the integers stand for, exactly, float64 [rows, width]."""
        return np.ldexp(self.values.astype(np.float64), self.exponents[:, None])


@dataclass(frozen=True, slots=True)
class FactorBasis:
    """The chosen coordinates of one LoRA factor; a coordinate is a pair of eigenvectors."""

    factor: Factor
    number: int
    """The factor's place among those that are traced, in the order of the sites, A before B."""
    inputs: IntegerRows
    """Kept eigenvectors of the inputs' second moment, [kept, inputs]."""
    outputs: IntegerRows
    """Kept eigenvectors of the output gradients' second moment, [kept, outputs]."""
    coordinates: UInt32s
    """uint32 [m], ascending: output eigenvector * inputs + input eigenvector."""
    weights: Int16s
    """int16 [m], times 2**weight_exponents of the coordinate's output eigenvector."""
    weight_exponents: Int16s

    def rows(self) -> Int64s:
        """Return the numbers of the kept output eigenvectors, ascending."""
        return np.unique(self._pairs()[0])

    def columns(self) -> Int64s:
        """Return the numbers of the kept input eigenvectors, ascending."""
        return np.unique(self._pairs()[1])

    def places(self) -> tuple[Int64s, Int64s]:
        """Return each coordinate's place among the kept rows and columns, int64 [m] each."""
        row, column = self._pairs()
        return np.searchsorted(self.rows(), row), np.searchsorted(self.columns(), column)

    def _pairs(self) -> tuple[Int64s, Int64s]:
        row, column = np.divmod(self.coordinates.astype(np.int64), self.inputs.values.shape[1])
        return row, column

    def scale(self) -> Float64s:
        """Return `(Λ + λ)^(-1/2)` as committed, float64 [m]."""
        exponents = self.weight_exponents[self.places()[0]]
        return np.ldexp(self.weights.astype(np.float64), exponents)

    def curvature_leaves(self) -> Iterator[CurvatureLeaf]:
        """Yield the committed rows; the eigenvalues stand as their damped inverse roots."""
        for part, numbers, kept in (
            (CurvaturePart.INPUT_BASIS, self.columns(), self.inputs),
            (CurvaturePart.OUTPUT_BASIS, self.rows(), self.outputs),
        ):
            for row, values, exponent in zip(numbers, kept.values, kept.exponents, strict=True):
                data = values.astype("<i2").tobytes()
                yield CurvatureLeaf(self.number, part, int(row), int(exponent), data)
        place = self.places()[0]
        for at, row in enumerate(self.rows()):
            data = self.weights[place == at].astype("<i2").tobytes()
            exponent = int(self.weight_exponents[at])
            yield CurvatureLeaf(self.number, CurvaturePart.EIGENVALUES, int(row), exponent, data)


@dataclass(frozen=True, slots=True)
class Projector:
    """A factor's basis as the floating-point numbers that it stands for, ready for use."""

    factor: Factor
    inputs: Tensor
    outputs: Tensor
    row: Tensor
    column: Tensor
    scale: Tensor

    def whiten(self, trace: Trace) -> Tensor:
        """Compute the whitened coordinates of each passage, float64 [batch, m]."""
        left, right = self._project(trace)
        products = left.transpose(1, 2) @ right
        return products[:, self.row, self.column] * self.scale

    def whiten_tokens(self, trace: Trace) -> Tensor:
        """Split the whitened coordinates by token, float64 [batch, length, m]; they sum to them."""
        left, right = self._project(trace)
        return left[:, :, self.row] * right[:, :, self.column] * self.scale

    def _project(self, trace: Trace) -> tuple[Tensor, Tensor]:
        left = trace.gradients[self.factor].to(torch.float64) @ self.outputs
        return left, trace.inputs[self.factor].to(torch.float64) @ self.inputs


@dataclass(frozen=True, slots=True)
class Basis:
    """The factors that hold chosen coordinates, in the canonical order of the sites, A before B."""

    factors: tuple[FactorBasis, ...]

    @property
    def layout(self) -> tuple[int, ...]:
        """Return how many coordinates each factor ("module" of the codes) has."""
        return tuple(len(factor.coordinates) for factor in self.factors)

    def projectors(self) -> "Projectors":
        """Prepare the basis for computing."""
        return Projectors(tuple(_projector(factor) for factor in self.factors))

    def curvature_root(self) -> bytes:
        """Commit to the eigenvectors and weights."""
        return commitments.curvature_root(
            leaf for factor in self.factors for leaf in factor.curvature_leaves()
        )

    def coordinates_root(self, bases: Int16s) -> bytes:
        """Commit to the coordinate lists and the bases of the records' exponents."""
        return commitments.coordinates_root(
            CoordinateLeaf(
                factor.number,
                int(base),
                factor.inputs.values.shape[1],
                tuple(factor.coordinates.tolist()),
            )
            for factor, base in zip(self.factors, bases, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Projectors:
    """All factors' projectors; a passage's coordinates follow each other in their order."""

    factors: tuple[Projector, ...]

    def whiten(self, trace: Trace) -> Float64s:
        """Compute float64 [batch, coordinates]."""
        whitened: Float64s = torch.cat([f.whiten(trace) for f in self.factors], dim=1).numpy()
        return whitened

    def whiten_tokens(self, trace: Trace) -> Float64s:
        """Compute float64 [batch, length, coordinates]."""
        split: Float64s = torch.cat([f.whiten_tokens(trace) for f in self.factors], dim=2).numpy()
        return split


def quantise_factor(
    factor: Factor,
    number: int,
    frames: tuple[Float64s, Float64s],
    coordinates: Int64s,
    scale: Float64s,
) -> FactorBasis:
    """Keep the eigenvectors that the coordinates use and round everything, half to even.

    Args:
        factor: which LoRA factor it is.
        number: its place among all factors.
        frames: eigenvectors, as columns, of the outputs float64 [outputs, outputs] and the inputs.
        coordinates: int64 [m], ascending, row * inputs + column.
        scale: float64 [m], `(Λ + λ)^(-1/2)` of each coordinate.
    """
    outputs, inputs = frames
    row, column = np.divmod(coordinates, inputs.shape[1])
    kept_rows, place = np.unique(row, return_inverse=True)
    peaks = np.zeros(len(kept_rows))
    np.maximum.at(peaks, place, scale)
    exponents = _exponents(peaks)
    return FactorBasis(
        factor,
        number,
        _integer_rows(inputs[:, np.unique(column)].T),
        _integer_rows(outputs[:, kept_rows].T),
        coordinates.astype(np.uint32),
        np.rint(np.ldexp(scale, -exponents[place])).astype(np.int16),
        exponents,
    )


def _integer_rows(matrix: Float64s) -> IntegerRows:
    exponents = _exponents(np.abs(matrix).max(axis=1))
    values = np.rint(np.ldexp(matrix, -exponents[:, None])).astype(np.int16)
    return IntegerRows(values, exponents)


def _exponents(peaks: Float64s) -> Int16s:
    """Find the least powers of two under which the peaks round to at most 32767."""
    exponents = np.frexp(peaks)[1].astype(np.int16) - np.int16(15)
    exponents += np.rint(np.ldexp(peaks, -exponents)) > np.iinfo(np.int16).max
    return exponents


def _projector(basis: FactorBasis) -> Projector:
    row, column = basis.places()
    return Projector(
        basis.factor,
        torch.from_numpy(np.ascontiguousarray(basis.inputs.floats().T)),
        torch.from_numpy(np.ascontiguousarray(basis.outputs.floats().T)),
        torch.from_numpy(row),
        torch.from_numpy(column),
        torch.from_numpy(basis.scale()),
    )
