"""Names as people type them: letters' case, dashes and underscores make no difference."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeVar

from runtime.api import pallet_constants
from runtime.construct import PALLETS
from runtime.frame.calls import Call, CallEntry
from runtime.frame.calls import outer_table as call_table
from runtime.frame.pallet import Const, Pallet, calls, storage_items
from runtime.frame.storage import StorageItem
from runtime.primitives.errors import Refusal

T = TypeVar("T")


class NameReason(Enum):
    """What a name names nothing of."""

    NO_PALLET = "pallet"
    NO_CALL = "call"
    NO_ITEM = "storage item"
    NO_CONSTANT = "constant"


class NameRefusal(Refusal):
    """A name that names nothing; the text lists what there is."""

    def __init__(self, reason: NameReason, text: str, where: str, known: Iterable[str]) -> None:
        names = list(known)
        meant = " or ".join(_meant(text, names))
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(names) or 'none'}"
        super().__init__(reason, f"{where} has no {reason.value} {text!r}; {hint}")
        self.reason: NameReason = reason


def plain(name: str) -> str:
    """Return what is left of a name without case, dashes and underscores."""
    return name.replace("-", "").replace("_", "").lower()


def _meant(text: str, names: list[str]) -> list[str]:
    """Return the names that begin as the text does; without such the one most like it."""
    wanted = plain(text)
    begin = [name for name in names if wanted and plain(name).startswith(wanted)]
    near = difflib.get_close_matches(wanted, map(plain, names), n=1)
    return begin or [name for name in names if plain(name) in near]


def dashed(name: str) -> str:
    """Write a name as an option or a subcommand has it."""
    return name.rstrip("_").replace("_", "-")


def pick(known: Mapping[str, T], text: str) -> T | None:
    """Return what a name means among others, None for nothing."""
    return next((thing for name, thing in known.items() if plain(name) == plain(text)), None)


def find_pallet(text: str) -> type[Pallet]:
    """Return a pallet; raises NameRefusal."""
    known = {pallet.NAME: pallet for pallet in PALLETS}
    found = pick(known, text)
    if found is None:
        raise NameRefusal(NameReason.NO_PALLET, text, "the runtime", known)
    return found


def find_call(pallet: type[Pallet], text: str) -> CallEntry:
    """Return the declaration of a call; raises NameRefusal."""
    known = {info.name: info for info in calls(pallet).values()}
    found = pick(known, text)
    if found is None:
        raise NameRefusal(NameReason.NO_CALL, text, pallet.NAME, map(dashed, known))
    return call_table().entry(Call(pallet.NAME, found.name, ()))


def find_item(pallet: type[Pallet], text: str) -> StorageItem:
    """Return a storage item; raises NameRefusal."""
    known = {item.name: item for item in storage_items(pallet).values()}
    found = pick(known, text)
    if found is None:
        raise NameRefusal(NameReason.NO_ITEM, text, pallet.NAME, known)
    return found


def find_constant(pallet: type[Pallet], text: str) -> Const[object]:
    """Return a constant; raises NameRefusal."""
    known = {constant.name: constant for constant in pallet_constants(pallet)}
    found = pick(known, text)
    if found is None:
        raise NameRefusal(NameReason.NO_CONSTANT, text, pallet.NAME, known)
    return found


def split_words(words: list[str]) -> list[str]:
    """Take ``Balances.transfer_keep_alive`` apart at the beginning of a command's words."""
    if words and "." in words[0] and not words[0].startswith("-"):
        return [*words[0].split(".", 1), *words[1:]]
    return words


def first_line(docs: str) -> str:
    """Return the first paragraph of a documentation as one line."""
    return " ".join(docs.partition("\n\n")[0].split())
