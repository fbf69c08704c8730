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

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Generic, TypeVar, dataclass_transform

from runtime.frame.documentation import member_docs
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


TypesOfPallet = Mapping[str, tuple[Any, str]]
"""Types that a pallet works with, by the name clients look for: annotation and documentation."""
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
    deprecated: str
    """What to use instead; empty for what stays."""


@dataclass(frozen=True, slots=True)
class EventInfo:
    """An event as declared."""

    index: int
    name: str
    cls: type
    fields: dict[str, Any]
    docs: str
    deprecated: str


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error as declared."""

    index: int
    name: str
    docs: str


class Const(Generic[T]):
    """A constant of the pallet; on an instance it reads as its value."""

    def __init__(self, value: T, doc: str, deprecated: str = "") -> None:
        self.value = value
        self.doc = doc
        self.deprecated = deprecated
        self.type: Any = None
        self.name = ""

    @typing.overload
    def __get__(self, pallet: None, owner: type) -> Const[T]: ...
    @typing.overload
    def __get__(self, pallet: Pallet, owner: type) -> T: ...
    def __get__(self, pallet: Pallet | None, owner: type) -> Const[T] | T:
        return self if pallet is None else self.value


class LateConst(Const[T]):
    """A constant that is known only where everything is wired: asked for at each reading."""

    def __init__(self, make: Callable[[], T], doc: str) -> None:
        self._make = make
        self.doc = doc
        self.deprecated = ""
        self.type = None
        self.name = ""

    @property
    def value(self) -> T:  # type: ignore[override]
        """The value."""
        return self._make()


def constant(value: Any, *, doc: str, deprecated: str = "") -> Any:
    """Declare a constant of the type that the annotation names."""
    return Const(value, doc, deprecated)


def late_constant(make: Callable[[], Any], *, doc: str) -> Any:
    """Declare a constant whose value a function gives once the runtime is wired."""
    return LateConst(make, doc)


def call(
    *,
    index: int,
    weight: CallWeight,
    duty: str = "",
    mandatory: bool = False,
    deprecated: str = "",
) -> Callable[[F], F]:
    """Declare a dispatchable call.

    Args:
        index: Its index in the pallet.
        weight: What it costs, or a function of the arguments that says so.
        duty: Name of a method ``(signer, *arguments) -> tuple[bytes, ...]`` that admits the call
            without a fee, returning tags by which the pool keeps it once; it raises
            InvalidTransaction. A duty that fails at dispatch pays.
        mandatory: An inherent, refused from outside.
        deprecated: What to use instead, for a call that will go; wallets show it.
    """

    def mark(function: F) -> F:
        info = (index, weight, duty, mandatory, deprecated)
        function.__call__info = info  # type: ignore[attr-defined]
        return function

    return mark


@dataclass_transform(frozen_default=True)
def event(*, index: int, deprecated: str = "") -> Callable[[type[T]], type[T]]:
    """Declare an event: a frozen record with a fixed index."""

    def mark(cls: type[T]) -> type[T]:
        record = dataclass(frozen=True, slots=True)(cls)
        record.EVENT_INDEX = index  # type: ignore[attr-defined]
        record.EVENT_DEPRECATED = deprecated  # type: ignore[attr-defined]
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
    TYPES: ClassVar[TypesOfPallet] = {}

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
        index, weight, duty, mandatory, deprecated = info
        hints = typing.get_type_hints(function, include_extras=True)
        arguments = {k: t for k, t in hints.items() if k not in ("origin", "return")}
        if index in found:
            raise InvariantViolation(f"{cls.NAME} has two calls with index {index}")
        docs = inspect.getdoc(function) or ""
        found[index] = CallInfo(index, name, weight, arguments, docs, duty, mandatory, deprecated)
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
        note: str = record.EVENT_DEPRECATED  # type: ignore[attr-defined]
        found[index] = EventInfo(index, record.__name__, record, field_types(record), docs, note)
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
