"""The frame on a small pallet of its own: storage, calls, events, errors, transactions."""

from __future__ import annotations

from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.frame import pallet as declared
from runtime.frame.calls import CallTable, Dispatcher
from runtime.frame.dispatch_errors import encode_failure, register_errors
from runtime.frame.errors import (
    Arithmetic,
    ArithmeticReason,
    BadOrigin,
    DispatchError,
    Module,
    ModuleError,
    Token,
    TokenError,
)
from runtime.frame.event_records import EventRecord, EventTable
from runtime.frame.host import Host
from runtime.frame.origin import (
    Origin,
    Root,
    Signed,
    Unsigned,
    ensure_none,
    ensure_root,
    ensure_signed,
)
from runtime.frame.pallet import Const, Pallet, call, constant, event
from runtime.frame.storage import (
    StorageDoubleMap,
    StorageMap,
    StorageValue,
    double_map,
    storage_map,
    value,
)
from runtime.primitives.errors import DispatchFailure, InvariantViolation, ensure
from runtime.primitives.hashing import Hasher, blake2_128, twox64, twox128
from runtime.primitives.scale import U16, U32, DecodeError, EncodeError, encode
from runtime.primitives.types import AccountId, Balance, Weight
from runtime.state.overlay import Overlay
from runtime.state.store import MemoryState

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32


@event(index=4)
class Counted:
    """The counter rose."""

    who: AccountId
    total: U32


class Error(IntEnum):
    """Why counting fails."""

    TOO_MUCH = 9
    """No more than a hundred at a time."""
    UNDOCUMENTED = 10


class Counter(Pallet, index=77):
    """Counts."""

    Error = Error
    EVENTS = (Counted,)
    most: Const[U16] = constant(100, doc="Most at a time.")
    total: StorageValue[U32] = value(default=0, doc="All together.")
    last: StorageValue[AccountId | None] = value(doc="Who counted last.")
    by_account: StorageMap[AccountId, U32] = storage_map(
        Hasher.BLAKE2_128_CONCAT, doc="Of each account."
    )
    levels: StorageMap[U16, U32] = storage_map(Hasher.TWOX_64_CONCAT, default=5, doc="Levels.")
    pairs: StorageDoubleMap[AccountId, U16, Balance] = double_map(
        Hasher.BLAKE2_128_CONCAT, Hasher.TWOX_64_CONCAT, doc="Pairs."
    )

    @call(index=3, weight=Weight(7, 0))
    def count(self, origin: Origin, amount: U32) -> None:
        """Count."""
        who = ensure_signed(origin)
        self.total.put(self.total.get() + amount)
        self.by_account.insert(who, (self.by_account.get(who) or 0) + amount)
        self.deposit_event(Counted(who, self.total.get()))
        ensure(amount <= self.most, Error.TOO_MUCH)

    @call(index=8, weight=lambda text, times: Weight(len(text) * times, 1))
    def write(self, origin: Origin, text: bytes, times: U16) -> None:
        """Write."""
        ensure_root(origin)


TABLE = CallTable((Counter,))
EVENTS = EventTable((Counter,))


@pytest.fixture
def counter() -> Counter:
    return Counter(Host(Overlay(MemoryState({}))))


def test_storage_keys_are_laid_out_as_wallets_compute_them(counter: Counter) -> None:
    prefix = twox128(b"Counter")
    assert counter.total.key() == prefix + twox128(b"Total")
    account = prefix + twox128(b"ByAccount") + blake2_128(ALICE) + ALICE
    assert counter.by_account.key(ALICE) == account
    one = encode(U16, 1)
    pair = prefix + twox128(b"Pairs") + blake2_128(ALICE) + ALICE + twox64(one) + one
    assert counter.pairs.key(ALICE, 1) == pair
    assert pair.startswith(counter.pairs.key(ALICE))


def test_a_value_reads_as_its_default_until_it_is_put(counter: Counter) -> None:
    assert (counter.total.get(), counter.last.get(), counter.total.exists()) == (0, None, False)
    counter.total.put(7)
    counter.last.put(ALICE)
    assert (counter.total.get(), counter.last.get(), counter.total.exists()) == (7, ALICE, True)
    counter.total.kill()
    assert counter.total.get() == 0


