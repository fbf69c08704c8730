from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dev_chain import ENDOWMENT, OPEN, ROOT, DevChain, account

from runtime.frame.currency import TREASURY, HoldReason
from runtime.frame.errors import DispatchError, TokenError
from runtime.frame.origin import Unsigned
from runtime.pallets.datanets.pallet import (
    MAX_UNPUBLISHED,
    BatchAccepted,
    BatchRejected,
    BatchSubmitted,
    BondReleased,
    Created,
    Delisted,
    Error,
    Flagged,
    FlagResolved,
    PolicySet,
    RecordRedundant,
    VersionPublished,
)
from runtime.pallets.datanets.types import (
    BatchStatus,
    Duplication,
    FlagKind,
    FlagStatus,
    Policy,
    Status,
)
from runtime.primitives.errors import DispatchFailure
from runtime.protocols.ids import RecordId
from runtime.protocols.record_batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from runtime.protocols.record_proof import DatanetLeaf, RecordProof, prove_record
from runtime.protocols.records import RecordLeaf, record_leaf, sub_root

POLICY = Policy(True, OPEN // 10, OPEN)
ALICE, BOB, CHARLIE = account("Alice"), account("Bob"), account("Charlie")
EVIDENCE = bytes([66]) * 32


def create(chain: DevChain, owner: str = "Alice", **changes: Any) -> list[Any]:
    arguments = {"name": b"net", "schema": (b"text",), "policy": POLICY, **changes}
    return chain.call(owner, "Datanets", "create", **arguments)


def submission(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "datanet": 0,
        "sub_root": bytes([number]) * 32,
        "count": 3,
        "bytes_": 100,
        "blob": bytes([100 + number]) * 32,
        "licence": b"CC0-1.0",
        "bond": OPEN,
        **changes,
    }


def submit(chain: DevChain, who: str = "Bob", number: int = 0, **changes: Any) -> list[Any]:
    return chain.call(who, "Datanets", "submit_batch", **submission(number, **changes))


def accepted(chain: DevChain, who: str = "Bob", number: int = 0, **changes: Any) -> None:
    (made,) = submit(chain, who, number, **changes)[-1:]
    chain.call("Alice", "Datanets", "accept", datanet=0, batch=made.batch)


@pytest.fixture
def net(chain: DevChain) -> DevChain:
    """Return a chain with Alice's Datanet 0."""
    create(chain)
    return chain


def test_creating_a_datanet_holds_a_deposit(chain: DevChain) -> None:
    assert create(chain)[-1] == Created(0, ALICE, b"net")
    assert create(chain, "Bob", name=b"other")[-1] == Created(1, BOB, b"other")
    datanets = chain.runtime.datanets
    assert datanets.names.get(b"other") == 1
    assert chain.runtime.balances.held(HoldReason.DATANET_DEPOSIT, BOB) == 10 * OPEN
    chain.check()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": b""}, Error.NAME_TOO_LONG),
        ({"name": b"x" * 65}, Error.NAME_TOO_LONG),
        ({"name": b"\xff"}, Error.NAME_TOO_LONG),
        ({"name": b"net"}, Error.NAME_TAKEN),
        ({"schema": ()}, Error.BAD_SCHEMA),
        ({"schema": (b"a",) * 2}, Error.BAD_SCHEMA),
        ({"schema": (b"\xff",)}, Error.BAD_SCHEMA),
        ({"schema": (b"",)}, Error.BAD_SCHEMA),
        ({"schema": (b"a" * 65,)}, Error.BAD_SCHEMA),
        ({"schema": tuple(bytes([97 + i]) for i in range(17))}, Error.BAD_SCHEMA),
        ({"policy": Policy(True, 10 * OPEN + 1, 0)}, Error.BAD_POLICY),
    ],
)
def test_a_datanet_that_breaks_a_rule_is_not_created(
    net: DevChain, changes: dict[str, Any], error: Error
) -> None:
    arguments = {"name": b"new", "schema": (b"text",), "policy": POLICY, **changes}
    net.assert_refused(error, "Bob", "Datanets", "create", **arguments)


