"""Pages of what is too long for one answer: how far a call looks, and where the next one begins."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Annotated, Any, TypeVar

from runtime.frame.runtime_api import ApiArgumentError
from runtime.frame.storage import StorageItem
from runtime.primitives.scale import Named, Uint
from runtime.state.store import StateReader

V = TypeVar("V")

PageSize = Annotated[int, Uint(32), Named("PageSize")]
"""How many entries a call looks at: 1 to 100."""
MOST = 100
USUAL = 25
"""Entries of a page for which no size is given."""


def page_size(count: int | None) -> int:
    """Return the size of a page; raises ApiArgumentError."""
    if count is None:
        return USUAL
    if not 1 <= count <= MOST:
        raise ApiArgumentError(f"a page has 1 to {MOST} entries, not {count}")
    return count


def newest_first(
    get: Callable[[int], V | None],
    following: int,
    start: int | None,
    count: int | None,
    keep: Callable[[V], bool] = lambda _: True,
) -> tuple[tuple[tuple[int, V], ...], int | None]:
    """Look at `count` entries of a map with dense ids, from `start` (default: the newest) down.

    `following` is the id that the next entry will have. Returns the entries that `keep` wants and
    where the next page starts, None at the end. Raises ApiArgumentError.
    """
    size = page_size(count)
    first = following - 1 if start is None else min(start, following - 1)
    end = max(first - size, -1)
    found = tuple(
        (index, entry)
        for index in range(first, end, -1)
        if (entry := get(index)) is not None and keep(entry)
    )
    return found, end if end >= 0 else None


def by_key(
    state: StateReader, item: StorageItem, prefix: tuple[Any, ...], after: Any, count: int | None
) -> tuple[tuple[tuple[Any, Any], ...], Any]:
    """Return `count` entries of a map below `prefix` and behind the key `after`, by storage key.

    The last part of each key stands with its value; then comes the key behind which the next page
    begins, None at the end. Raises ApiArgumentError.
    """
    size = page_size(count)
    behind = None if after is None else item.key(*prefix, after)
    drawn = tuple(islice(state.iterate(item.key(*prefix), behind), size + 1))
    found = tuple(
        (item.split_key(raw_key)[-1], item.decode_value(raw)) for raw_key, raw in drawn[:size]
    )
    return found, found[-1][0] if len(drawn) > size else None


def text(data: bytes) -> str:
    """Return bytes that the chain checked to be UTF-8, or admitted unchecked, as text."""
    return data.decode("utf-8", "replace")