def test_a_map_without_a_default_has_absent_entries(counter: Counter) -> None:
    assert counter.by_account.get(ALICE) is None
    assert ALICE not in counter.by_account
    with pytest.raises(InvariantViolation, match="ByAccount"):
        counter.by_account[ALICE]
    assert counter.levels[3] == 5
    assert counter.levels.get(3) is None


def test_map_items_come_in_the_order_of_their_storage_keys(counter: Counter) -> None:
    for number in range(20):
        counter.levels.insert(number, number)
    counter.levels.remove(4)
    items = list(counter.levels.items())
    assert items == sorted(items, key=lambda item: counter.levels.key(item[0]))
    assert {key for key, _ in items} == set(range(20)) - {4}


def test_double_map_entries_of_one_first_key_lie_together(counter: Counter) -> None:
    for account in (ALICE, BOB):
        for number in range(3):
            counter.pairs.insert(account, number, number + account[0])
    assert sorted(counter.pairs.items_under(BOB)) == [(0, 2), (1, 3), (2, 4)]
    counter.pairs.remove_under(ALICE)
    assert sorted(counter.pairs.items()) == [((BOB, 0), 2), ((BOB, 1), 3), ((BOB, 2), 4)]
    counter.pairs.remove(BOB, 1)
    assert (BOB, 1) not in counter.pairs
    assert (BOB, 2) in counter.pairs
    assert counter.pairs[BOB, 2] == 4
    with pytest.raises(InvariantViolation):
        counter.pairs[ALICE, 0]


def test_a_key_that_its_hasher_drops_cannot_be_read_back(counter: Counter) -> None:
    item = counter.by_account
    lost = type(item)(item.doc, item.default, (Hasher.BLAKE2_128,))
    lost.declare("Counter", "Lost", StorageMap[AccountId, U32])
    with pytest.raises(InvariantViolation, match="does not keep its key"):
        lost.split_key(lost.key(ALICE))


@given(st.lists(st.sampled_from(["insert", "remove", "begin", "commit", "rollback"]), max_size=30))
def test_reads_follow_the_overlay_through_transactions(steps: list[str]) -> None:
    overlay = Overlay(MemoryState({}))
    pallet = Counter(Host(overlay))
    for number, step in enumerate(steps):
        if step == "insert":
            pallet.levels.insert(1, number)
            pallet.total.put(number)
        elif step == "remove":
            pallet.levels.remove(1)
            pallet.total.kill()
        elif step == "begin" or overlay.depth:
            getattr(overlay, step)()
        fresh = Counter(Host(overlay))
        assert pallet.levels.get(1) == fresh.levels.get(1)
        assert pallet.total.get() == fresh.total.get()


def test_a_failing_call_leaves_neither_writes_nor_events(counter: Counter) -> None:
    dispatcher = Dispatcher(TABLE, {"Counter": counter})
    made = TABLE.make("Counter", "count", amount=101)
    with pytest.raises(DispatchFailure) as failure, counter.host.transaction():
        dispatcher.dispatch(made, Signed(ALICE))
    assert failure.value.error is Error.TOO_MUCH
    assert counter.host.overlay.changes() == {}
    assert counter.host.events == []


def test_a_nested_transaction_undoes_only_itself(counter: Counter) -> None:
    with counter.host.transaction():
        counter.total.put(1)
        counter.deposit_event(Counted(ALICE, 1))
        with pytest.raises(ValueError, match="inner"), counter.host.transaction():
            counter.total.put(2)
            counter.deposit_event(Counted(ALICE, 2))
            raise ValueError("inner")
    assert counter.total.get() == 1
    assert [record for _, _, record in counter.host.events] == [Counted(ALICE, 1)]


