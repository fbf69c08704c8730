"""Trees and ranges against RFC 6962's recursive definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.primitives.hashing import blake2_256
from runtime.primitives.scale import decode, encode
from runtime.protocols.merkle import (
    EMPTY_ROOT,
    MountainRange,
    leaf_hash,
    node_hash,
    path,
    range_of,
    range_root,
    root,
    root_from_path,
    verify_in_range,
    verify_path,
)


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, as written."""
    if not leaves:
        return blake2_256(b"")
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return node_hash(recursive_root(leaves[:half]), recursive_root(leaves[half:]))


def recursive_path(leaves: list[bytes], index: int) -> tuple[bytes, ...]:
    """RFC 6962 §2.1.1, as written."""
    if len(leaves) <= 1:
        return ()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    if index < half:
        return (*recursive_path(leaves[:half], index), recursive_root(leaves[half:]))
    return (*recursive_path(leaves[half:], index - half), recursive_root(leaves[:half]))


lists = st.lists(st.binary(max_size=8), max_size=70)


@given(lists)
def test_roots_and_paths_are_those_of_rfc_6962(leaves: list[bytes]) -> None:
    assert root(leaves) == recursive_root(leaves)
    for index in range(len(leaves)):
        assert path(leaves, index) == recursive_path(leaves, index)


@given(lists)
def test_a_range_bags_to_the_root_of_its_leaves_and_then_its_size(leaves: list[bytes]) -> None:
    mountains = MountainRange()
    for leaf in leaves:
        mountains = mountains.append(leaf)
    assert mountains == range_of(leaves)
    assert mountains.is_consistent()
    assert mountains.root() == range_root(recursive_root(leaves), len(leaves))
    assert decode(MountainRange, encode(MountainRange, mountains)) == mountains


def test_the_empty_tree_and_the_empty_range_have_roots_of_their_own() -> None:
    assert root([]) == EMPTY_ROOT
    assert MountainRange().root() not in (EMPTY_ROOT, range_root(EMPTY_ROOT, 1))


def test_a_range_never_has_the_root_of_its_tree_nor_of_a_longer_range() -> None:
    leaves = [bytes((i,)) for i in range(9)]
    roots = [range_of(leaves[:n]).root() for n in range(10)]
    assert len(set(roots) | {root(leaves[:n]) for n in range(10)}) == 20


@given(lists.filter(bool), st.data())
def test_every_leaf_verifies_and_nothing_else_does(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    siblings, expected, size = path(leaves, index), root(leaves), len(leaves)
    in_range = range_of(leaves).root()
    assert verify_path(expected, leaves[index], index, size, siblings)
    assert verify_in_range(in_range, leaves[index], index, size, siblings)
    assert not verify_in_range(expected, leaves[index], index, size, siblings)
    assert not verify_path(expected, leaves[index] + b"x", index, size, siblings)
    assert not verify_path(expected, leaves[index], index, size, (*siblings, b"\x00" * 32))
    assert not verify_path(expected, leaves[index], size, size, siblings)
    assert not verify_path(expected, leaves[index], -1, size, siblings)
    if siblings:
        assert not verify_path(expected, leaves[index], index, size, siblings[:-1])
        assert not verify_path(
            expected, leaves[index], index, size, siblings[::-1] + siblings[:0]
        ) or (siblings == siblings[::-1])


@given(lists.filter(lambda leaves: len(set(leaves)) > 1), st.data())
def test_a_leaf_does_not_verify_at_another_place(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.integers(0, len(leaves) - 1))
    siblings = path(leaves, index)
    if leaves[other] != leaves[index]:
        assert not verify_path(root(leaves), leaves[index], other, len(leaves), siblings)


def test_a_node_cannot_pass_for_a_leaf() -> None:
    leaves = [b"a", b"b", b"c", b"d"]
    inner = leaf_hash(b"a") + leaf_hash(b"b")
    above = node_hash(leaf_hash(b"c"), leaf_hash(b"d"))
    assert not verify_path(root(leaves), inner, 0, 2, (above,))


def test_a_path_with_a_sibling_of_another_length_leads_nowhere() -> None:
    assert root_from_path(b"a", 0, 2, (b"\x00" * 31,)) is None


def test_a_path_beyond_the_end_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        path([b"a"], 1)
    with pytest.raises(IndexError):
        path([b"a"], -1)
