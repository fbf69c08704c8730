"""`DatanetsApi`: Datanets, their versions, contributors, batches, records and accusations."""

from __future__ import annotations

from runtime.apis.base import StateApi
from runtime.apis.datanet_views import (
    AccusationPage,
    AccusationView,
    ContributorPage,
    ContributorRow,
    ContributorView,
    DatanetPage,
    DatanetRow,
    DatanetView,
    RecordBatchPage,
    RecordBatchRow,
    RecordView,
    VersionPage,
    VersionView,
)
from runtime.apis.model_rows import model_rows
from runtime.apis.paging import MOST, PageSize, by_key, newest_first, text
from runtime.frame.runtime_api import api_method
from runtime.pallets.datanets.types import Batch, BatchStatus, Contributor, Datanet, Version
from runtime.primitives.scale import U32, U64
from runtime.primitives.types import AccountId
from runtime.protocols.ids import DatanetId, RecordId


class DatanetsApi(StateApi, version=1):
    """Datanets as an explorer shows them."""

    @api_method
    def datanets(self, start: DatanetId | None, count: PageSize | None) -> DatanetPage:
        """List Datanets, the newest first."""
        nets = self.runtime.datanets
        found, following = newest_first(nets.datanets.get, nets.next_datanet.get(), start, count)
        return DatanetPage(tuple(datanet_row(i, net) for i, net in found), following)

    @api_method
    def datanet(self, datanet: DatanetId) -> DatanetView | None:
        """Return a Datanet's page; none where there is no such Datanet."""
        nets = self.runtime.datanets
        net = nets.datanets.get(datanet)
        if net is None:
            return None
        latest = nets.versions.get(datanet, net.versions - 1) if net.versions else None
        return DatanetView(
            datanet=datanet,
            name=text(net.name),
            owner=net.owner,
            status=net.status,
            schema=tuple(map(text, net.schema)),
            policy=net.policy,
            deposit=net.deposit,
            records=net.records,
            bytes_=net.bytes_,
            root=net.range.root(),
            batches_submitted=net.next_batch,
            batches_accepted=net.range.size,
            versions=net.versions,
            latest_version=_version(net.versions - 1, latest) if latest else None,
            upkeep=self.runtime.inference.upkeep[datanet],
            contributors=self.contributors(datanet, None, None),
            batches=self._batches(datanet, net, None, None),
            models=model_rows(self.runtime.models, None, MOST, datanet=datanet)[0],
        )

    @api_method
    def datanet_named(self, name: str) -> DatanetView | None:
        """Return the page of the Datanet that has this very name; none where none has."""
        found = self.runtime.datanets.names.get(name.encode())
        return None if found is None else self.datanet(found)

    @api_method
    def datanet_versions(
        self, datanet: DatanetId, start: U32 | None, count: PageSize | None
    ) -> VersionPage:
        """List the published versions of a Datanet, the newest first."""
        nets = self.runtime.datanets
        net = nets.datanets.get(datanet)
        following = net.versions if net else 0
        found, after = newest_first(
            lambda i: nets.versions.get(datanet, i), following, start, count
        )
        return VersionPage(tuple(_version(i, version) for i, version in found), after)

    @api_method
    def contributors(
        self, datanet: DatanetId, after: AccountId | None, count: PageSize | None
    ) -> ContributorPage:
        """List who contributed to a Datanet."""
        item = self.runtime.datanets.contributors
        found, following = by_key(self.state, item, (datanet,), after, count)
        return ContributorPage(tuple(contributor_row(w, c) for w, c in found), following)

    @api_method
    def contributor(
        self,
        datanet: DatanetId,
        account: AccountId,
        start: U32 | None,
        count: PageSize | None,
    ) -> ContributorView | None:
        """Return an account's page in a Datanet; none where it contributed nothing.

        Of the Datanet's batches from `start` down, `count` are looked at for those of the account.
        """
        nets = self.runtime.datanets
        net, found = nets.datanets.get(datanet), nets.contributors.get(datanet, account)
        if net is None or found is None:
            return None
        return ContributorView(
            datanet=datanet,
            name=text(net.name),
            contributor=contributor_row(account, found),
            claimable=self.runtime.inference.claimable[account],
            batches=self._batches(datanet, net, start, count, account),
        )

    @api_method
    def record_batches(
        self, datanet: DatanetId, start: U32 | None, count: PageSize | None
    ) -> RecordBatchPage:
        """List the batches of records submitted to a Datanet, the newest first."""
        net = self.runtime.datanets.datanets.get(datanet)
        if net is None:
            return RecordBatchPage((), None)
        return self._batches(datanet, net, start, count)

    @api_method
    def record(self, datanet: DatanetId, record: U64) -> RecordView | None:
        """Return where a record came from and whether it is paid; none where there is none."""
        nets = self.runtime.datanets
        net = nets.datanets.get(datanet)
        number = nets.batch_of(RecordId(datanet, record))
        batch = None if number is None else nets.batches.get(datanet, number)
        if net is None or number is None or batch is None:
            return None
        own = RecordId(datanet, record)
        original = nets.canonical(own)
        return RecordView(
            datanet=datanet,
            record=record,
            batch=number,
            index=record - batch.first_record,
            contributor=batch.contributor,
            blob=batch.blob,
            licence=text(batch.licence),
            accepted=batch.decided,
            original=None if original == own else original,
            first_version=self._first_version(datanet, net, record),
            payable=original == own and nets.pays(datanet),
        )

    @api_method
    def accusations(self, start: U32 | None, count: PageSize | None) -> AccusationPage:
        """List bonded accusations against batches of records, the newest first."""
        nets = self.runtime.datanets
        found, following = newest_first(nets.flags.get, nets.next_flag.get(), start, count)
        views = tuple(
            AccusationView(
                flag=index,
                datanet=flag.datanet,
                batch=flag.batch,
                kind=flag.kind,
                status=flag.status,
                flagger=flag.flagger,
                evidence=flag.evidence,
                bond=flag.bond,
                raised=flag.raised,
            )
            for index, flag in found
        )
        return AccusationPage(views, following)

    def _batches(
        self,
        datanet: int,
        net: Datanet,
        start: int | None,
        count: int | None,
        contributor: bytes | None = None,
    ) -> RecordBatchPage:
        nets = self.runtime.datanets
        found, following = newest_first(
            lambda i: nets.batches.get(datanet, i),
            net.next_batch,
            start,
            count,
            lambda batch: contributor is None or batch.contributor == contributor,
        )
        window = nets.flag_window
        rows = tuple(_batch_row(datanet, index, batch, window) for index, batch in found)
        return RecordBatchPage(rows, following)

    def _first_version(self, datanet: int, net: Datanet, record: int) -> int | None:
        """Search for the first version with more records than the id; sizes only rise."""
        versions = self.runtime.datanets.versions
        low, high = 0, net.versions
        while low < high:
            middle = (low + high) // 2
            if versions[datanet, middle].records > record:
                high = middle
            else:
                low = middle + 1
        return low if low < net.versions else None


