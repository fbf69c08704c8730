"""Keys, their owners, and who is elected."""

from __future__ import annotations

import pytest
from dev_chain import ROOT, DevChain, account, keys, seated

from node.client.signing import KeyPair
from runtime.construct import Runtime, genesis_state
from runtime.frame.errors import DispatchError
from runtime.frame.origin import Unsigned
from runtime.pallets.session import Session, Validator
from runtime.pallets.session.errors import Error
from runtime.pallets.session.events import KeysPurged, KeysSet, ValidatorsElected
from runtime.pallets.session.types import Elected, KeyRecord
from runtime.primitives.errors import InvariantViolation
from runtime.primitives.keys import ss58_encode
from runtime.protocols.session_keys import ownership_message
from runtime.state.overlay import Overlay
from runtime.state.store import MemoryState

LENGTH = 3
STAKE = 1000 * 10**18


@pytest.fixture
def chain() -> DevChain:
    """Return a chain of Alice and Bob with epochs of three blocks."""
    made = DevChain(session=seated("Alice", "Bob", epoch_length=LENGTH))
    made.make_block()
    return made


def session_key(name: str) -> KeyPair:
    return keys(name, "ed25519")


def prove(chain: DevChain, key: KeyPair, who: str) -> bytes:
    signed = key.sign(ownership_message(chain.genesis_hash, account(who)))
    return bytes(signed.value)


def set_keys(chain: DevChain, who: str, key: KeyPair) -> list[object]:
    proof = prove(chain, key, who)
    return chain.call(who, "Session", "set_keys", key=key.public, proof=proof)


def elect(chain: DevChain, *names: str) -> list[object]:
    validators = tuple(Elected(account(name), STAKE) for name in names)
    return chain.call(ROOT, "Session", "set_validators", validators=validators)


def end_epoch(chain: DevChain) -> None:
    epoch = chain.runtime.session.current_index.get()
    while chain.runtime.session.current_index.get() == epoch:
        chain.make_block()


def accounts(validators: tuple[Validator, ...]) -> list[bytes]:
    return [v.account for v in validators]


def test_a_key_and_an_election_act_two_epochs_later(chain: DevChain) -> None:
    carol = session_key("Charlie")
    assert set_keys(chain, "Charlie", carol) == [KeysSet(account("Charlie"), carol.public)]
    names = (account("Charlie"), account("Alice"))
    assert elect(chain, "Charlie", "Alice") == [ValidatorsElected(names, 2)]
    before = chain.runtime.session.members.get()
    end_epoch(chain)
    session = chain.runtime.session
    assert session.members.get() == before
    assert accounts(session.queued.get()) == list(names)
    set_keys(chain, "Charlie", session_key("Charlie//later"))
    end_epoch(chain)
    seated_now = chain.runtime.session.members.get()
    assert seated_now == (
        Validator(account("Charlie"), carol.public, STAKE),
        Validator(account("Alice"), session_key("Alice").public, STAKE),
    )
    end_epoch(chain)
    later = chain.runtime.session.members.get()[0].consensus_key
    assert later == session_key("Charlie//later").public


def test_a_signed_transaction_sets_keys(chain: DevChain) -> None:
    key = session_key("Dave")
    made = chain.submit(
        "Dave", "Session", "set_keys", key=key.public, proof=prove(chain, key, "Dave")
    )
    assert made.named("KeysSet") == [KeysSet(account("Dave"), key.public)]
    made = chain.submit("Dave", "Session", "purge_keys")
    assert made.named("KeysPurged") == [KeysPurged(account("Dave"), key.public)]


@pytest.mark.parametrize(
    "key", [bytes(32), b"\x01" + bytes(31), b"\xee" + b"\xff" * 30 + b"\x7f", b"\x02" + bytes(31)]
)
def test_a_key_that_proves_nothing_is_refused(chain: DevChain, key: bytes) -> None:
    refused = (Error.INVALID_KEY, "Charlie", "Session", "set_keys")
    chain.assert_refused(*refused, key=key, proof=bytes(64))


def test_a_key_needs_its_holders_consent(chain: DevChain) -> None:
    key, other = session_key("Charlie"), session_key("Dave")
    genesis = chain.genesis_hash
    good = prove(chain, key, "Charlie")
    for proof in (
        prove(chain, key, "Dave"),
        prove(chain, other, "Charlie"),
        key.sign(ownership_message(bytes(32), account("Charlie"))).value,
        key.sign(genesis + account("Charlie")).value,
        key.sign(b"open-simplex-vote-v1" + genesis + account("Charlie")).value,
        good[:32] + bytes(32),
        bytes(64),
    ):
        chain.assert_refused(
            Error.BAD_PROOF, "Charlie", "Session", "set_keys", key=key.public, proof=proof
        )
    chain.call("Charlie", "Session", "set_keys", key=key.public, proof=good)


def test_a_key_has_one_owner(chain: DevChain) -> None:
    for key in (session_key("Alice"), session_key("Charlie")):
        if key == session_key("Charlie"):
            set_keys(chain, "Charlie", key)
        proof = prove(chain, key, "Dave")
        chain.assert_refused(
            Error.KEY_TAKEN, "Dave", "Session", "set_keys", key=key.public, proof=proof
        )


