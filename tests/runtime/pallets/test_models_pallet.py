from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dev_chain import ENDOWMENT, OPEN, PEOPLE, ROOT, DevChain, account

from runtime.frame.currency import HoldReason
from runtime.frame.errors import DispatchError, TokenError
from runtime.frame.origin import Unsigned
from runtime.pallets.datanets.types import Policy
from runtime.pallets.models.pallet import (
    ArtifactSubmitted,
    Backed,
    BaseRegistered,
    Deprecated,
    Error,
    Launched,
    PriceSet,
    Proposed,
    Unbacked,
)
from runtime.pallets.models.types import Artifact, DatanetVersion, Roots, Stage
from runtime.protocols.price import Price
from runtime.protocols.settlement import Royalty

CAP = 10**16
PRICE = Price(10**15, 2 * 10**15, 10**15)
ALICE, BOB = account("Alice"), account("Bob")


def artifact(number: int = 1, **changes: Any) -> Artifact:
    roots = Roots(*[bytes([i]) * 32 for i in range(5)])
    made = Artifact(bytes([number]) * 32, 1000, bytes([8]) * 32, roots, (4, 4), 0)
    return replace(made, **changes)


def proposal(**changes: Any) -> dict[str, Any]:
    return {
        "name": b"model",
        "base": 0,
        "parent": None,
        "royalty": 0,
        "datanets": (DatanetVersion(0, 0),),
        "stake": 10 * OPEN,
        **changes,
    }


def propose(chain: DevChain, owner: str = "Alice", **changes: Any) -> list[Any]:
    return chain.call(owner, "Models", "propose", **proposal(**changes))


@pytest.fixture
def ready(chain: DevChain) -> DevChain:
    """Return a chain with a published Datanet and a base model."""
    policy = Policy(True, 0, 0)
    chain.call("Dave", "Datanets", "create", name=b"n", schema=(b"f",), policy=policy)
    batch = {
        "datanet": 0,
        "sub_root": bytes(32),
        "count": 1,
        "bytes_": 9,
        "blob": bytes(32),
        "licence": b"MIT",
        "bond": 0,
    }
    chain.call("Dave", "Datanets", "submit_batch", **batch)
    chain.call("Dave", "Datanets", "accept", datanet=0, batch=0)
    chain.call("Dave", "Datanets", "publish_version", datanet=0)
    return chain


def launch(chain: DevChain, model: int, owner: str = "Alice") -> None:
    chain.call(owner, "Models", "submit_artifact", model=model, artifact=artifact(model + 1))
    chain.call(owner, "Models", "launch", model=model, price=PRICE)


def test_governance_alone_admits_base_models(chain: DevChain) -> None:
    call = ("Models", "register_base")
    arguments = {"name": b"big", "manifest": bytes([5]) * 32, "compute_cap": CAP}
    made = chain.call(ROOT, *call, **arguments)
    assert made == [BaseRegistered(1, b"big", bytes([5]) * 32)]
    for origin in ("Alice", Unsigned()):
        chain.assert_refused(DispatchError.BAD_ORIGIN, origin, *call, **arguments)
    for name in (b"", b"x" * 65, b"\xff"):
        chain.assert_refused(Error.BAD_NAME, ROOT, *call, **{**arguments, "name": name})


def test_a_proposal_stakes(ready: DevChain) -> None:
    assert propose(ready)[-1] == Proposed(0, ALICE, b"model", 10 * OPEN)
    assert ready.runtime.balances.held(HoldReason.MODEL_STAKE, ALICE) == 10 * OPEN
    assert ready.runtime.models.model(0).stage is Stage.PROPOSED
    ready.check()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": b""}, Error.BAD_NAME),
        ({"name": b"x" * 65}, Error.BAD_NAME),
        ({"name": b"\xff"}, Error.BAD_NAME),
        ({"base": 1}, Error.UNKNOWN_BASE),
        ({"stake": 10 * OPEN - 1}, Error.STAKE_TOO_LOW),
        ({"stake": 2**128 - 1}, TokenError.FUNDS_UNAVAILABLE),
        ({"datanets": ()}, Error.BAD_DATANETS),
        ({"datanets": (DatanetVersion(0, 1),)}, Error.BAD_DATANETS),
        ({"datanets": (DatanetVersion(1, 0),)}, Error.BAD_DATANETS),
        ({"datanets": (DatanetVersion(0, 0),) * 2}, Error.BAD_DATANETS),
        ({"datanets": tuple(DatanetVersion(i, 0) for i in range(17))}, Error.BAD_DATANETS),
        ({"parent": 7}, Error.BAD_LINEAGE),
        ({"parent": 0}, Error.BAD_LINEAGE),  # not trained yet
        ({"royalty": 3001}, Error.BAD_ROYALTY),
    ],
)
def test_a_proposal_that_breaks_a_rule_is_refused(
    ready: DevChain, changes: dict[str, Any], error: Any
) -> None:
    propose(ready, "Eve")
    ready.assert_refused(error, "Alice", "Models", "propose", **proposal(**changes))


