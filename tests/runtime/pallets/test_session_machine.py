"""Any course of elections and key changes: sets rotate exactly two epochs later.

The model is a list of what each epoch's set must be, kept beside the chain with its own arithmetic.
"""

from __future__ import annotations

from typing import Any

import pytest
from dev_chain import ROOT, DevChain, account, keys, seated
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.pallets.session import Session, Validator
from runtime.pallets.session.types import Elected
from runtime.primitives.digest import find_next_epoch
from runtime.primitives.errors import DispatchFailure
from runtime.protocols.session_keys import ownership_message

NAMES = ("Alice", "Bob", "Charlie", "Dave")
KEYS = tuple(f"key {n}" for n in range(6))
STAKE = 1000 * 10**18

changes = st.one_of(
    st.tuples(st.just("keys"), st.sampled_from(NAMES), st.sampled_from(KEYS)),
    st.tuples(st.just("purge"), st.sampled_from(NAMES)),
    st.tuples(
        st.just("elect"),
        st.lists(
            st.tuples(st.sampled_from(NAMES), st.sampled_from((1, STAKE, 3 * STAKE))), max_size=4
        ),
    ),
    st.just(("block",)),
    st.just(("block",)),
)


class Model:
    """What the sets must be: `sets[e]` is that of epoch e."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.number = 0
        self.elected = [("Alice", STAKE), ("Bob", STAKE)]
        self.keys = {name: keys(name, "ed25519").public for name in ("Alice", "Bob")}
        first = self._frozen()
        self.sets = [first, first]

    def _frozen(self) -> tuple[Validator, ...]:
        return tuple(Validator(account(n), self.keys[n], stake) for n, stake in self.elected)

    def block(self) -> bool:
        """Count a block; tell whether it ended an epoch."""
        self.number += 1
        if self.number % self.length:
            return False
        self.sets.append(self._frozen())
        return True

    @property
    def epoch(self) -> int:
        return self.number // self.length

    def holder(self, key: bytes, history: int) -> bytes | None:
        """Return whose key it is, by registration or by a set that is kept."""
        for name, registered in self.keys.items():
            if registered == key:
                return account(name)
        for members in self.sets[max(0, self.epoch - history) :]:
            for member in members:
                if member.consensus_key == key:
                    return member.account
        return None


def change(chain: DevChain, model: Model, step: tuple[Any, ...], history: int) -> None:
    """Make a call and say beforehand whether it is refused."""
    kind = step[0]
    if kind == "keys":
        _, name, key_name = step
        key = keys(key_name, "ed25519")
        proof = key.sign(ownership_message(chain.genesis_hash, account(name))).value
        admitted = model.holder(key.public, history) in (None, account(name))
        arguments: dict[str, Any] = {"key": key.public, "proof": proof}
        if attempt(chain, admitted, name, "set_keys", **arguments):
            model.keys[name] = key.public
    elif kind == "purge":
        name = step[1]
        admitted = name in model.keys and name not in dict(model.elected)
        if attempt(chain, admitted, name, "purge_keys"):
            del model.keys[name]
    else:
        named = step[1]
        distinct = len(dict(named)) == len(named)
        admitted = bool(named) and distinct and all(n in model.keys for n, _ in named)
        validators = tuple(Elected(account(n), stake) for n, stake in named)
        if attempt(chain, admitted, ROOT, "set_validators", validators=validators):
            model.elected = named


def attempt(chain: DevChain, admitted: bool, who: Any, call: str, **arguments: Any) -> bool:
    """Make a call that must be admitted, or refused without a trace."""
    before = chain.overlay.changes()
    try:
        chain.call(who, "Session", call, **arguments)
    except DispatchFailure:
        assert not admitted
        assert chain.overlay.changes() == before
        return False
    assert admitted
    return True


@settings(max_examples=40)
@given(length=st.integers(1, 3), history=st.integers(1, 3), steps=st.lists(changes, max_size=30))
def test_sets_rotate_two_epochs_later_and_keys_never_change_hands_before(
    length: int, history: int, steps: list[tuple[Any, ...]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session.set_history, "value", history)
        chain = DevChain(session=seated("Alice", "Bob", epoch_length=length))
        chain.make_block()
        model = Model(length)
        model.block()
        for step in steps:
            if step[0] != "block":
                change(chain, model, step, history)
                continue
            made = chain.make_block()
            ended = model.block()
            announced = find_next_epoch(made.block.header.digest)
            assert (announced is not None) == ended
            if announced is not None:
                expected = [v.consensus_key for v in model.sets[model.epoch]]
                assert [a.public for a in announced.authorities] == expected
        check(chain, model, history)


def check(chain: DevChain, model: Model, history: int) -> None:
    session = chain.runtime.session
    assert session.current_index.get() == model.epoch
    assert session.members.get() == model.sets[model.epoch]
    assert session.queued.get() == model.sets[model.epoch + 1]
    oldest = max(0, model.epoch - history)
    kept = {epoch: model.sets[epoch] for epoch in range(oldest, model.epoch + 1)}
    assert dict(session.historical_sets.items()) == kept
    for name in (*KEYS, *NAMES):
        public = keys(name, "ed25519").public
        record = session.key_owner.get(public)
        assert (record and record.account) == model.holder(public, history)
