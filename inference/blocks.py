"""Pages of the key-value cache as integers: who holds which, and which prefixes they hold.

A block is a page's worth of consecutive positions of a sequence. A full block of prompt positions
is remembered under a key made of the key before it, its ids, the adapter's content hash and the
tenant; another sequence with the same beginning takes the same page instead of computing it.
Tenants do not share: how fast an answer begins would tell one what another has asked. Output
positions are never remembered, for a device may compute them with other bits than prompt positions.

Every page that this manager took from its source is held by sequences (one, or several if it is
remembered) or idle: remembered, held by none, and dropped in the order in which it was last held.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Protocol

from inference.sequence import Sequence


def blocks_for(positions: int, block: int) -> int:
    """Count the blocks of `block` positions each that hold so many positions."""
    return -(-positions // block)


def prefix_root(adapter: bytes | None, tenant: str) -> bytes:
    """Name the empty prefix: by the adapter's content hash, None for the base model, and tenant."""
    name = b"" if adapter is None else adapter
    return blake2b(bytes([len(name)]) + name + tenant.encode(), digest_size=32).digest()


def prefix_key(parent: bytes, ids: list[int] | tuple[int, ...]) -> bytes:
    """Name a full block by all that its keys and values depend on: blake2b-256.

    Args:
        parent: key of the block before it; `prefix_root` for the first.
        ids: its token ids, below 2^32.
    """
    return blake2b(parent + struct.pack(f"<{len(ids)}I", *ids), digest_size=32).digest()


class PageSource(Protocol):
    """Where pages come from; `inference.arena.Arena` is one."""

    @property
    def free_pages(self) -> int:
        """Pages that can be taken without evicting anything."""

    def take_page(self) -> int | None:
        """Take a page, evicting what the source may evict; None if there is none."""

    def give_page(self, page: int) -> None:
        """Give a page back."""


class BlockManager:
    """Gives sequences their pages, on demand, and shares equal prefixes."""

    def __init__(self, pages: PageSource, positions: int, kept: int = 0) -> None:
        """Manage pages of `positions` positions each.

        Args:
            pages: where they come from and go to.
            positions: positions per page.
            kept: idle pages that are kept while the source can evict something of its own
                instead; beyond them idle pages are dropped first.
        """
        self.positions = positions
        self._pages = pages
        self._kept = kept
        self._holders: dict[int, int] = {}
        self._idle: dict[int, None] = {}
        self._page_of: dict[bytes, int] = {}
        self._key_of: dict[int, bytes] = {}

    @property
    def holders(self) -> Mapping[int, int]:
        """How many sequences hold each held page."""
        return MappingProxyType(self._holders)

    @property
    def remembered(self) -> Mapping[bytes, int]:
        """The page of each prefix key."""
        return MappingProxyType(self._page_of)

    @property
    def idle(self) -> tuple[int, ...]:
        """Remembered pages that no sequence holds, the next to be dropped first."""
        return tuple(self._idle)

    def attach(self, sequence: Sequence) -> int:
        """Continue a sequence at a block's edge with remembered blocks; returns the positions won.

        `computed` moves on, and pages that it held for those positions are let go. At least the
        last prompt position is left to compute, for its logits are wanted.
        """
        start = sequence.computed
        if start % self.positions:
            return 0
        for block in range(start // self.positions, (sequence.prompt_length - 1) // self.positions):
            page = self._page_of.get(self._key(sequence, block))
            if page is None:
                break
            self._hold(page)
            if block < len(sequence.blocks):
                self._let_go(sequence.blocks[block])
                sequence.blocks[block] = page
            else:
                sequence.blocks.append(page)
            sequence.registered = block + 1
            sequence.computed += self.positions
        return sequence.computed - start

    def reserve(self, sequence: Sequence, positions: int, spare: int = 0) -> bool:
        """Give a sequence all pages for so many positions, or none.

        Args:
            sequence: it may hold some already.
            positions: leading positions that its pages must hold.
            spare: pages that must remain to be had, besides, for the reservation to be made.
        """
        count = blocks_for(positions, self.positions) - len(sequence.blocks)
        if count <= 0 and not spare:
            return True
        pages = self._take(max(count, 0), spare)
        if pages is None:
            return False
        for page in pages:
            self._hold(page)
        sequence.blocks.extend(pages)
        return True

    def register(self, sequence: Sequence) -> None:
        """Remember the full prompt blocks that are computed; the first of equal blocks stays."""
        full = min(sequence.computed, sequence.prompt_length) // self.positions
        if full <= sequence.registered:
            return
        for block in range(sequence.registered, full):
            key = self._key(sequence, block)
            if key not in self._page_of:
                self._page_of[key] = sequence.blocks[block]
                self._key_of[sequence.blocks[block]] = key
        sequence.registered = full

    def release(self, sequence: Sequence) -> None:
        """Take all pages from a sequence and set it back to nothing computed."""
        # The deepest block first: a prefix without its end is of use, an end alone is not.
        for page in reversed(sequence.blocks):
            self._let_go(page)
        sequence.blocks.clear()
        sequence.computed = 0
        sequence.registered = 0

    def reclaim(self) -> bool:
        """Give the idle page that was held longest ago to the source; False if none is idle."""
        if not self._idle:
            return False
        self._pages.give_page(self._forget_oldest())
        return True

    def reclaim_spare(self) -> bool:
        """Do the same if more than `kept` pages are idle."""
        return len(self._idle) > self._kept and self.reclaim()

    def _key(self, sequence: Sequence, block: int) -> bytes:
        keys = sequence.keys
        while len(keys) <= block:
            start = len(keys) * self.positions
            ids = sequence.request.prompt_ids[start : start + self.positions]
            request = sequence.request
            parent = keys[-1] if keys else prefix_root(request.adapter, request.tenant)
            keys.append(prefix_key(parent, ids))
        return keys[block]

    def _hold(self, page: int) -> None:
        self._idle.pop(page, None)
        self._holders[page] = self._holders.get(page, 0) + 1

    def _let_go(self, page: int) -> None:
        self._holders[page] -= 1
        if self._holders[page]:
            return
        del self._holders[page]
        if page in self._key_of:
            self._idle[page] = None
        else:
            self._pages.give_page(page)

    def _take(self, count: int, spare: int) -> list[int] | None:
        """Take `count` pages, if `spare` more could be had; the source evicts only if it must."""
        needed = count + spare
        free, above = self._pages.free_pages, max(0, len(self._idle) - self._kept)
        if free + above >= needed:
            pages = self._ask(min(count, free))
        else:
            pages = self._ask(needed - above)
            enough = len(pages) + len(self._idle) >= needed
            while len(pages) > (count if enough else 0):
                self._pages.give_page(pages.pop())
            if not enough:
                return None
        pages.extend(self._forget_oldest() for _ in range(count - len(pages)))
        return pages

    def _ask(self, count: int) -> list[int]:
        pages: list[int] = []
        while len(pages) < count and (page := self._pages.take_page()) is not None:
            pages.append(page)
        return pages

    def _forget_oldest(self) -> int:
        page = next(iter(self._idle))
        del self._idle[page]
        del self._page_of[self._key_of.pop(page)]
        return page
