"""Whatever happens to it, the pool keeps its order and its limits."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node.errors import PoolRefusal
from node.pool import Pool
from node.pool_types import PoolLimits
from runtime.primitives.errors import InvalidTransaction
from runtime.primitives.extrinsic import Mortal, UncheckedExtrinsic
from runtime.primitives.header import Block
from tests.node.tiny_accounts import TinyAccounts, account, tag, transaction

LIMITS = PoolLimits(count=12, bytes=2200, sender_count=5, sender_bytes=900, history=50)


def parts(extrinsic: bytes) -> tuple[bytes, int, int]:
    signed = UncheckedExtrinsic.decode(extrinsic).signed
    assert signed is not None
    return signed.address.account, signed.extensions.nonce, signed.extensions.tip


class PoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.accounts = TinyAccounts()
        self.pool = Pool(self.accounts, LIMITS, clock=lambda: 0.0)
        self.blocks: list[Block] = []

    @rule(
        sender=st.integers(1, 5),
        ahead=st.integers(0, 4),
        tip=st.integers(0, 30),
        size=st.integers(0, 200),
        mortal=st.booleans(),
    )
    def submit(self, sender: int, ahead: int, tip: int, size: int, mortal: bool) -> None:
        nonce = self.accounts.nonces[account(sender)] + ahead
        era = Mortal(4, self.accounts.number % 4) if mortal else None
        extrinsic = transaction(sender, nonce, tip, size=size, era=era)
        try:
            extrinsic_hash = self.pool.submit(extrinsic)
        except (PoolRefusal, InvalidTransaction):
            return
        assert extrinsic_hash in self.pool

    @rule(count=st.integers(0, 4))
    def include_ready(self, count: int) -> None:
        taken = [extrinsic for _, extrinsic in zip(range(count), self.pool.ready(), strict=False)]
        block = self.accounts.include(*taken)
        self.pool.prune(block)
        self.blocks.append(block)

    @rule(sender=st.integers(1, 5), tip=st.integers(0, 30))
    def include_strange(self, sender: int, tip: int) -> None:
        nonce = self.accounts.nonces[account(sender)]
        block = self.accounts.include(transaction(sender, nonce, tip, size=3))
        self.pool.prune(block)
        self.blocks.append(block)

    @precondition(lambda self: self.blocks)
    @rule()
    def retract(self) -> None:
        block = self.blocks.pop()
        self.accounts.undo(block)
        self.pool.retract(block)
        while self.pool.revalidate(100):
            pass

    @rule(sender=st.integers(1, 5))
    def freeze_or_thaw(self, sender: int) -> None:
        self.accounts.frozen ^= {account(sender)}

    @rule()
    def revalidate(self) -> None:
        self.pool.revalidate(100)

    @invariant()
    def limits_hold(self) -> None:
        pending = self.pool.pending()
        assert len(pending) == len(self.pool) <= LIMITS.count
        assert sum(map(len, pending)) == self.pool.size_bytes <= LIMITS.bytes
        counts = Counter(parts(extrinsic)[0] for extrinsic in pending)
        assert all(count <= LIMITS.sender_count for count in counts.values())
        sizes: defaultdict[bytes, int] = defaultdict(int)
        for extrinsic in pending:
            sizes[parts(extrinsic)[0]] += len(extrinsic)
        assert all(size <= LIMITS.sender_bytes for size in sizes.values())

    @invariant()
    def ready_is_in_order(self) -> None:
        ready = list(self.pool.ready())
        assert len(ready) == self.pool.ready_count
        waiting = {tag(*parts(e)[:2]): parts(e)[2] for e in ready}
        for extrinsic in ready:
            who, nonce, tip = parts(extrinsic)
            assert tag(who, nonce - 1) not in waiting if nonce else True
            free = [other for key, other in waiting.items() if previous(key) not in waiting]
            assert tip == max(free)
            del waiting[tag(who, nonce)]

    @invariant()
    def no_two_provide_the_same(self) -> None:
        tags = [tag(*parts(extrinsic)[:2]) for extrinsic in self.pool.pending()]
        assert len(tags) == len(set(tags))


def previous(key: bytes) -> bytes:
    nonce = int.from_bytes(key[32:], "little")
    return tag(key[:32], nonce - 1) if nonce else b""


PoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_pool_machine = PoolMachine.TestCase
