from __future__ import annotations

from node.rpc.slow_calls import SLOW_FOR_SECONDS, SlowCalls


def test_a_method_that_took_long_once_is_not_slow() -> None:
    calls = SlowCalls()
    calls.note("a", 0.01, 100.0)
    assert not calls.slow("a", 100.0)


def test_a_method_that_takes_long_again_and_again_is_slow_for_a_while() -> None:
    calls = SlowCalls()
    for _ in range(10):
        calls.note("a", 0.01, 100.0)
        calls.note("b", 0.0001, 100.0)
    assert calls.slow("a", 100.0)
    assert not calls.slow("b", 100.0)
    assert not calls.slow("a", 100.0 + SLOW_FOR_SECONDS)


def test_a_few_long_calls_among_many_short_ones_make_no_method_slow() -> None:
    calls = SlowCalls()
    for turn in range(1000):
        calls.note("a", 0.03 if turn % 100 == 0 else 0.0003, 100.0)
    assert not calls.slow("a", 100.0)


def test_a_very_long_call_makes_a_method_slow_at_once() -> None:
    calls = SlowCalls()
    calls.note("a", 0.2, 100.0)
    assert calls.slow("a", 100.0)


def test_strangers_names_take_no_memory_without_end() -> None:
    calls = SlowCalls()
    for number in range(1000):
        calls.note(f"m{number}", 0.01, 100.0)
        calls.note(f"n{number}", 1.0, 100.0)
    assert len(calls._average) <= 256
    assert len(calls._until) <= 256