def test_a_call_is_its_indices_and_its_arguments() -> None:
    made = TABLE.make("Counter", "write", text=b"ab", times=3)
    data = TABLE.encode(made)
    assert data.hex() == "4d08" + "086162" + "0300"
    assert TABLE.decode_at(data, 0) == (made, len(data))
    assert TABLE.weight(made) == Weight(6, 1)
    assert TABLE.weight(TABLE.make("Counter", "count", amount=1)) == Weight(7, 0)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("write", {"text": b""}), ("write", {"text": b"", "times": 1, "more": 2}), ("none", {})],
)
def test_calls_are_not_made_with_other_arguments(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(EncodeError, match="Counter"):
        TABLE.make("Counter", name, **arguments)


def test_an_index_without_a_call_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"77\.9"):
        TABLE.decode_at(bytes((77, 9)), 0)


@pytest.mark.parametrize("origin", [Signed(ALICE), Root(), Unsigned()])
def test_each_check_admits_one_origin(origin: Origin) -> None:
    checks = {Signed: ensure_signed, Root: ensure_root, Unsigned: ensure_none}
    for admitted, check in checks.items():
        if isinstance(origin, admitted):
            assert check(origin) == (ALICE if admitted is Signed else None)
        else:
            with pytest.raises(DispatchFailure) as failure:
                check(origin)
            assert failure.value.error is DispatchError.BAD_ORIGIN


def test_events_are_encoded_with_phase_indices_and_no_topics() -> None:
    record = Counted(ALICE, 5)
    data = EVENTS.encode([(b"\x00\x02\x00\x00\x00", 77, record), (b"\x01", 77, record)])
    fields = "4d04" + ALICE.hex() + "05000000" + "00"
    assert data.hex() == "08" + "0002000000" + fields + "01" + fields
    assert EVENTS.decode(data) == (
        EventRecord(2, "Counter", "Counted", record),
        EventRecord(None, "Counter", "Counted", record),
    )


@pytest.mark.parametrize("hexed", ["04", "04014d05", "0400", "0000", "04014d04" + "01" * 20])
def test_malformed_event_records_are_refused(hexed: str) -> None:
    with pytest.raises(DecodeError):
        EVENTS.decode(bytes.fromhex(hexed))


def test_errors_carry_the_index_of_their_pallet() -> None:
    register_errors(Error, 77)
    failures = {
        Error.TOO_MUCH: Module(ModuleError(77, b"\x09\x00\x00\x00")),
        TokenError.FROZEN: Token(TokenError.FROZEN),
        ArithmeticReason.OVERFLOW: Arithmetic(ArithmeticReason.OVERFLOW),
        DispatchError.BAD_ORIGIN: BadOrigin(),
    }
    for error, shown in failures.items():
        assert encode_failure(DispatchFailure(error)) == shown


def test_an_error_of_no_pallet_stops_the_node() -> None:
    class Stray(IntEnum):
        LOST = 0

    with pytest.raises(InvariantViolation, match="no pallet"):
        encode_failure(DispatchFailure(Stray.LOST))


def test_declarations_are_read_with_names_types_and_texts() -> None:
    (most,) = declared.constants(Counter)
    assert (most.name, most.type, most.value, most.doc) == ("Most", U16, 100, "Most at a time.")
    assert [i.name for i in declared.storage_items(Counter).values()] == [
        "Total",
        "Last",
        "ByAccount",
        "Levels",
        "Pairs",
    ]
    assert {i: (e.name, e.docs) for i, e in declared.errors(Counter).items()} == {
        9: ("TooMuch", "No more than a hundred at a time."),
        10: ("Undocumented", ""),
    }
    assert [(i, c.name, c.docs) for i, c in declared.calls(Counter).items()] == [
        (3, "count", "Count."),
        (8, "write", "Write."),
    ]
    assert list(declared.events(Counter)) == [4]


def test_two_calls_with_one_index_are_refused() -> None:
    class Twice(Pallet, index=78):
        @call(index=1, weight=Weight(0, 0))
        def one(self, origin: Origin) -> None: ...

        @call(index=1, weight=Weight(0, 0))
        def two(self, origin: Origin) -> None: ...

    with pytest.raises(InvariantViolation, match="two calls"):
        declared.calls(Twice)


def test_two_events_with_one_index_are_refused() -> None:
    @event(index=4)
    class Again:
        pass

    class Twice(Pallet, index=79):
        EVENTS = (Counted, Again)

    with pytest.raises(InvariantViolation, match="two events"):
        declared.events(Twice)