def datanet_row(datanet: int, net: Datanet) -> DatanetRow:
    """Show a Datanet in a list."""
    return DatanetRow(
        datanet=datanet,
        name=text(net.name),
        owner=net.owner,
        status=net.status,
        open=net.policy.open,
        records=net.records,
        batches=net.next_batch,
        versions=net.versions,
    )


def contributor_row(account: bytes, found: Contributor) -> ContributorRow:
    """Show what an account has in a Datanet."""
    return ContributorRow(account, found.records, found.bonded, found.redundant)


def _version(number: int, version: Version) -> VersionView:
    return VersionView(
        version=number,
        root=version.root,
        batches=version.batches,
        records=version.records,
        bytes_=version.bytes_,
        schema=tuple(map(text, version.schema)),
        licences=tuple(map(text, version.licences)),
        published=version.published,
    )


def _batch_row(datanet: int, number: int, batch: Batch, flag_window: int) -> RecordBatchRow:
    accepted = batch.status == BatchStatus.ACCEPTED
    return RecordBatchRow(
        datanet=datanet,
        batch=number,
        contributor=batch.contributor,
        status=batch.status,
        count=batch.count,
        bytes_=batch.bytes_,
        blob=batch.blob,
        sub_root=batch.sub_root,
        licence=text(batch.licence),
        bond=batch.bond,
        submitted=batch.submitted,
        decided=None if batch.status == BatchStatus.PENDING else batch.decided,
        first_record=batch.first_record if accepted else None,
        open_accusations=batch.open_flags,
        accusable_until=batch.decided + flag_window if accepted else None,
    )