def test_nothing_is_trained_on_a_delisted_datanet(ready: DevChain) -> None:
    ready.call(ROOT, "Datanets", "force_delist", datanet=0)
    ready.assert_refused(Error.BAD_DATANETS, "Alice", "Models", "propose", **proposal())


def test_a_model_goes_from_proposal_to_launch_and_never_back(ready: DevChain) -> None:
    propose(ready)
    models = ("Alice", "Models")
    ready.assert_refused(Error.WRONG_STAGE, *models, "launch", model=0, price=PRICE)
    ready.assert_refused(Error.WRONG_STAGE, *models, "set_price", model=0, price=PRICE)
    made = ready.call(*models, "submit_artifact", model=0, artifact=artifact())
    assert made == [ArtifactSubmitted(0, bytes([1]) * 32, bytes([8]) * 32)]
    assert ready.runtime.models.launched(0) is None
    again = {"model": 0, "artifact": artifact(2)}
    ready.assert_refused(Error.WRONG_STAGE, *models, "submit_artifact", **again)
    assert ready.call(*models, "launch", model=0, price=PRICE) == [Launched(0, PRICE)]
    found = ready.runtime.models.launched(0)
    assert found is not None
    assert (found.price, found.artifact) == (PRICE, artifact())
    ready.assert_refused(Error.WRONG_STAGE, *models, "launch", model=0, price=PRICE)
    ready.assert_refused(Error.WRONG_STAGE, *models, "submit_artifact", **again)
    other = replace(PRICE, premium=CAP)
    assert ready.call(*models, "set_price", model=0, price=other) == [PriceSet(0, other)]
    assert ready.call(*models, "deprecate", model=0)[-1] == Deprecated(0)
    assert ready.runtime.models.launched(0) is None
    for name, arguments in (
        ("deprecate", {"model": 0}),
        ("set_price", {"model": 0, "price": PRICE}),
        ("back", {"model": 0, "amount": OPEN}),
    ):
        ready.assert_refused(Error.WRONG_STAGE, *models, name, **arguments)
    assert ready.runtime.models.model(0).artifact == artifact()
    ready.check()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("submit_artifact", {"artifact": artifact()}),
        ("launch", {"price": PRICE}),
        ("set_price", {"price": PRICE}),
        ("deprecate", {}),
    ],
)
def test_the_owner_alone_moves_a_model(
    ready: DevChain, name: str, arguments: dict[str, Any]
) -> None:
    propose(ready)
    ready.assert_refused(Error.NOT_OWNER, "Bob", "Models", name, model=0, **arguments)
    ready.assert_refused(Error.UNKNOWN_MODEL, "Alice", "Models", name, model=1, **arguments)
    ready.assert_refused(DispatchError.BAD_ORIGIN, ROOT, "Models", name, model=0, **arguments)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"manifest_bytes": 0}, Error.BAD_MANIFEST),
        ({"manifest_bytes": 64 * 1024 * 1024 + 1}, Error.BAD_MANIFEST),
        ({"manifest": bytes([77]) * 32}, Error.MANIFEST_KNOWN),
        ({"layout": ()}, Error.BAD_LAYOUT),
        ({"layout": (0,)}, Error.BAD_LAYOUT),
        ({"layout": (1,) * 4097}, Error.BAD_LAYOUT),
        ({"layout": (2**32 - 1,)}, Error.BAD_LAYOUT),
        ({"layout": (4096, 4097)}, Error.BAD_LAYOUT),
    ],
)
def test_an_artifact_that_breaks_a_rule_is_refused(
    ready: DevChain, changes: dict[str, Any], error: Error
) -> None:
    propose(ready, "Eve")
    ready.call("Eve", "Models", "submit_artifact", model=0, artifact=artifact(77))
    propose(ready)
    bad = artifact(**changes)
    ready.assert_refused(error, "Alice", "Models", "submit_artifact", model=1, artifact=bad)


@pytest.mark.parametrize(
    "price",
    [
        Price(CAP + 1, 1, CAP),
        Price(1, CAP + 1, CAP),
        Price(100, 100, 49),
        Price(100, 101, 50),
        Price(0, 0, 10**24 + 1),
    ],
)
def test_a_price_that_would_not_pay_contributors_is_refused(ready: DevChain, price: Price) -> None:
    propose(ready)
    ready.call("Alice", "Models", "submit_artifact", model=0, artifact=artifact())
    ready.assert_refused(Error.PRICE_REFUSED, "Alice", "Models", "launch", model=0, price=price)
    ready.call("Alice", "Models", "launch", model=0, price=Price(100, 100, 50))
    ready.assert_refused(Error.PRICE_REFUSED, "Alice", "Models", "set_price", model=0, price=price)