def test_a_batch_is_bonded_and_waits_for_the_owner(net: DevChain) -> None:
    made = submit(net)
    assert made[-1] == BatchSubmitted(0, 0, BOB, 3, bytes([100]) * 32, OPEN)
    datanets = net.runtime.datanets
    assert datanets.blobs.get(bytes([100]) * 32) == 100
    assert datanets.batches[0, 0].status is BatchStatus.PENDING
    assert datanets.contributors[0, BOB].bonded == OPEN
    net.check()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"datanet": 5}, Error.UNKNOWN_DATANET),
        ({"count": 0}, Error.BAD_BATCH_SIZE),
        ({"count": MAX_BATCH_RECORDS + 1}, Error.BAD_BATCH_SIZE),
        ({"bytes_": 0}, Error.BAD_BATCH_SIZE),
        ({"bytes_": MAX_BATCH_BYTES + 1}, Error.BAD_BATCH_SIZE),
        ({"licence": b""}, Error.BAD_LICENCE),
        ({"licence": b"x" * 65}, Error.BAD_LICENCE),
        ({"licence": b"\xff"}, Error.BAD_LICENCE),
        ({"bond": OPEN - 1}, Error.BOND_TOO_LOW),
        ({"count": 11}, Error.BOND_TOO_LOW),
        ({"blob": bytes([109]) * 32}, Error.BLOB_KNOWN),
        ({"bond": 2 * ENDOWMENT}, TokenError.FUNDS_UNAVAILABLE),
        ({"bond": 2**128 - 1}, TokenError.FUNDS_UNAVAILABLE),
    ],
)
def test_a_batch_that_breaks_a_rule_is_not_taken(
    net: DevChain, changes: dict[str, Any], error: Any
) -> None:
    submit(net, number=9)
    net.assert_refused(error, "Bob", "Datanets", "submit_batch", **submission(**changes))


def test_a_closed_datanet_takes_its_owners_batches_only(net: DevChain) -> None:
    net.call("Alice", "Datanets", "set_policy", datanet=0, policy=replace(POLICY, open=False))
    net.assert_refused(Error.CLOSED, "Bob", "Datanets", "submit_batch", **submission())
    submit(net, "Alice")


def test_accepted_records_have_dense_numbers(net: DevChain) -> None:
    for number, count in enumerate((3, 1, 10)):
        submit(net, number=number, count=count)
    made = [
        net.call("Alice", "Datanets", "accept", datanet=0, batch=batch)[-1] for batch in (1, 0, 2)
    ]
    assert made == [
        BatchAccepted(0, 1, 0, 1),
        BatchAccepted(0, 0, 1, 3),
        BatchAccepted(0, 2, 4, 10),
    ]
    contributor_of = net.runtime.datanets.contributor_of
    assert [contributor_of(RecordId(0, n)) for n in (0, 13)] == [BOB, BOB]
    assert contributor_of(RecordId(0, 14)) is None
    assert contributor_of(RecordId(1, 0)) is None
    net.check()


def test_the_contributor_of_every_record_is_found(net: DevChain) -> None:
    expected = []
    for number in range(7):
        who, count = ("Bob", "Charlie", "Dave")[number % 3], number + 1
        accepted(net, who, number, count=count)
        expected += [account(who)] * count
    found = [net.runtime.datanets.contributor_of(RecordId(0, n)) for n in range(len(expected))]
    assert found == expected


