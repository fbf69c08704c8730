"""Errors of calls under the names that people read: pallet, error and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.construct import PALLETS
from runtime.frame.documentation import member_docs, own_doc
from runtime.frame.pallet import errors, pascal


@dataclass(frozen=True, slots=True)
class NamedError:
    """Why a call failed."""

    pallet: str
    """The pallet whose error it is; else its kind: `Token`, `Arithmetic`, or `Runtime`."""
    name: str
    """Name of the error, as the metadata has it."""
    text: str
    """What it means and what to do."""


def named_error(value: Any) -> NamedError:
    """Name a `DispatchErrorValue`."""
    kind = type(value).__name__
    inner: Any = getattr(value, "value", None)
    if inner is None:
        return NamedError("Runtime", kind, own_doc(type(value)))
    if kind != "Module":
        return NamedError(kind, pascal(inner.name), member_docs(type(inner)).get(inner.name, ""))
    for pallet in PALLETS:
        if inner.index == pallet.INDEX:
            info = errors(pallet)[inner.error[0]]
            return NamedError(pallet.NAME, info.name, info.docs)
    return NamedError(f"Pallet{inner.index}", f"Error{inner.error[0]}", "")
