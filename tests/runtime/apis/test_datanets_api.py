from __future__ import annotations

import pytest
from asking import ask
from dev_chain import OPEN, ROOT, DevChain, account

from runtime.apis.datanet_views import ContributorRow
from runtime.apis.datanets import DatanetsApi
from runtime.frame.runtime_api import ApiArgumentError
from runtime.pallets.datanets.types import BatchStatus, FlagKind, FlagStatus, Policy, Status
from runtime.protocols.ids import RecordId

ALICE, BOB, CHARLIE = account("Alice"), account("Bob"), account("Charlie")


def contribute(chain: DevChain, who: str, number: int, *, accept: bool = True) -> None:
    chain.call(
        who,
        "Datanets",
        "submit_batch",
        datanet=0,
        sub_root=bytes(32),
        count=number + 1,
        bytes_=10 * (number + 1),
        blob=number.to_bytes(32, "little"),
        licence=b"CC0-1.0",
        bond=OPEN,
    )
    if accept:
        chain.call("Alice", "Datanets", "accept", datanet=0, batch=number)


@pytest.fixture
def library(chain: DevChain) -> DevChain:
    """Datanet 0: batches of 1 record of Bob's, 2 of Charlie's, a version, 3 of Bob's, 1 pending."""
    policy = Policy(True, 0, OPEN)
    for name in (b"first", b"second", "drittes é".encode()):
        chain.call("Alice", "Datanets", "create", name=name, schema=(b"text",), policy=policy)
    contribute(chain, "Bob", 0)
    contribute(chain, "Charlie", 1)
    chain.call("Alice", "Datanets", "publish_version", datanet=0)
    contribute(chain, "Bob", 2)
    chain.call("Alice", "Datanets", "publish_version", datanet=0)
    contribute(chain, "Bob", 3, accept=False)
    chain.make_block()
    return chain


def test_datanets_are_paged_from_the_newest(library: DevChain) -> None:
    page = ask(library, DatanetsApi, "datanets", None, 2)
    assert [row.name for row in page.datanets] == ["drittes é", "second"]
    rest = ask(library, DatanetsApi, "datanets", page.next, 2)
    assert [row.datanet for row in rest.datanets] == [0]
    assert (page.next, rest.next) == (0, None)


@pytest.mark.parametrize("count", [0, 101])
def test_a_page_of_another_size_is_refused(library: DevChain, count: int) -> None:
    with pytest.raises(ApiArgumentError, match="1 to 100"):
        ask(library, DatanetsApi, "datanets", None, count)


def test_a_datanets_page_tells_what_the_state_keeps(library: DevChain) -> None:
    page = ask(library, DatanetsApi, "datanet", 0)
    kept = library.runtime.datanets.datanets[0]
    assert (page.name, page.owner, page.status) == ("first", ALICE, Status.ACTIVE)
    assert (page.records, page.bytes_, page.root) == (6, 60, kept.range.root())
    assert (page.batches_submitted, page.batches_accepted, page.versions) == (4, 3, 2)
    assert page.schema == ("text",)
    assert page.latest_version.records == 6
    assert page.latest_version.licences == ("CC0-1.0",)
    assert {*page.contributors.contributors} == {
        ContributorRow(BOB, 4, 3 * OPEN, 0),
        ContributorRow(CHARLIE, 2, OPEN, 0),
    }
    assert [batch.batch for batch in page.batches.batches] == [3, 2, 1, 0]
    assert ask(library, DatanetsApi, "datanet", 3) is None


def test_a_datanet_is_found_by_its_very_name(library: DevChain) -> None:
    assert ask(library, DatanetsApi, "datanet_named", "drittes é").datanet == 2
    assert ask(library, DatanetsApi, "datanet_named", "First") is None


def test_contributors_are_paged_by_key_without_loss_or_repetition(library: DevChain) -> None:
    first = ask(library, DatanetsApi, "contributors", 0, None, 1)
    second = ask(library, DatanetsApi, "contributors", 0, first.next, 1)
    assert {row.account for page in (first, second) for row in page.contributors} == {BOB, CHARLIE}
    assert first.next == first.contributors[0].account
    assert second.next is None
    assert ask(library, DatanetsApi, "contributors", 1).contributors == ()


def test_versions_and_batches_are_paged_from_the_newest(library: DevChain) -> None:
    versions = ask(library, DatanetsApi, "datanet_versions", 0, None, 1)
    assert [(v.version, v.records) for v in versions.versions] == [(1, 6)]
    assert versions.next == 0
    page = ask(library, DatanetsApi, "record_batches", 0, 3, 2)
    pending, accepted = page.batches
    assert (pending.status, pending.decided, pending.first_record) == (
        BatchStatus.PENDING,
        None,
        None,
    )
    assert (accepted.status, accepted.first_record) == (BatchStatus.ACCEPTED, 3)
    assert accepted.accusable_until == 1 + library.runtime.datanets.flag_window
    assert ask(library, DatanetsApi, "record_batches", 9).batches == ()


def test_a_contributors_page_shows_its_batches_alone(library: DevChain) -> None:
    page = ask(library, DatanetsApi, "contributor", 0, BOB)
    assert page.contributor == ContributorRow(BOB, 4, 3 * OPEN, 0)
    assert [batch.batch for batch in page.batches.batches] == [3, 2, 0]
    assert ask(library, DatanetsApi, "contributor", 0, ALICE) is None


@pytest.mark.parametrize(
    ("record", "place", "version"),
    [(0, (0, 0, BOB), 0), (2, (1, 1, CHARLIE), 0), (5, (2, 2, BOB), 1)],
)
def test_a_record_is_traced_to_its_batch(
    library: DevChain, record: int, place: tuple[int, int, bytes], version: int
) -> None:
    found = ask(library, DatanetsApi, "record", 0, record)
    assert (found.batch, found.index, found.contributor) == place
    assert found.first_version == version
    assert (found.original, found.payable) == (None, True)


def test_a_copy_names_its_original_and_is_not_payable(library: DevChain) -> None:
    library.runtime.datanets.clusters.insert(RecordId(0, 4), RecordId(0, 1))
    library.make_block()
    found = ask(library, DatanetsApi, "record", 0, 4)
    assert (found.original, found.payable) == (RecordId(0, 1), False)
    assert ask(library, DatanetsApi, "record", 0, 6) is None
    assert ask(library, DatanetsApi, "record", 7, 0) is None


def test_records_of_a_delisted_datanet_are_not_payable(library: DevChain) -> None:
    library.call(ROOT, "Datanets", "force_delist", datanet=0)
    library.make_block()
    assert ask(library, DatanetsApi, "datanet", 0).status == Status.DELISTED
    assert not ask(library, DatanetsApi, "record", 0, 0).payable


def test_accusations_are_listed_with_what_became_of_them(library: DevChain) -> None:
    flag = {"datanet": 0, "kind": FlagKind.UNAVAILABLE, "evidence": bytes(32), "bond": OPEN}
    for batch in (0, 1):
        library.call("Charlie", "Datanets", "flag", batch=batch, **flag)
    library.call(ROOT, "Datanets", "resolve_flag", flag=0, upheld=True)
    library.make_block()
    page = ask(library, DatanetsApi, "accusations")
    assert [(a.flag, a.status, a.bond) for a in page.accusations] == [
        (1, FlagStatus.OPEN, OPEN),
        (0, FlagStatus.UPHELD, 0),
    ]