def test_only_the_owner_accepts_and_only_once(net: DevChain) -> None:
    submit(net)
    net.assert_refused(Error.NOT_OWNER, "Bob", "Datanets", "accept", datanet=0, batch=0)
    net.assert_refused(Error.UNKNOWN_BATCH, "Alice", "Datanets", "accept", datanet=0, batch=7)
    net.assert_refused(Error.UNKNOWN_DATANET, "Alice", "Datanets", "accept", datanet=7, batch=0)
    net.call("Alice", "Datanets", "accept", datanet=0, batch=0)
    for name in ("accept", "reject"):
        net.assert_refused(Error.ALREADY_DECIDED, "Alice", "Datanets", name, datanet=0, batch=0)


@pytest.mark.parametrize("who", ["Alice", "Bob"])
def test_a_rejected_batch_frees_bond_and_blob(net: DevChain, who: str) -> None:
    submit(net)
    net.assert_refused(Error.NOT_OWNER, "Charlie", "Datanets", "reject", datanet=0, batch=0)
    made = net.call(who, "Datanets", "reject", datanet=0, batch=0)
    assert made[-1] == BatchRejected(0, 0)
    assert net.free("Bob") == ENDOWMENT
    assert bytes([100]) * 32 not in net.runtime.datanets.blobs
    net.check()
    submit(net)


def test_a_version_is_what_the_datanet_was(net: DevChain) -> None:
    for number, licence in enumerate((b"MIT", b"CC0-1.0", b"MIT")):
        accepted(net, number=number, licence=licence)
    before = net.runtime.datanets.datanets[0]
    made = net.call("Alice", "Datanets", "publish_version", datanet=0)
    root = before.range.root()
    assert made[-1] == VersionPublished(0, 0, root, 9)
    version = net.runtime.datanets.version(0, 0)
    assert version is not None
    assert (version.root, version.records, version.bytes_) == (root, 9, 300)
    assert (version.licences, version.schema) == ((b"CC0-1.0", b"MIT"), (b"text",))
    net.assert_refused(Error.NOTHING_NEW, "Alice", "Datanets", "publish_version", datanet=0)
    net.assert_refused(Error.NOT_OWNER, "Bob", "Datanets", "publish_version", datanet=0)
    accepted(net, number=9, licence=b"Apache-2.0")
    net.call("Alice", "Datanets", "publish_version", datanet=0)
    assert net.runtime.datanets.version(0, 0) == version
    second = net.runtime.datanets.version(0, 1)
    assert second is not None
    assert second.licences == (b"Apache-2.0", b"CC0-1.0", b"MIT")


def test_an_empty_datanet_has_no_version(net: DevChain) -> None:
    net.assert_refused(Error.NOTHING_NEW, "Alice", "Datanets", "publish_version", datanet=0)


def test_a_version_reads_a_bounded_number_of_batches(net: DevChain) -> None:
    net.call("Alice", "Datanets", "set_policy", datanet=0, policy=Policy(True, 0, 0))
    for number in range(MAX_UNPUBLISHED):
        blob = number.to_bytes(32, "big")
        submit(net, blob=blob, bond=0)
        net.call("Alice", "Datanets", "accept", datanet=0, batch=number)
    (made,) = submit(net, bond=0)[-1:]
    one_more = {"datanet": 0, "batch": made.batch}
    net.assert_refused(Error.PUBLISH_FIRST, "Alice", "Datanets", "accept", **one_more)
    net.call("Alice", "Datanets", "publish_version", datanet=0)
    net.call("Alice", "Datanets", "accept", **one_more)


def test_the_owner_alone_sets_the_policy(net: DevChain) -> None:
    other = Policy(False, 1, 2)
    made = net.call("Alice", "Datanets", "set_policy", datanet=0, policy=other)
    assert made == [PolicySet(0, other)]
    net.assert_refused(Error.NOT_OWNER, "Bob", "Datanets", "set_policy", datanet=0, policy=other)
    high = Policy(True, 10 * OPEN + 1, 0)
    net.assert_refused(Error.BAD_POLICY, "Alice", "Datanets", "set_policy", datanet=0, policy=high)


