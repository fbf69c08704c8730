"""Trees of RFC 6962's shape, and append-only mountain ranges whose peaks make the same tree.

Leaf hash ``H(0x00 ‖ data)``, node hash ``H(0x01 ‖ left ‖ right)``, H = blake2b-256; the hash of no
leaves is ``H("")``. A range of n leaves has one peak per set bit of n, the highest first. Bagging
the peaks from right to left gives RFC 6962's root of the n leaves; the range's root is
``H(0x02 ‖ bag ‖ n as u64)``, so that a root commits to the number of leaves too and one path format
serves both.

Source: RFC 6962 §2.1; verification as in RFC 9162 §2.1.3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import H256, U64

EMPTY_ROOT = blake2_256(b"")
MAX_PATH = 64


def leaf_hash(data: bytes) -> bytes:
    """Hash a leaf's data."""
    return blake2_256(b"\x00" + data)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into one."""
    return blake2_256(b"\x01" + left + right)


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over the leaves' data."""
    return _root(_append_all(leaves)[1])


def path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the siblings of leaf `index` from the bottom up; raises IndexError beyond the end."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    siblings: list[bytes] = []
    level = [leaf_hash(data) for data in leaves]
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            siblings.append(level[sibling])
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) & 1:
            above.append(level[-1])
        level, index = above, index >> 1
    return tuple(siblings)


def root_from_path(data: bytes, index: int, size: int, siblings: Sequence[bytes]) -> bytes | None:
    """Return the root that a path leads to; None where no path of that length can be right."""
    if not 0 <= index < size or len(siblings) > MAX_PATH:
        return None
    node, last = leaf_hash(data), size - 1
    for sibling in siblings:
        if len(sibling) != 32 or last == 0:
            return None
        if index & 1 or index == last:
            node = node_hash(sibling, node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        index, last = index >> 1, last >> 1
    return node if last == 0 else None


def verify_path(
    expected: bytes, data: bytes, index: int, size: int, siblings: Sequence[bytes]
) -> bool:
    """Tell whether `data` is leaf `index` of the `size` leaves under the root `expected`."""
    return root_from_path(data, index, size, siblings) == expected


@dataclass(frozen=True, slots=True)
class MountainRange:
    """An append-only list's peaks, highest first: all that a chain keeps of it."""

    size: U64 = 0
    peaks: tuple[H256, ...] = ()

    def append(self, data: bytes) -> MountainRange:
        """Return the range with one more leaf; O(log size)."""
        peaks = list(self.peaks)
        _push(peaks, self.size, leaf_hash(data))
        return MountainRange(self.size + 1, tuple(peaks))

    def root(self) -> bytes:
        """Return the hash that commits to all leaves, their order and their number."""
        return range_root(_root(self.peaks), self.size)

    def is_consistent(self) -> bool:
        """Tell whether the number of peaks fits the size; for ranges that came from outside."""
        return len(self.peaks) == self.size.bit_count()


def range_of(leaves: Iterable[bytes]) -> MountainRange:
    """Return the range over the leaves' data."""
    size, peaks = _append_all(leaves)
    return MountainRange(size, tuple(peaks))


def range_root(bag: bytes, size: int) -> bytes:
    """Return a range's root from its bagged peaks."""
    return blake2_256(b"\x02" + bag + size.to_bytes(8, "little"))


def verify_in_range(
    expected: bytes, data: bytes, index: int, size: int, siblings: Sequence[bytes]
) -> bool:
    """Tell whether `data` is leaf `index` of the range of `size` leaves with root `expected`.

    The siblings are those of `path` over all leaves.
    """
    bag = root_from_path(data, index, size, siblings)
    return bag is not None and range_root(bag, size) == expected


def _append_all(leaves: Iterable[bytes]) -> tuple[int, list[bytes]]:
    peaks: list[bytes] = []
    size = 0
    for data in leaves:
        _push(peaks, size, leaf_hash(data))
        size += 1
    return size, peaks


def _push(peaks: list[bytes], size: int, node: bytes) -> None:
    while size & 1:
        node = node_hash(peaks.pop(), node)
        size >>= 1
    peaks.append(node)


def _root(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    bag = peaks[-1]
    for peak in reversed(peaks[:-1]):
        bag = node_hash(peak, bag)
    return bag
