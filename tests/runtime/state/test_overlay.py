from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runtime.state import MemoryState, NoTransaction, Overlay

BASE = {
    b"a": b"1",
    b"aa": b"",
    b"ab": b"3",
    b"b\xff": b"4",
    b"b\xff\xff": b"5",
    b"\xff": b"6",
    b"": b"7",
}
keys = st.sampled_from([*BASE, b"c", b"ac", b"b", b"aab", b"\xff\x00", b"\x00"])
written = st.sampled_from([b"a", b"ac", b"b\xff\xff", b"\x00"])
values = st.sampled_from([b"", b"1", b"new", bytes(40)])
prefixes = st.sampled_from([b"", b"a", b"b\xff", b"\xff", b"zz"])


class OverlayMachine(RuleBasedStateMachine):
    """An overlay beside a stack of whole copies."""

    def __init__(self) -> None:
        super().__init__()
        self.state = MemoryState(BASE)
        self.overlay = Overlay(self.state)
        self.stack = [dict(BASE)]
        self.writes = 0

    @rule(key=written, value=values)
    def put(self, key: bytes, value: bytes) -> None:
        self.overlay.put(key, value)
        self.stack[-1][key] = value
        self.writes += 1

    @rule(key=written)
    def delete(self, key: bytes) -> None:
        self.overlay.delete(key)
        self.stack[-1].pop(key, None)
        self.writes += 1

    @rule()
    def begin(self) -> None:
        self.overlay.begin()
        self.stack.append(dict(self.stack[-1]))

    @precondition(lambda self: len(self.stack) > 1)
    @rule()
    def commit(self) -> None:
        self.overlay.commit()
        self.stack[-2:] = [self.stack[-1]]

    @precondition(lambda self: len(self.stack) > 1)
    @rule()
    def rollback(self) -> None:
        self.overlay.rollback()
        self.stack.pop()

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        assert self.overlay.get(key) == self.stack[-1].get(key)

    @rule(prefix=prefixes, after=st.none() | keys)
    def iterate(self, prefix: bytes, after: bytes | None) -> None:
        expected = [
            (key, value)
            for key, value in sorted(self.stack[-1].items())
            if key.startswith(prefix) and (after is None or key > after)
        ]
        assert list(self.overlay.iterate(prefix, after)) == expected

    @invariant()
    def the_changes_lead_from_the_base_to_the_model(self) -> None:
        model = self.stack[-1]
        expected = {k: model.get(k) for k in BASE | model if model.get(k) != BASE.get(k)}
        assert self.overlay.changes() == expected
        assert list(self.overlay.changes()) == sorted(expected)

    @invariant()
    def counters_and_depth_agree(self) -> None:
        assert self.overlay.writes == self.writes
        assert self.overlay.depth == len(self.stack) - 1

    def teardown(self) -> None:
        self.state.apply(self.overlay.changes())
        assert self.state.root == MemoryState(self.stack[-1]).root


OverlayMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
test_nested_transactions_equal_a_stack_of_copies = OverlayMachine.TestCase


class Watched:
    """A reader that notes what it is asked."""

    def __init__(self) -> None:
        self.state = MemoryState(BASE)
        self.asked: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        self.asked.append(key)
        return self.state.get(key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return self.state.iterate(prefix, after)


def test_the_reader_is_asked_once_for_each_key_and_the_counter_says_so() -> None:
    reader = Watched()
    overlay = Overlay(reader)
    for key in (b"a", b"a", b"absent", b"absent"):
        overlay.get(key)
    overlay.put(b"c", b"x")
    overlay.get(b"c")
    assert (reader.asked, overlay.reads, overlay.writes) == ([b"a", b"absent"], 2, 1)
    assert list(overlay.iterate(b"a")) == [(b"a", b"1"), (b"aa", b""), (b"ab", b"3")]
    assert overlay.reads == 5


def test_an_exception_rolls_back_the_transaction_that_it_leaves_and_no_other() -> None:
    overlay = Overlay(MemoryState(BASE))
    with overlay.transaction():
        overlay.put(b"kept", b"1")
        with pytest.raises(KeyError), overlay.transaction():
            overlay.put(b"kept", b"2")
            overlay.delete(b"a")
            raise KeyError
    assert overlay.changes() == {b"kept": b"1"}
    assert overlay.depth == 0


def test_a_loop_may_delete_and_add_what_it_visits() -> None:
    overlay = Overlay(MemoryState(BASE))
    overlay.put(b"ad", b"8")
    visited = []
    for key, _ in overlay.iterate(b"a"):
        visited.append(key)
        overlay.delete(key)
        overlay.put(key + b"z", b"9")
    assert visited == [b"a", b"aa", b"ab", b"ad"]
    assert [key for key, _ in overlay.iterate(b"a")] == [b"aaz", b"abz", b"adz", b"az"]


def test_rolling_back_undoes_what_inner_transactions_had_committed() -> None:
    overlay = Overlay(MemoryState(BASE))
    overlay.put(b"a", b"outermost")
    overlay.begin()
    overlay.put(b"a", b"outer")
    with overlay.transaction():
        overlay.delete(b"a")
        overlay.put(b"c", b"inner")
    assert overlay.changes() == {b"a": None, b"c": b"inner"}
    overlay.rollback()
    assert overlay.changes() == {b"a": b"outermost"}


@pytest.mark.parametrize("close", [Overlay.commit, Overlay.rollback])
def test_closing_a_transaction_that_was_not_opened_is_refused(close: object) -> None:
    with pytest.raises(NoTransaction):
        close(Overlay(MemoryState(BASE)))  # type: ignore[operator]


def test_overlays_nest_on_overlays() -> None:
    lower = Overlay(MemoryState(BASE))
    lower.put(b"a", b"lower")
    upper = Overlay(lower)
    upper.delete(b"aa")
    assert list(upper.iterate(b"a")) == [(b"a", b"lower"), (b"ab", b"3")]
    assert upper.changes() == {b"aa": None}