def test_a_key_that_never_stood_in_a_set_is_free_once_it_is_replaced(chain: DevChain) -> None:
    first = session_key("Charlie")
    set_keys(chain, "Charlie", first)
    set_keys(chain, "Charlie", first)  # again changes nothing
    assert chain.runtime.session.key_owner[first.public] == KeyRecord(account("Charlie"), None)
    set_keys(chain, "Charlie", session_key("Charlie//2"))
    assert first.public not in chain.runtime.session.key_owner
    set_keys(chain, "Dave", first)
    chain.call("Charlie", "Session", "purge_keys")
    assert account("Charlie") not in chain.runtime.session.next_keys
    assert session_key("Charlie//2").public not in chain.runtime.session.key_owner


def test_a_used_key_is_free_when_the_last_set_with_it_is_forgotten(
    chain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session.set_history, "value", 2)
    old = session_key("Bob")
    set_keys(chain, "Bob", session_key("Bob//2"))  # the old one stands in the sets of 0 and 1
    proof = prove(chain, old, "Dave")
    arguments = {"key": old.public, "proof": proof}
    while chain.runtime.session.current_index.get() < 4:
        chain.assert_refused(Error.KEY_TAKEN, "Dave", "Session", "set_keys", **arguments)
        end_epoch(chain)
    kept = [epoch for epoch, _ in chain.runtime.session.historical_sets.items()]
    assert sorted(kept) == [2, 3, 4]
    chain.call("Dave", "Session", "set_keys", **arguments)


def test_its_owner_may_return_to_a_key(chain: DevChain) -> None:
    old = session_key("Bob")
    set_keys(chain, "Bob", session_key("Bob//2"))
    set_keys(chain, "Bob", old)
    assert chain.runtime.session.next_keys.get(account("Bob")) == old.public
    assert session_key("Bob//2").public not in chain.runtime.session.key_owner


def test_who_is_elected_keeps_a_key(chain: DevChain) -> None:
    chain.assert_refused(Error.STILL_ELECTED, "Bob", "Session", "purge_keys")
    elect(chain, "Alice")
    purged = chain.call("Bob", "Session", "purge_keys")
    assert purged == [KeysPurged(account("Bob"), session_key("Bob").public)]
    assert len(chain.runtime.session.members.get()) == 2
    for _ in range(3):
        end_epoch(chain)
    assert accounts(chain.runtime.session.members.get()) == [account("Alice")]


def test_who_has_no_key_has_none_to_give_up(chain: DevChain) -> None:
    chain.assert_refused(Error.NO_KEYS, "Charlie", "Session", "purge_keys")


def test_an_election_that_cannot_hold_is_refused_by_name(chain: DevChain) -> None:
    alice, bob = account("Alice"), account("Bob")
    many = tuple(Elected(bytes([i]) * 32, 1) for i in range(101))
    for error, validators in (
        (Error.BAD_NUMBER, ()),
        (Error.BAD_NUMBER, many),
        (Error.REPEATED_VALIDATOR, (Elected(alice, 1), Elected(bob, 1), Elected(alice, 2))),
        (Error.NO_STAKE, (Elected(alice, 1), Elected(bob, 0))),
        (Error.VALIDATOR_WITHOUT_KEYS, (Elected(alice, 1), Elected(account("Charlie"), 1))),
    ):
        chain.assert_refused(error, ROOT, "Session", "set_validators", validators=validators)


def test_only_the_right_origin_may_call(chain: DevChain) -> None:
    bad = DispatchError.BAD_ORIGIN
    for origin in ("Alice", Unsigned()):
        validators = (Elected(account("Alice"), 1),)
        chain.assert_refused(bad, origin, "Session", "set_validators", validators=validators)
    key = session_key("Charlie")
    for nobody in (ROOT, Unsigned()):
        chain.assert_refused(bad, nobody, "Session", "purge_keys")
        chain.assert_refused(bad, nobody, "Session", "set_keys", key=key.public, proof=bytes(64))


def test_stakes_weigh_the_votes_of_the_set_that_was_elected_with_them(chain: DevChain) -> None:
    validators = (Elected(account("Alice"), 5 * 10**9), Elected(account("Bob"), 1))
    chain.call(ROOT, "Session", "set_validators", validators=validators)
    end_epoch(chain)
    end_epoch(chain)
    assert [a.weight for a in chain.runtime.session.authorities.get()] == [5, 1]


def genesis(*seats: tuple[str, str, str], **more: object) -> Runtime:
    entries = genesis_state({"session": {"validators": seats, **more}})
    return Runtime(Overlay(MemoryState(entries)))


def test_genesis_seats_the_first_two_epochs() -> None:
    runtime = genesis((ss58_encode(account("Alice")), "0x" + "22" * 32, "7"), epoch_length="9")
    expected = (Validator(account("Alice"), b"\x22" * 32, 7),)
    session = runtime.session
    assert session.members.get() == session.queued.get() == expected
    assert session.historical_sets[0] == expected
    assert (session.current_index.get(), session.epoch_start.get()) == (0, 1)
    assert session.epoch_length.get() == 9


def test_a_genesis_that_contradicts_itself_is_refused() -> None:
    alice, bob = ss58_encode(account("Alice")), ss58_encode(account("Bob"))
    with pytest.raises(InvariantViolation):
        genesis((alice, "22" * 32, "7"), (alice, "33" * 32, "7"))
    with pytest.raises(InvariantViolation):
        genesis((alice, "22" * 32, "7"), (bob, "22" * 32, "7"))
    many = [(ss58_encode(bytes([i]) * 32), f"{i:02x}" * 32, "1") for i in range(1, 102)]
    with pytest.raises(InvariantViolation):
        genesis(*many)
    with pytest.raises(ValueError, match="epoch_length"):
        genesis((alice, "22" * 32, "7"), epoch_length=0)