def test_a_delisted_datanet_takes_and_pays_nothing_but_frees_bonds(net: DevChain) -> None:
    accepted(net)
    submit(net, number=1)
    submit(net, number=2)
    assert net.call(ROOT, "Datanets", "force_delist", datanet=0) == [Delisted(0)]
    datanets = net.runtime.datanets
    assert datanets.datanets[0].status is Status.DELISTED
    assert not datanets.pays(0)
    closed = [
        ("Bob", "submit_batch", submission(3)),
        ("Alice", "accept", {"datanet": 0, "batch": 1}),
        ("Alice", "publish_version", {"datanet": 0}),
    ]
    for who, name, arguments in closed:
        net.assert_refused(Error.CLOSED, who, "Datanets", name, **arguments)
    net.call("Alice", "Datanets", "reject", datanet=0, batch=1)
    net.call("Bob", "Datanets", "reject", datanet=0, batch=2)
    net.run_to_block(102)
    net.call("Charlie", "Datanets", "release_bond", datanet=0, batch=0)
    assert net.free("Bob") == ENDOWMENT
    net.check()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("force_delist", {"datanet": 0}), ("resolve_flag", {"flag": 0, "upheld": True})],
)
def test_governance_alone_judges(net: DevChain, name: str, arguments: dict[str, Any]) -> None:
    for origin in ("Alice", Unsigned()):
        net.assert_refused(DispatchError.BAD_ORIGIN, origin, "Datanets", name, **arguments)
    unknown = Error.UNKNOWN_DATANET if name == "force_delist" else Error.UNKNOWN_FLAG
    net.assert_refused(
        unknown,
        ROOT,
        "Datanets",
        name,
        **{**arguments, **dict.fromkeys([k for k in arguments if k != "upheld"], 9)},
    )


def test_a_bond_is_free_after_its_window(net: DevChain) -> None:
    accepted(net)
    call = ("Charlie", "Datanets", "release_bond")
    net.assert_refused(Error.WINDOW_OPEN, *call, datanet=0, batch=0)
    net.run_to_block(100)
    net.assert_refused(Error.WINDOW_OPEN, *call, datanet=0, batch=0)
    net.run_to_block(101)
    assert net.call(*call, datanet=0, batch=0)[-1] == BondReleased(0, 0, OPEN)
    net.assert_refused(Error.NOTHING_BONDED, *call, datanet=0, batch=0)
    net.assert_refused(Error.UNKNOWN_BATCH, *call, datanet=0, batch=1)
    assert net.free("Bob") == ENDOWMENT
    net.check()


def test_a_pending_bond_is_not_released(net: DevChain) -> None:
    submit(net)
    net.run_to_block(150)
    net.assert_refused(Error.WINDOW_OPEN, "Bob", "Datanets", "release_bond", datanet=0, batch=0)


def flag(net: DevChain, who: str = "Charlie", **changes: Any) -> list[Any]:
    return net.call(who, "Datanets", "flag", **flagging(**changes))


def flagging(**changes: Any) -> dict[str, Any]:
    kind = FlagKind.ADVERSARIAL
    base = {"datanet": 0, "batch": 0, "kind": kind, "evidence": EVIDENCE, "bond": OPEN}
    return {**base, **changes}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": FlagKind.REDUNDANT}, Error.WRONG_EVIDENCE),
        ({"bond": OPEN - 1}, Error.FLAG_BOND_TOO_LOW),
        ({"batch": 9}, Error.UNKNOWN_BATCH),
        ({"batch": 1}, Error.UNKNOWN_BATCH),
    ],
)
def test_an_accusation_that_breaks_a_rule_is_refused(
    net: DevChain, changes: dict[str, Any], error: Error
) -> None:
    accepted(net)
    submit(net, number=1)
    net.assert_refused(error, "Charlie", "Datanets", "flag", **flagging(**changes))


