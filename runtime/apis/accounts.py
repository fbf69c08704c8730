"""`AccountsApi`: what an account owns, and what it does on this chain."""

from __future__ import annotations

from runtime.apis.account_views import (
    AccountDatanet,
    AccountDatanetPage,
    AccountModel,
    AccountModelPage,
    AccountView,
    ValidatorRole,
)
from runtime.apis.base import StateApi
from runtime.apis.paging import MOST, PageSize, newest_first, text
from runtime.apis.session_views import SessionPage
from runtime.apis.sessions import session_row, worker_view
from runtime.frame.currency import STAKERS, TREASURY
from runtime.frame.runtime_api import api_method
from runtime.pallets.datanets.types import Contributor, Datanet
from runtime.pallets.inference.pallet import POT
from runtime.pallets.models.types import Model
from runtime.primitives.types import AccountId
from runtime.protocols.ids import DatanetId, ModelId

POTS = {
    TREASURY: "treasury",
    STAKERS: "stakers' share",
    POT: "claimable credits and audit pot",
}
_NOTHING = Contributor(0, 0, 0)


class AccountsApi(StateApi, version=1):
    """Accounts as an explorer shows them."""

    @api_method
    def account(self, account: AccountId) -> AccountView:
        """Return an account's page: balance, holds, credits and everything that it takes part in.

        Its older Datanets, models and sessions are on pages of their own.
        """
        runtime = self.runtime
        info = runtime.system.account[account]
        worker = runtime.inference.workers.get(account)
        return AccountView(
            account=account,
            pot=POTS.get(account),
            nonce=info.nonce,
            free=info.data.free,
            held=info.data.reserved,
            holds=runtime.balances.holds[account],
            claimable=runtime.inference.claimable[account],
            validator=self._validator(account),
            worker=None if worker is None else worker_view(runtime.inference, account, worker),
            datanets=self.account_datanets(account, None, MOST),
            models=self.account_models(account, None, MOST),
            sessions=self._sessions(account),
        )

    @api_method
    def account_datanets(
        self, account: AccountId, start: DatanetId | None, count: PageSize | None
    ) -> AccountDatanetPage:
        """List the Datanets that an account owns or contributed to, the newest first.

        Of the Datanets from `start` down, `count` are looked at; a page may hold fewer, even none.
        """
        nets = self.runtime.datanets
        found, following = newest_first(nets.datanets.get, nets.next_datanet.get(), start, count)
        parts = ((i, net, nets.contributors.get(i, account)) for i, net in found)
        rows = tuple(
            _datanet(index, net, net.owner == account, part or _NOTHING)
            for index, net, part in parts
            if part is not None or net.owner == account
        )
        return AccountDatanetPage(rows, following)

    @api_method
    def account_models(
        self, account: AccountId, start: ModelId | None, count: PageSize | None
    ) -> AccountModelPage:
        """List the models that an account owns or backs, the newest first.

        Of the models from `start` down, `count` are looked at; a page may hold fewer, even none.
        """
        models = self.runtime.models
        found, following = newest_first(models.models.get, models.next_model.get(), start, count)
        rows = ((index, model, _staked(model, account)) for index, model in found)
        return AccountModelPage(
            tuple(
                AccountModel(index, text(model.name), model.stage, model.owner == account, staked)
                for index, model, staked in rows
                if staked or model.owner == account
            ),
            following,
        )

    def _sessions(self, account: bytes) -> SessionPage:
        inference = self.runtime.inference
        found, following = newest_first(
            inference.sessions.get,
            inference.next_session.get(),
            None,
            MOST,
            lambda session: session.customer == account,
        )
        return SessionPage(tuple(session_row(i, session) for i, session in found), following)

    def _validator(self, account: bytes) -> ValidatorRole:
        session = self.runtime.session
        return ValidatorRole(
            is_active=any(v.account == account for v in session.members.get()),
            is_queued=any(v.account == account for v in session.queued.get()),
            is_elected=any(e.account == account for e in session.elected.get()),
            consensus_key=session.next_keys.get(account),
            workers=self.runtime.inference.active_workers[account],
            missed_reveals=self.runtime.attribution.faults[account],
        )


def _datanet(number: int, net: Datanet, is_owner: bool, part: Contributor) -> AccountDatanet:
    return AccountDatanet(
        number, text(net.name), is_owner, part.records, part.bonded, part.redundant
    )


def _staked(model: Model, account: bytes) -> int:
    backed = sum(backer.amount for backer in model.backers if backer.account == account)
    return backed + (model.stake if model.owner == account else 0)
