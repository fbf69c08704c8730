"""A pallet: a class of declarations, and an instance of them bound to one state.

::

    class Datanets(Pallet, index=20):
        '''Documentation of the pallet.'''

        Error = Error
        EVENTS = (Created,)
        max_fields: Const[U32] = constant(16, doc="Most fields a schema may have.")
        next_id: StorageValue[U32] = value(default=0, doc="The next Datanet's id.")

        @call(index=0, weight=weights.CREATE)
        def create(self, origin: Origin, name: bytes) -> None: ...

Metadata, call decoding and storage keys derive from these declarations. Indices are written,
never inferred. Order inside a call: ensure, effects, event.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Generic, TypeVar, dataclass_transform

from runtime.frame.host import Host
from runtime.frame.storage import StorageItem
from runtime.primitives.errors import (
    DispatchFailure,
    InvalidTransaction,
    InvariantViolation,
    TransactionReason,
)
from runtime.primitives.scale import field_types
from runtime.primitives.types import Weight

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def once(function: F) -> F:
    """Compute a function of a class once for each class."""
    return typing.cast("F", functools.cache(function))


CallWeight = Weight | Callable[..., Weight]


@dataclass(frozen=True, slots=True)
class CallInfo:
    """A call as declared."""

    index: int
    name: str
    weight: CallWeight
    arguments: dict[str, Any]
    """Annotation of each argument, in order."""
    docs: str
    duty: str
    """Name of the pallet's method that admits it without a fee; empty for ordinary calls."""
    mandatory: bool
    """An inherent: made by the block's author only."""


@dataclass(frozen=True, slots=True)
class EventInfo:
    """An event as declared."""

    index: int
    name: str
    cls: type
    fields: dict[str, Any]
    docs: str


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error as declared."""

    index: int
    name: str
    docs: str


class Const(Generic[T]):
    """A constant of the pallet; on an instance it reads as its value."""

    def __init__(self, value: T, doc: str) -> None:
        self.value = value
        self.doc = doc
        self.type: Any = None
        self.name = ""

    @typing.overload
    def __get__(self, pallet: None, owner: type) -> Const[T]: ...
    @typing.overload
    def __get__(self, pallet: Pallet, owner: type) -> T: ...
    def __get__(self, pallet: Pallet | None, owner: type) -> Const[T] | T:
        return self if pallet is None else self.value


def constant(value: Any, *, doc: str) -> Any:
    """Declare a constant of the type that the annotation names."""
    return Const(value, doc)


def call(
    *, index: int, weight: CallWeight, duty: str = "", mandatory: bool = False
) -> Callable[[F], F]:
    """Declare a dispatchable call.

    Args:
        index: Its index in the pallet.
        weight: What it costs, or a function of the arguments that says so.
        duty: Name of a method ``(signer, *arguments) -> tuple[bytes, ...]`` that admits the call
            without a fee, returning tags by which the pool keeps it once; it raises
            InvalidTransaction. A duty that fails at dispatch pays.
        mandatory: An inherent, refused from outside.
    """

    def mark(function: F) -> F:
        function.__call__info = (index, weight, duty, mandatory)  # type: ignore[attr-defined]
        return function

    return mark


@dataclass_transform(frozen_default=True)
def event(*, index: int) -> Callable[[type[T]], type[T]]:
    """Declare an event: a frozen record with a fixed index."""

    def mark(cls: type[T]) -> type[T]:
        record = dataclass(frozen=True, slots=True)(cls)
        record.EVENT_INDEX = index  # type: ignore[attr-defined]
        return record

    return mark


def pascal(name: str) -> str:
    """Turn a Python name into the metadata's: ``next_id`` and ``NEXT_ID`` give ``NextId``."""
    return "".join(part[:1].upper() + part[1:].lower() for part in name.split("_"))