def test_an_accusation_keeps_the_bond_until_it_is_judged(net: DevChain) -> None:
    accepted(net)
    assert flag(net)[-1] == Flagged(0, 0, 0, FlagKind.ADVERSARIAL, CHARLIE)
    net.run_to_block(101)
    net.assert_refused(Error.WINDOW_OVER, "Charlie", "Datanets", "flag", **flagging())
    release = ("Bob", "Datanets", "release_bond")
    net.assert_refused(Error.WINDOW_OPEN, *release, datanet=0, batch=0)
    made = net.call(ROOT, "Datanets", "resolve_flag", flag=0, upheld=False)
    assert made[-1] == FlagResolved(0, FlagStatus.DISMISSED, 0)
    net.call(*release, datanet=0, batch=0)
    assert (net.free("Bob"), net.free("Charlie")) == (ENDOWMENT + OPEN, ENDOWMENT - OPEN)
    net.check()


def test_an_upheld_accusation_takes_the_bond_once(net: DevChain) -> None:
    accepted(net)
    flag(net)
    flag(net, "Dave")
    made = net.call(ROOT, "Datanets", "resolve_flag", flag=0, upheld=True)
    assert made[-1] == FlagResolved(0, FlagStatus.UPHELD, OPEN)
    assert net.free("Charlie") == ENDOWMENT + OPEN // 10
    assert net.free(TREASURY) == OPEN - OPEN // 10
    made = net.call(ROOT, "Datanets", "resolve_flag", flag=1, upheld=True)
    assert made[-1] == FlagResolved(1, FlagStatus.UPHELD, 0)
    assert (net.free("Dave"), net.free("Bob")) == (ENDOWMENT, ENDOWMENT - OPEN)
    net.assert_refused(Error.UNKNOWN_FLAG, ROOT, "Datanets", "resolve_flag", flag=0, upheld=True)
    net.assert_refused(Error.NOTHING_BONDED, "Bob", "Datanets", "release_bond", datanet=0, batch=0)
    net.check()


def test_a_batch_has_a_bounded_number_of_accusations(net: DevChain) -> None:
    accepted(net)
    for _ in range(16):
        flag(net)
    net.assert_refused(Error.TOO_MANY_FLAGS, "Dave", "Datanets", "flag", **flagging())


# Copies, with real records and real proofs.

TEXTS = {"Bob": ("one", "two", "three"), "Charlie": ("four", "TWO ", "five"), "Dave": ("two",)}


class Library:
    """A Datanet whose batches hold real records."""

    def __init__(self, chain: DevChain, texts: dict[str, tuple[str, ...]] | None = None) -> None:
        self.chain = chain
        self.leaves: list[list[RecordLeaf]] = []
        self.batches: list[DatanetLeaf] = []
        create(chain)
        for number, (who, fields) in enumerate((texts or TEXTS).items()):
            leaves = [record_leaf((text,)) for text in fields]
            first = sum(len(known) for known in self.leaves)
            root = sub_root(leaves)
            accepted(chain, who.split("-")[0], number, sub_root=root, count=len(leaves))
            height = chain.runtime.system.number.get()
            owner = account(who.split("-")[0])
            self.leaves.append(leaves)
            self.batches.append(DatanetLeaf(first, len(leaves), owner, height, root))

    def proof(self, batch: int, index: int) -> RecordProof:
        return prove_record(self.batches, batch, self.leaves[batch], index)

    def duplication(self, copy: tuple[int, int], original: tuple[int, int]) -> dict[str, Any]:
        proof = Duplication(self.proof(*copy), self.proof(*original))
        return {"datanet": 0, "batch": copy[0], "proof": proof}


