from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.state import (
    LayeredState,
    MemoryState,
    MissingNode,
    ReadOnly,
    State,
    TrieState,
    View,
    trie,
)
from runtime.state.ordering import SortedKeys, merge

Changes = dict[bytes, bytes | None]

keys = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0xFE, 0xFF]), max_size=4).map(bytes)
values = st.sampled_from([0, 1, 33, 80]).flatmap(lambda n: st.sampled_from([bytes(n), b"\x05" * n]))
starts = st.dictionaries(keys, values, max_size=20)
changes = st.dictionaries(keys, st.none() | values, max_size=8)


def check(state: State, model: dict[bytes, bytes], prefix: bytes, after: bytes) -> None:
    ordered = sorted(model.items())
    under = [item for item in ordered if item[0].startswith(prefix)]
    assert state.root == trie.build(model).root
    assert list(state.iterate(b"")) == ordered
    assert list(state.iterate(prefix)) == under
    assert list(state.iterate(prefix, after)) == [item for item in under if item[0] > after]
    assert [state.get(key) for key, _ in ordered] == [value for _, value in ordered]
    assert state.get(b"absent") is None


@settings(max_examples=100)
@given(starts, st.lists(changes, min_size=1, max_size=12), keys, keys)
def test_a_pile_of_layers_reads_like_a_flat_state(
    start: dict[bytes, bytes], blocks: list[Changes], prefix: bytes, after: bytes
) -> None:
    state: State = MemoryState(start)
    model = dict(start)
    history: list[tuple[State, dict[bytes, bytes]]] = [(state, model)]
    for block in blocks:
        update = trie.update(state.node, state.root, block)
        state = LayeredState(state, block, update)
        model = {k: v for k, v in (model | block).items() if v is not None}
        history.append((state, model))
    for layer, held in history:
        check(layer, held, prefix, after)
        check(TrieState(layer.node, layer.root), held, prefix, after)


def test_sibling_layers_do_not_see_each_other() -> None:
    parent = MemoryState({b"a": b"1", b"b": b"2"})
    writes: list[Changes] = [{b"a": b"left"}, {b"a": None, b"c": b"right"}]
    left, right = (
        LayeredState(parent, block, trie.update(parent.node, parent.root, block))
        for block in writes
    )
    assert list(parent.iterate(b"")) == [(b"a", b"1"), (b"b", b"2")]
    assert list(left.iterate(b"")) == [(b"a", b"left"), (b"b", b"2")]
    assert list(right.iterate(b"")) == [(b"b", b"2"), (b"c", b"right")]


def test_a_node_that_is_not_there_is_named() -> None:
    state = MemoryState({b"a": b"1"})
    layer = LayeredState(state, {}, trie.update(state.node, state.root, {}))
    with pytest.raises(MissingNode, match=r"0x0707.*pruned"):
        layer.node(b"\x07" * 32)
    with pytest.raises(MissingNode):
        TrieState(state.node, b"\x07" * 32).get(b"a")


def test_a_view_reads_and_refuses_to_write() -> None:
    state = MemoryState({b"a": b"1", b"b": b"2"})
    view = View(state)
    assert view.get(b"a") == b"1"
    assert list(view.iterate(b"", b"a")) == [(b"b", b"2")]
    with pytest.raises(ReadOnly, match="0x61"):
        view.put(b"a", b"3")
    with pytest.raises(ReadOnly, match="0x61"):
        view.delete(b"a")
    assert list(state.iterate(b"")) == [(b"a", b"1"), (b"b", b"2")]


@settings(max_examples=100)
@given(
    st.lists(keys),
    st.lists(st.tuples(st.booleans(), st.lists(keys | st.binary(max_size=2), max_size=50))),
    keys,
    keys,
)
def test_sorted_keys_answer_like_a_sorted_set(
    start: list[bytes], steps: list[tuple[bool, list[bytes]]], prefix: bytes, after: bytes
) -> None:
    ordering = SortedKeys(start)
    model = set(start)
    for adding, some in steps:
        if adding:
            for key in some:
                ordering.add(key)
            model.update(some)
        else:
            ordering.discard(some)
            model.difference_update(some)
        under = [key for key in sorted(model) if key.startswith(prefix)]
        assert ordering.under(b"") == sorted(model)
        assert ordering.under(prefix) == under
        assert ordering.under(prefix, after) == [key for key in under if key > after]


@given(starts, changes)
def test_merging_yields_the_changed_map_in_order(base: dict[bytes, bytes], new: Changes) -> None:
    def stream() -> Iterator[tuple[bytes, bytes]]:
        yield from sorted(base.items())

    expected = [(k, v) for k, v in sorted((base | new).items()) if v is not None]
    assert list(merge(stream(), sorted(new.items()))) == expected