def test_backers_stake_and_take_back(ready: DevChain) -> None:
    propose(ready)
    back = ("Bob", "Models", "back")
    assert ready.call(*back, model=0, amount=2 * OPEN)[-1] == Backed(0, BOB, 2 * OPEN)
    ready.call(*back, model=0, amount=OPEN)
    (backer,) = ready.runtime.models.model(0).backers
    assert (backer.account, backer.amount) == (BOB, 3 * OPEN)
    unback = ("Bob", "Models", "unback")
    for amount in (0, 3 * OPEN + 1, 2 * OPEN + 1, 2**128 - 1):
        ready.assert_refused(Error.NOT_A_BACKER, *unback, model=0, amount=amount)
    assert ready.call(*unback, model=0, amount=2 * OPEN)[-1] == Unbacked(0, BOB, 2 * OPEN)
    ready.call(*unback, model=0, amount=OPEN)
    assert ready.runtime.models.model(0).backers == ()
    assert ready.free("Bob") == ENDOWMENT
    ready.assert_refused(Error.NOT_A_BACKER, *unback, model=0, amount=OPEN)
    ready.assert_refused(Error.UNKNOWN_MODEL, *unback, model=4, amount=OPEN)
    ready.assert_refused(Error.TOO_MANY_BACKERS, *back, model=0, amount=OPEN - 1)
    ready.assert_refused(TokenError.FUNDS_UNAVAILABLE, *back, model=0, amount=ENDOWMENT)
    ready.check()


def test_a_model_has_a_bounded_number_of_backers(ready: DevChain) -> None:
    from runtime.frame.origin import Signed
    from runtime.primitives.types import Id

    propose(ready)
    for number in range(33):
        who = bytes([100 + number]) * 32
        ready.call("Bob", "Balances", "transfer_keep_alive", dest=Id(who), value=3 * OPEN)
        if number < 32:
            ready.call(Signed(who), "Models", "back", model=0, amount=OPEN)
    ready.assert_refused(
        Error.TOO_MANY_BACKERS, Signed(who), "Models", "back", model=0, amount=OPEN
    )
    first = Signed(bytes([100]) * 32)
    ready.call(first, "Models", "back", model=0, amount=OPEN)
    accounts = [b.account for b in ready.runtime.models.model(0).backers]
    assert accounts == sorted(accounts)
    ready.call("Alice", "Models", "deprecate", model=0)
    ready.check()


def test_deprecating_frees_every_stake(ready: DevChain) -> None:
    propose(ready)
    for who in PEOPLE[1:]:
        ready.call(who, "Models", "back", model=0, amount=OPEN)
    ready.call("Alice", "Models", "back", model=0, amount=OPEN)
    ready.call("Alice", "Models", "deprecate", model=0)
    held = ready.runtime.balances.held_by_reason()
    assert held[HoldReason.MODEL_STAKE] == 0
    assert [ready.free(who) for who in PEOPLE if who != "Dave"] == [ENDOWMENT] * 5
    ready.check()


def test_ancestors_take_royalties_and_a_line_ends_at_eight(ready: DevChain) -> None:
    owners = ("Alice", "Bob", "Alice", "Eve")
    parent = None
    for model in range(8):
        owner = owners[model % 4]
        propose(ready, owner, parent=parent, royalty=100 * (model % 3))
        launch(ready, model, owner)
        parent = model
    found = ready.runtime.models.royalties(7)
    expected: dict[bytes, int] = {}
    for model in range(7):
        who = account(owners[model % 4])
        expected[who] = expected.get(who, 0) + 100 * (model % 3)
    assert found == tuple(Royalty(w, p) for w, p in sorted(expected.items()) if p)
    ready.assert_refused(Error.BAD_LINEAGE, "Alice", "Models", "propose", **proposal(parent=7))
    ready.check()


def test_royalties_of_a_line_have_a_bound(ready: DevChain) -> None:
    propose(ready, royalty=2000)
    launch(ready, 0)
    refused = proposal(parent=0, royalty=1001)
    ready.assert_refused(Error.BAD_ROYALTY, "Bob", "Models", "propose", **refused)
    propose(ready, "Bob", parent=0, royalty=1000)
    ready.check()


def test_a_child_has_the_base_of_its_parent(ready: DevChain) -> None:
    base = {"name": b"big", "manifest": bytes([5]) * 32, "compute_cap": CAP}
    ready.call(ROOT, "Models", "register_base", **base)
    propose(ready)
    launch(ready, 0)
    other = proposal(parent=0, base=1)
    ready.assert_refused(Error.BAD_LINEAGE, "Bob", "Models", "propose", **other)
