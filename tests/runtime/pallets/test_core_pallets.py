"""System, timestamp, session, sudo."""

from __future__ import annotations

import pytest
from dev_chain import ROOT, DevChain, account, keys

from runtime.block import BlockExecution
from runtime.construct import CALLS
from runtime.frame.errors import DispatchError, Done, TokenError
from runtime.frame.origin import Unsigned
from runtime.pallets.sudo.pallet import Error as SudoError
from runtime.pallets.sudo.pallet import Sudid
from runtime.pallets.system.pallet import BLOCK_HASH_COUNT, KilledAccount, NewAccount, Remarked
from runtime.pallets.timestamp.pallet import Error as TimestampError
from runtime.primitives.errors import BlockReason, InvalidBlock, InvariantViolation
from runtime.primitives.hashing import blake2_256
from runtime.primitives.types import Id
from runtime.primitives.version import RUNTIME_VERSION, LastRuntimeUpgrade

ALICE, BOB = account("Alice"), account("Bob")
NEW = bytes([7]) * 32


def test_a_remark_leaves_nothing_but_its_hash(chain: DevChain) -> None:
    assert chain.call("Alice", "System", "remark", remark=b"hello") == []
    made = chain.call("Alice", "System", "remark_with_event", remark=b"hello")
    assert made == [Remarked(ALICE, blake2_256(b"hello"))]
    assert chain.call(ROOT, "System", "remark", remark=b"anybody may") == []
    for origin in (ROOT, Unsigned()):
        chain.assert_refused(
            DispatchError.BAD_ORIGIN, origin, "System", "remark_with_event", remark=b""
        )


def test_genesis_selects_the_rules_and_marks_the_code(chain: DevChain) -> None:
    upgrade = LastRuntimeUpgrade(RUNTIME_VERSION.spec_version, RUNTIME_VERSION.spec_name)
    assert chain.runtime.system.last_runtime_upgrade.get() == upgrade
    assert chain.state.get(b":code") is not None


def test_a_block_knows_its_number_its_parent_and_its_digest(chain: DevChain) -> None:
    chain.run_to_block(3)
    system = chain.runtime.system
    assert system.number.get() == 4  # the chain is open on the next block
    assert system.parent_hash.get() == chain.head.hash()
    assert {n: system.block_hash[n] for n in range(4)} == chain.hashes
    made = chain.make_block()
    assert chain.runtime.session.author.get() == chain.author
    assert made.block.header.digest == made.outcome.header.digest


def test_old_block_hashes_go_but_that_of_genesis_stays(chain: DevChain) -> None:
    system = chain.runtime.system
    count = BLOCK_HASH_COUNT
    for number in range(1, count + 6):
        system.open_block(number, number.to_bytes(32, "big"), ())
    assert system.block_hash[0] == (1).to_bytes(32, "big")
    kept = {number for number, _ in system.block_hash.items()}
    assert kept == {0, *range(5, count + 5)}
    assert system.number.get() - min(kept - {0}) == count


def test_events_and_counts_are_those_of_one_block(chain: DevChain) -> None:
    made = chain.submit("Alice", "System", "remark_with_event", remark=b"x")
    assert made.named("Remarked") == [Remarked(ALICE, blake2_256(b"x"))]
    assert chain.state.get(chain.runtime.system.extrinsic_count.key()) == (2).to_bytes(4, "little")
    made = chain.make_block()
    assert [(e.extrinsic, e.name) for e in made.events] == [(0, "ExtrinsicSuccess")]


def test_providers_keep_an_account_alive(chain: DevChain) -> None:
    system = chain.runtime.system
    mark = len(chain.runtime.host.events)
    system.inc_providers(NEW)
    system.inc_providers(NEW)
    system.dec_providers(NEW)
    assert system.account[NEW].providers == 1
    system.dec_providers(NEW)
    assert NEW not in system.account
    records = [record for _, _, record in chain.runtime.host.events[mark:]]
    assert records == [NewAccount(NEW), KilledAccount(NEW)]
    with pytest.raises(InvariantViolation, match="without providers"):
        system.dec_providers(NEW)


def test_a_nonce_survives_its_account(chain: DevChain) -> None:
    replayed = chain.sign(
        keys("Bob"), "Balances", "transfer_allow_death", dest=Id(ALICE), value=10**18
    )
    assert chain.make_block(replayed).refused == ()
    chain.submit("Bob", "Balances", "transfer_all", dest=Id(ALICE), keep_alive=False)
    assert chain.runtime.system.account[BOB].providers == 0
    chain.submit("Alice", "Balances", "transfer_allow_death", dest=Id(BOB), value=10**20)
    assert chain.runtime.system.account[BOB].nonce == 2
    ((_, refusal),) = chain.make_block(replayed).refused
    assert refusal.reason.name == "STALE"


def test_the_time_rises_by_the_minimum_period(chain: DevChain) -> None:
    chain.make_block(timestamp=5000)
    assert chain.runtime.timestamp.now.get() == 5000
    chain.assert_refused(TimestampError.TOO_EARLY, Unsigned(), "Timestamp", "set", now=5049)
    chain.call(Unsigned(), "Timestamp", "set", now=5050)
    for origin in ("Alice", ROOT):
        chain.assert_refused(DispatchError.BAD_ORIGIN, origin, "Timestamp", "set", now=9000)


def test_each_block_mixes_its_leaders_randomness_in(chain: DevChain) -> None:
    mixes = []
    for _ in range(3):
        chain.make_block()
        mixes.append(chain.runtime.session.mix.get())
    assert len({*mixes}) == 3
    session = chain.runtime.session
    assert [session.mixes.get(n) for n in range(1, 4)] == mixes
    output = (2).to_bytes(4, "little") * 16
    assert mixes[1] == blake2_256(mixes[0] + output)


def test_randomness_is_kept_for_a_bounded_time(chain: DevChain) -> None:
    session = chain.runtime.session
    session.mixes.insert(1, bytes(32))
    session.open_block(601, chain.claim())
    assert session.mixes.get(1) is None
    assert session.mixes.get(601) is not None


def test_a_leader_outside_the_set_makes_no_block(chain: DevChain) -> None:
    with pytest.raises(InvalidBlock) as refusal:
        BlockExecution(chain.head, chain.state, chain.digest(leader=1))
    assert refusal.value.reason is BlockReason.WRONG_DIGEST


def test_sudo_makes_calls_as_the_chain_itself(chain: DevChain) -> None:
    inner = CALLS.make("Balances", "force_set_balance", who=Id(NEW), new_free=10**18)
    made = chain.call("Alice", "Sudo", "sudo", call=inner)
    assert made[-1] == Sudid(Done())
    assert chain.free(NEW) == 10**18
    chain.assert_refused(SudoError.REQUIRE_SUDO, "Bob", "Sudo", "sudo", call=inner)
    chain.assert_refused(DispatchError.BAD_ORIGIN, ROOT, "Sudo", "sudo", call=inner)
    failing = CALLS.make(
        "Balances", "force_transfer", source=Id(bytes([9]) * 32), dest=Id(NEW), value=1
    )
    chain.assert_refused(TokenError.FUNDS_UNAVAILABLE, "Alice", "Sudo", "sudo", call=failing)


def test_a_chain_without_a_sudo_key_obeys_nobody() -> None:
    chain = DevChain(sudo={})
    inner = CALLS.make("System", "remark", remark=b"")
    chain.assert_refused(SudoError.REQUIRE_SUDO, "Alice", "Sudo", "sudo", call=inner)