class Pallet:
    """Base of all pallets."""

    NAME: ClassVar[str]
    INDEX: ClassVar[int]
    EVENTS: ClassVar[tuple[type, ...]] = ()
    Error: ClassVar[type[IntEnum] | None] = None

    def __init_subclass__(cls, index: int, name: str = "") -> None:
        cls.INDEX = index
        cls.NAME = name or cls.__name__

    def __init__(self, host: Host) -> None:
        self.host = host
        for name, item in storage_items(type(self)).items():
            setattr(self, name, item.bind(host.overlay))

    def deposit_event(self, record: object) -> None:
        """Record that something happened; vanishes if the call fails."""
        self.host.deposit(self.INDEX, record)

    def build_genesis(self, genesis: Any) -> None:
        """Write the pallet's first state from its part of the chain specification (JSON values)."""

    def on_initialize(self, number: int) -> None:
        """Do the block's first work, within a bounded number of steps."""

    def on_finalize(self, number: int) -> None:
        """Do the block's last work, within a bounded number of steps."""

    def check_invariants(self) -> None:
        """Raise InvariantViolation where the pallet's storage contradicts itself."""


@once
def storage_items(cls: type[Pallet]) -> dict[str, StorageItem]:
    """Return the storage items of a pallet by Python name, in the order of declaration."""
    hints = typing.get_type_hints(cls, include_extras=True)
    items: dict[str, StorageItem] = {}
    for name, item in vars(cls).items():
        if isinstance(item, StorageItem):
            item.declare(cls.NAME, pascal(name), hints[name])
            items[name] = item
    return items


@once
def constants(cls: type[Pallet]) -> tuple[Const[Any], ...]:
    """Return the constants of a pallet in the order of declaration."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = []
    for name, item in vars(cls).items():
        if isinstance(item, Const):
            item.name = CONSTANT_NAMES.get(name) or pascal(name)
            (item.type,) = typing.get_args(hints[name])
            found.append(item)
    return tuple(found)


CONSTANT_NAMES = {"ss58_prefix": "SS58Prefix"}
"""Names that the ecosystem does not write in plain Pascal case."""


@once
def calls(cls: type[Pallet]) -> dict[int, CallInfo]:
    """Return the calls of a pallet by index."""
    found: dict[int, CallInfo] = {}
    for name, function in vars(cls).items():
        info = getattr(function, "__call__info", None)
        if info is None:
            continue
        index, weight, duty, mandatory = info
        hints = typing.get_type_hints(function, include_extras=True)
        arguments = {k: t for k, t in hints.items() if k not in ("origin", "return")}
        if index in found:
            raise InvariantViolation(f"{cls.NAME} has two calls with index {index}")
        docs = inspect.getdoc(function) or ""
        found[index] = CallInfo(index, name, weight, arguments, docs, duty, mandatory)
    return dict(sorted(found.items()))


@once
def events(cls: type[Pallet]) -> dict[int, EventInfo]:
    """Return the events of a pallet by index."""
    found: dict[int, EventInfo] = {}
    for record in cls.EVENTS:
        index: int = record.EVENT_INDEX  # type: ignore[attr-defined]
        if index in found:
            raise InvariantViolation(f"{cls.NAME} has two events with index {index}")
        docs = inspect.getdoc(record) or ""
        found[index] = EventInfo(index, record.__name__, record, field_types(record), docs)
    return dict(sorted(found.items()))


@once
def errors(cls: type[Pallet]) -> dict[int, ErrorInfo]:
    """Return the errors of a pallet by index, documented by the string under each member."""
    if cls.Error is None:
        return {}
    docs = member_docs(cls.Error)
    return {int(e): ErrorInfo(int(e), pascal(e.name), docs.get(e.name, "")) for e in cls.Error}


def refusal(cls: type[Pallet], failure: DispatchFailure) -> InvalidTransaction:
    """Refuse a duty for an error of its pallet, by name and text, before a block carries it."""
    code: int = failure.error.value
    info = errors(cls)[code]
    return InvalidTransaction(
        TransactionReason.CUSTOM, f"{cls.NAME}.{info.name}: {info.docs}", code
    )


@once
def member_docs(cls: type) -> dict[str, str]:
    """Return the string literal that follows each assignment in the body of a class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    docs: dict[str, str] = {}
    if not isinstance(tree, ast.ClassDef):
        return docs
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            docs[node.targets[0].id] = inspect.cleandoc(following.value.value)
    return docs
