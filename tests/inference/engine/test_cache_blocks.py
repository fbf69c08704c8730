from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from simulated_device import POSITIONS, SharedMemory, SimulatedAdapter

from inference.blocks import BlockManager, blocks_for, prefix_key, prefix_root
from inference.request import Request
from inference.sequence import Sequence

ADAPTERS = (None, b"\x01" * 32, b"\x02" * 32)
ID = st.integers(0, 1)


def sequence_of(number: int, ids: list[int], adapter: bytes | None = None) -> Sequence:
    return Sequence(number, Request(tuple(ids), 8, adapter=adapter))


def computed(
    number: int, ids: list[int], blocks: BlockManager, adapter: bytes | None = None
) -> Sequence:
    """Attach, reserve, compute and register a whole prompt."""
    sequence = sequence_of(number, ids, adapter)
    blocks.attach(sequence)
    assert blocks.reserve(sequence, sequence.length)
    sequence.computed = sequence.length
    blocks.register(sequence)
    return sequence


class Blocks(RuleBasedStateMachine):
    """Sequences with few different ids, so that prefixes are often equal."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = SharedMemory(12, {b"image": SimulatedAdapter(2560, 0)})
        self.blocks = BlockManager(self.memory, POSITIONS, kept=2)
        self.live: list[Sequence] = []
        self.next = 0

    def pick(self, at: int) -> Sequence:
        return self.live[at % len(self.live)]

    @rule(ids=st.lists(ID, min_size=1, max_size=18), adapter=st.sampled_from(ADAPTERS))
    def begin(self, ids: list[int], adapter: bytes | None) -> None:
        sequence = sequence_of(self.next, ids, adapter)
        self.next += 1
        won = self.blocks.attach(sequence)
        assert won == sequence.computed <= len(ids) - 1
        assert won % POSITIONS == 0
        self.live.append(sequence)

    @precondition(lambda self: self.live)
    @rule(at=st.integers(0, 99), more=st.integers(1, 6), spare=st.integers(0, 4))
    def reserve(self, at: int, more: int, spare: int) -> None:
        sequence = self.pick(at)
        held, computed = list(sequence.blocks), sequence.computed
        wanted = min(sequence.computed + more, sequence.length)
        idle = len(self.blocks.idle)
        needed = max(0, blocks_for(wanted, POSITIONS) - len(held)) + spare
        # The image and what is idle can go.
        possible = needed <= 12 - len(self.blocks.holders)
        assert self.blocks.reserve(sequence, wanted, spare) == (possible or not needed)
        if possible:
            assert sequence.blocks[: len(held)] == held
            assert len(sequence.blocks) == max(len(held), blocks_for(wanted, POSITIONS))
        else:
            assert (sequence.blocks, sequence.computed) == (held, computed)
            assert len(self.blocks.idle) == idle

    @precondition(lambda self: self.live)
    @rule(at=st.integers(0, 99), count=st.integers(1, 6), draw=ID)
    def compute(self, at: int, count: int, draw: int) -> None:
        sequence = self.pick(at)
        room = len(sequence.blocks) * POSITIONS - sequence.computed
        count = min(count, room, sequence.length - sequence.computed)
        if count > 0:
            self.memory.write(sequence, sequence.computed, count, self.blocks)
            sequence.computed += count
            self.blocks.register(sequence)
            if sequence.computed == sequence.length:
                sequence.outputs.append(draw)

    @precondition(lambda self: self.live)
    @rule(at=st.integers(0, 99))
    def attach_again(self, at: int) -> None:
        sequence = self.pick(at)
        before = sequence.computed
        won = self.blocks.attach(sequence)
        assert sequence.computed == before + won
        assert won == 0 or sequence.computed < sequence.prompt_length

    @precondition(lambda self: self.live)
    @rule(at=st.integers(0, 99), ends=st.booleans())
    def release(self, at: int, ends: bool) -> None:
        sequence = self.pick(at)
        self.blocks.release(sequence)
        assert (sequence.blocks, sequence.computed) == ([], 0)
        if ends:
            self.live.remove(sequence)

    @rule(spare=st.booleans())
    def reclaim(self, spare: bool) -> None:
        idle = self.blocks.idle
        done = self.blocks.reclaim_spare() if spare else self.blocks.reclaim()
        assert done == (len(idle) > (2 if spare else 0))
        assert self.blocks.idle == (idle[1:] if done else idle)

    @rule()
    def place_an_image(self) -> None:
        self.memory.place(self.memory.adapters[b"image"], self.blocks)

    @rule()
    def evict_the_image(self) -> None:
        self.memory.evict_idle()

    @invariant()
    def every_page_is_accounted_for(self) -> None:
        self.memory.assert_conserved(self.blocks, self.live)

    @invariant()
    def every_sequence_reads_what_it_would_have_written(self) -> None:
        for sequence in self.live:
            self.memory.assert_readable(sequence)


Blocks.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_pages_are_conserved_and_prefixes_correct = Blocks.TestCase


def manager(pages: int = 16, kept: int = 0) -> BlockManager:
    return BlockManager(SharedMemory(pages, {}), POSITIONS, kept)


def test_an_equal_prefix_shares_full_blocks_only() -> None:
    blocks = manager()
    first = computed(0, [1] * 10, blocks)
    second = sequence_of(1, [1] * 11)
    assert blocks.attach(second) == 8
    assert second.blocks == first.blocks[:2]
    assert [blocks.holders[page] for page in first.blocks] == [2, 2, 1]


def test_the_last_prompt_position_is_always_computed() -> None:
    blocks = manager()
    computed(0, [1] * 8, blocks)
    assert blocks.attach(sequence_of(1, [1] * 8)) == 4
    assert blocks.attach(sequence_of(2, [1] * 9)) == 8
    assert blocks.attach(sequence_of(3, [1])) == 0


def test_another_adapter_or_other_ids_share_nothing() -> None:
    blocks = manager()
    computed(0, [1] * 9, blocks, ADAPTERS[1])
    assert blocks.attach(sequence_of(1, [1] * 9, ADAPTERS[2])) == 0
    assert blocks.attach(sequence_of(2, [1] * 9)) == 0
    assert blocks.attach(sequence_of(3, [2] + [1] * 8, ADAPTERS[1])) == 0
    # The second block's own ids are equal; what lies before them is not.
    assert blocks.attach(sequence_of(4, [2] * 4 + [1] * 5, ADAPTERS[1])) == 0
    assert blocks.attach(sequence_of(5, [1] * 4 + [2] * 5, ADAPTERS[1])) == 4


def test_keys_depend_on_everything_that_the_values_depend_on() -> None:
    base = prefix_root(None, "me")
    first = prefix_key(base, [1, 2])
    keys = {
        first,
        prefix_key(prefix_root(bytes(32), "me"), [1, 2]),
        prefix_key(prefix_root(None, "you"), [1, 2]),
        prefix_key(prefix_root(b"m", "e"), [1, 2]),
        prefix_key(base, [2, 1]),
        prefix_key(first, [1, 2]),
        prefix_key(prefix_key(base, [2, 1]), [1, 2]),
    }
    assert len(keys) == 7


def test_keys_are_the_same_in_every_process() -> None:
    assert prefix_key(prefix_root(None, "local"), [1, 2, 3, 4]).hex() == (
        "8b65cbba0b863f1f37cee373b2b0767407059600a52175fbeeac0c123f2ead9f"
    )


def test_tenants_never_share_a_prefix() -> None:
    blocks = manager()
    computed(0, [1] * 9, blocks)
    other = Sequence(1, Request((1,) * 9, 8, tenant="other"))
    assert blocks.attach(other) == 0
    assert blocks.attach(sequence_of(2, [1] * 9)) == 8


def test_output_positions_are_never_remembered() -> None:
    blocks = manager()
    sequence = computed(0, [1] * 6, blocks)
    sequence.outputs.extend([1] * 6)
    assert blocks.reserve(sequence, 12)
    sequence.computed = 12
    blocks.register(sequence)
    assert list(blocks.remembered.values()) == sequence.blocks[:1]
    blocks.release(sequence)
    assert len(blocks.idle) == 1


def test_of_two_that_compute_the_same_block_one_is_remembered() -> None:
    blocks = manager()
    twins = [sequence_of(number, [1] * 9) for number in range(2)]
    for sequence in twins:
        blocks.attach(sequence)
        assert blocks.reserve(sequence, 9)
    for sequence in twins:
        sequence.computed = 9
        blocks.register(sequence)
    assert set(twins[0].blocks).isdisjoint(twins[1].blocks)
    assert list(blocks.remembered.values()) == twins[0].blocks[:2]
    blocks.release(twins[0])
    third = sequence_of(2, [1] * 9)
    assert blocks.attach(third) == 8
    blocks.release(twins[1])
    blocks.release(third)
    assert sorted(blocks.idle) == sorted(blocks.remembered.values())
    assert not blocks.holders


def test_a_running_prompt_takes_over_what_another_has_computed_since() -> None:
    blocks = manager()
    slow, fast = (sequence_of(number, [1] * 13) for number in range(2))
    for sequence in (slow, fast):
        assert blocks.reserve(sequence, 13)
    slow.computed = 4
    blocks.register(slow)
    own = slow.blocks[1]
    fast.computed = 13
    blocks.register(fast)
    assert blocks.attach(slow) == 8
    assert slow.blocks[1:3] == fast.blocks[1:3]
    assert own not in blocks.holders


def test_the_prefix_held_longest_ago_goes_first_and_its_end_before_its_beginning() -> None:
    blocks = manager(pages=6)
    for number in range(2):
        blocks.release(computed(number, [number] * 9, blocks))
    again = sequence_of(2, [0] * 9)
    assert blocks.attach(again) == 8
    blocks.release(again)
    assert blocks.reserve(sequence_of(3, [5] * 8), 12)
    assert blocks.attach(sequence_of(4, [1] * 9)) == 4
    assert blocks.attach(sequence_of(5, [0] * 9)) == 8


def test_idle_pages_beyond_those_kept_go_before_the_source_evicts() -> None:
    adapter = SimulatedAdapter(4 * 1024, 0)
    memory = SharedMemory(8, {b"a": adapter})
    blocks = BlockManager(memory, POSITIONS, kept=2)
    blocks.release(computed(0, [1] * 16, blocks))
    assert memory.place(adapter, blocks)
    assert blocks.reserve(sequence_of(1, [2] * 8), 8)
    assert (len(blocks.idle), adapter.extent is None) == (2, False)
    assert blocks.reserve(sequence_of(2, [3] * 4), 4)
    assert (len(blocks.idle), adapter.extent is None) == (2, True)


def test_spare_pages_may_be_free_or_idle() -> None:
    blocks = manager(pages=6)
    sequence = sequence_of(0, [1] * 9)
    assert not blocks.reserve(sequence, 9, spare=4)
    assert blocks.reserve(sequence, 9, spare=3)
    blocks.release(sequence)
    blocks.release(computed(1, [2] * 9, blocks))
    assert not blocks.reserve(sequence, 9, spare=4)
    assert blocks.reserve(sequence, 9, spare=3)
    assert len(blocks.idle) == 2


def test_a_reservation_that_fails_changes_nothing() -> None:
    blocks = manager(pages=6)
    blocks.release(computed(0, [1] * 9, blocks))
    holder = sequence_of(1, [2] * 9)
    assert blocks.reserve(holder, 9)
    greedy = sequence_of(2, [3] * 16)
    assert not blocks.reserve(greedy, 16)
    assert not blocks.reserve(greedy, 8, spare=2)
    assert greedy.blocks == []
    assert len(blocks.idle) == 2
    assert blocks.reserve(greedy, 8, spare=1)
