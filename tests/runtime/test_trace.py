"""A block's trace: what it read and wrote, by executing it once more."""

from __future__ import annotations

import pytest
from dev_chain import OPEN, DevChain, account, keys

from runtime.construct import storage_key
from runtime.primitives.header import Block, Header
from runtime.primitives.types import Id
from runtime.state.store import MemoryState
from runtime.trace import READ, WRITE, Trace, TraceTooLong, Wanted, trace_block


def transfer_block(chain: DevChain) -> tuple[Header, MemoryState, Block, dict[bytes, bytes | None]]:
    """Make a block of one transfer; return its parent, the state before, itself, its changes."""
    chain.make_block()
    parent = chain.head
    before = MemoryState(dict(chain.state.iterate(b"")))
    extrinsic = chain.sign(
        keys("Alice"), "Balances", "transfer_keep_alive", dest=Id(account("Bob")), value=OPEN
    )
    made = chain.make_block(extrinsic)
    return parent, before, made.block, made.outcome.changes


def last_writes(trace: Trace) -> dict[bytes, bytes | None]:
    return {a.key: a.value for a in trace.accesses if a.method == WRITE}


def test_the_last_writes_of_a_trace_are_the_blocks_changes(chain: DevChain) -> None:
    parent, before, block, changes = transfer_block(chain)
    root = before.root
    trace = trace_block(parent, before, block, Wanted())
    assert before.root == root
    written = last_writes(trace)
    assert {key: written[key] for key in changes} == changes
    for key in set(written) - set(changes):
        assert written[key] == before.get(key)


def test_the_first_read_of_a_key_is_what_the_parent_left(chain: DevChain) -> None:
    parent, before, block, _ = transfer_block(chain)
    seen: set[bytes] = set()
    for access in trace_block(parent, before, block, Wanted()).accesses:
        if access.method == READ and access.key not in seen:
            assert access.value == before.get(access.key)
        seen.add(access.key)


def test_each_extrinsic_is_a_part_and_the_fee_is_written_in_its_own(chain: DevChain) -> None:
    parent, before, block, _ = transfer_block(chain)
    own = storage_key("System", "Account", account("Bob"))
    trace = trace_block(parent, before, block, Wanted((own,), (WRITE,)))
    assert [span.name for span in trace.spans] == [
        "execute_block",
        "initialize_block",
        "apply_extrinsic",
        "apply_extrinsic",
        "finalize_block",
    ]
    assert [span.parent for span in trace.spans] == [None, 1, 1, 1, 1]
    assert {access.span for access in trace.accesses} == {4}
    assert {access.key for access in trace.accesses} == {own}


def test_a_trace_that_is_too_long_is_refused(chain: DevChain) -> None:
    parent, before, block, _ = transfer_block(chain)
    for wanted in (Wanted(most_accesses=5), Wanted(most_bytes=100)):
        with pytest.raises(TraceTooLong):
            trace_block(parent, before, block, wanted)
