from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.state import LayeredState, MemoryState
from runtime.state.difference import Change, difference
from runtime.state.node_codec import Slot, slot_of
from runtime.state.store import State
from runtime.state.trie import update

nibbly = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xF0, 0xFF]), max_size=4).map(bytes)
keys = nibbly | nibbly.map(lambda tail: bytes(24) + tail) | st.binary(max_size=3)
values = st.sampled_from([0, 1, 20, 31, 32, 33, 90]).map(bytes) | st.binary(max_size=2)
entries = st.dictionaries(keys, values, max_size=25)


def expected(
    old: dict[bytes, bytes], new: dict[bytes, bytes], prefix: bytes
) -> list[tuple[bytes, bytes | None, bytes | None]]:
    return [
        (key, old.get(key), new.get(key))
        for key in sorted({*old, *new})
        if key.startswith(prefix) and old.get(key) != new.get(key)
    ]


def resolved(slot: Slot | None, state: State) -> bytes | None:
    if slot is None:
        return None
    return state.node(slot[1]) if slot[0] else slot[1]


def found(old: State, new: State, prefix: bytes) -> list[tuple[bytes, bytes | None, bytes | None]]:
    changes = difference(old, new, prefix)
    return [(c.key, resolved(c.old, old), resolved(c.new, new)) for c in changes]


@settings(max_examples=400)
@given(entries, entries, keys)
@example({}, {}, b"")
@example({b"\x00": b"1"}, {b"\x00\x00": b"1", b"\x01": b"1"}, b"")
def test_the_difference_of_any_two_states_is_that_of_their_entries(
    old: dict[bytes, bytes], new: dict[bytes, bytes], prefix: bytes
) -> None:
    states = MemoryState(old), MemoryState(new)
    for wanted in (b"", prefix):
        assert found(*states, wanted) == expected(old, new, wanted)


@settings(max_examples=200)
@given(entries, st.dictionaries(keys, st.none() | values, max_size=5), keys)
def test_a_blocks_changes_are_the_difference_to_its_parent(
    old: dict[bytes, bytes], changes: dict[bytes, bytes | None], prefix: bytes
) -> None:
    state = MemoryState(old)
    layered = LayeredState(state, changes, update(state.node, state.root, changes))
    new = {key: value for key, value in {**old, **changes}.items() if value is not None}
    assert found(state, layered, prefix) == expected(old, new, prefix)
    assert found(layered, state, prefix) == expected(new, old, prefix)


@given(entries)
def test_values_of_either_state_version_are_the_same_values(held: dict[bytes, bytes]) -> None:
    assert list(difference(MemoryState(held, 0), MemoryState(held, 1))) == []


def test_only_the_ways_to_what_differs_are_read() -> None:
    held = {i.to_bytes(4, "big") * 4: bytes(40) for i in range(5000)}
    key = (77).to_bytes(4, "big") * 4
    old, new = MemoryState(held), MemoryState({**held, key: bytes(41)})
    read = 0

    class Counted(MemoryState):
        def node(self, node_hash: bytes) -> bytes:
            nonlocal read
            read += 1
            return super().node(node_hash)

    counted = Counted({})
    counted.__dict__.update(new.__dict__)
    (change,) = difference(old, counted)
    assert change == Change(key, slot_of(bytes(40), 1), slot_of(bytes(41), 1))
    assert read <= 8
    read = 0
    assert list(difference(old, counted, b"\xff")) == []
    assert list(difference(new, counted)) == []
    assert read <= 1