def test_a_proven_copy_is_paid_nothing_and_costs_a_tenth_of_the_bond(chain: DevChain) -> None:
    library = Library(chain)
    arguments = library.duplication((1, 1), (0, 1))
    made = chain.call("Eve", "Datanets", "flag_redundant", **arguments)
    assert made[-1] == RecordRedundant(0, 4, 1, CHARLIE, OPEN // 10)
    datanets = chain.runtime.datanets
    assert datanets.canonical(RecordId(0, 4)) == RecordId(0, 1)
    assert datanets.canonical(RecordId(0, 3)) == RecordId(0, 3)
    assert chain.free("Eve") == ENDOWMENT + OPEN // 100
    assert chain.free(TREASURY) == OPEN // 10 - OPEN // 100
    assert datanets.batches[0, 1].bond == OPEN - OPEN // 10
    assert datanets.contributors[0, CHARLIE].redundant == 1
    chain.check()
    chain.assert_refused(Error.ALREADY_REDUNDANT, "Eve", "Datanets", "flag_redundant", **arguments)


@pytest.mark.parametrize("order", [((2, 0), (1, 1)), ((1, 1), (0, 1))])
def test_a_copy_of_a_copy_is_paid_through_the_original(
    chain: DevChain, order: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    library = Library(chain)
    pairs = {(2, 0): (1, 1), (1, 1): (0, 1)}
    first = order[0]
    (second,) = [copy for copy in pairs if copy != first]
    for copy in (first, second):
        chain.call("Eve", "Datanets", "flag_redundant", **library.duplication(copy, pairs[copy]))
    canonical = chain.runtime.datanets.canonical
    assert canonical(RecordId(0, 6)) == canonical(RecordId(0, 4)) == RecordId(0, 1)


@pytest.mark.parametrize(
    ("copy", "original", "error"),
    [
        ((0, 1), (1, 1), Error.NOT_REDUNDANT),  # the copy is the earlier one
        ((1, 0), (0, 1), Error.NOT_REDUNDANT),  # other texts
        ((1, 1), (1, 1), Error.NOT_REDUNDANT),  # itself
    ],
)
def test_what_is_no_copy_is_not_punished(
    chain: DevChain, copy: tuple[int, int], original: tuple[int, int], error: Error
) -> None:
    library = Library(chain)
    arguments = library.duplication(copy, original)
    chain.assert_refused(error, "Eve", "Datanets", "flag_redundant", **arguments)


def test_nobody_is_punished_for_repeating_himself(chain: DevChain) -> None:
    library = Library(chain, {"Bob": ("one",), "Bob-2": ("one",)})
    arguments = library.duplication((1, 0), (0, 0))
    chain.assert_refused(Error.NOT_REDUNDANT, "Eve", "Datanets", "flag_redundant", **arguments)


def test_forged_evidence_is_refused(chain: DevChain) -> None:
    library = Library(chain)
    good = library.duplication((1, 1), (0, 1))
    proof: Duplication = good["proof"]
    forgeries = [
        {**good, "batch": 0},
        {**good, "batch": 2},
        {**good, "proof": replace(proof, copy=replace(proof.copy, index=0))},
        {**good, "proof": replace(proof, copy=replace(proof.copy, size=2))},
        {**good, "proof": replace(proof, copy=replace(proof.copy, position=0))},
        {**good, "proof": replace(proof, copy=replace(proof.copy, record_path=()))},
        {**good, "proof": replace(proof, original=replace(proof.original, batch_path=()))},
        {**good, "proof": replace(proof, original=replace(proof.original, size=2**64 - 1))},
        {
            **good,
            "proof": replace(
                proof,
                original=replace(proof.original, batch=replace(library.batches[0], owner=CHARLIE)),
            ),
        },
    ]
    for forged in forgeries:
        chain.assert_refused(Error.WRONG_EVIDENCE, "Eve", "Datanets", "flag_redundant", **forged)
    submit(chain, number=50)
    pending = {**good, "batch": 3}
    chain.assert_refused(Error.WRONG_EVIDENCE, "Eve", "Datanets", "flag_redundant", **pending)


def test_a_failing_call_names_no_batch_that_is_not_there(net: DevChain) -> None:
    with pytest.raises(DispatchFailure):
        net.call("Alice", "Datanets", "reject", datanet=0, batch=0)
