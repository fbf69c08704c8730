from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from inference.cluster.router import Router

ROOM = 3
ADAPTERS = st.none() | st.integers(0, 4).map(lambda number: bytes([number]))


class RouterMachine(RuleBasedStateMachine):
    """Replicas come and go while requests do; the model is a plain list of who has what."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.router = Router(ROOM)
        self.there: dict[int, int] = {}
        self.names = 0
        self.numbers = 0

    @rule()
    def join(self) -> None:
        self.router.add(self.names)
        self.names += 1

    @rule(chance=st.integers(0, 1000))
    def die(self, chance: int) -> None:
        if not self.router.replicas:
            return
        dead = self.router.replicas[chance % len(self.router.replicas)]
        had = self.router.remove(dead)
        assert had == sorted(n for n, replica in self.there.items() if replica == dead)
        self.there = {n: replica for n, replica in self.there.items() if replica != dead}

    @rule(target=requests, adapter=ADAPTERS)
    def ask(self, adapter: bytes | None) -> int:
        router, number = self.router, self.numbers
        self.numbers += 1
        loads = {name: router.load(name) for name in router.replicas}
        holders = {name for name in loads if adapter in router.resident(name)}
        chosen = router.route(number, adapter)
        if not loads:
            assert chosen is None
            return number
        assert chosen is not None
        free = {name for name in holders if loads[name] < ROOM}
        if free:
            assert chosen in holders
            assert loads[chosen] == min(loads[name] for name in free)
        else:
            assert loads[chosen] == min(loads.values())
            if holders & {name for name in loads if loads[name] == loads[chosen]}:
                assert chosen in holders
        if adapter is not None:
            assert adapter in router.resident(chosen)
        self.there[number] = chosen
        return number

    @rule(number=consumes(requests))
    def end(self, number: int) -> None:
        self.router.ended(number)
        self.there.pop(number, None)

    @rule(chance=st.integers(0, 1000), held=st.sets(ADAPTERS.filter(bool)))
    def tell(self, chance: int, held: set[bytes]) -> None:
        if self.router.replicas:
            name = self.router.replicas[chance % len(self.router.replicas)]
            self.router.holds(name, held, ())
            assert self.router.resident(name) == held

    @invariant()
    def loads_are_what_is_under_way(self) -> None:
        for name in self.router.replicas:
            assert self.router.load(name) == list(self.there.values()).count(name)
        for number, replica in self.there.items():
            assert self.router.where(number) == replica


TestRouter = RouterMachine.TestCase


@given(st.lists(ADAPTERS, max_size=60), st.integers(1, 5))
def test_a_burst_without_ends_never_leaves_one_replica_idle_while_another_queues(
    burst: list[bytes | None], replicas: int
) -> None:
    router = Router(ROOM)
    for name in range(replicas):
        router.add(name)
    for number, adapter in enumerate(burst):
        router.route(number, adapter)
    loads = [router.load(name) for name in range(replicas)]
    assert max(loads) <= max(ROOM, min(loads) + 1)


def test_an_adapter_keeps_its_replica_while_that_has_room_and_spills_over_when_it_has_none() -> (
    None
):
    router = Router(room=2)
    router.add(0)
    router.add(1)
    chosen = [router.route(number, b"a") for number in range(4)]
    assert chosen == [0, 0, 1, 1]
    router.ended(0)
    assert router.route(4, b"a") == 0


def test_a_name_and_a_request_are_taken_once() -> None:
    router = Router(ROOM)
    router.add(0)
    with pytest.raises(ValueError, match="known"):
        router.add(0)
    router.route(7, None)
    with pytest.raises(ValueError, match="under way"):
        router.route(7, None)
