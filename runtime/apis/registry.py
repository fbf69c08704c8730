"""The list of all runtime APIs. Metadata and version tell of what stands here."""

from __future__ import annotations

from runtime.apis.account_nonce import AccountNonceApi
from runtime.apis.accounts import AccountsApi
from runtime.apis.attribution import AttributionApi
from runtime.apis.base import StateApi
from runtime.apis.core import Core
from runtime.apis.datanets import DatanetsApi
from runtime.apis.description import offer
from runtime.apis.dry_run import DryRunApi
from runtime.apis.epochs import EpochsApi
from runtime.apis.metadata import Metadata
from runtime.apis.models import ModelsApi
from runtime.apis.overview import OverviewApi
from runtime.apis.sessions import SessionsApi
from runtime.apis.transaction_payment import TransactionPaymentApi, TransactionPaymentCallApi
from runtime.apis.transaction_queue import TaggedTransactionQueue

APIS: tuple[type[StateApi], ...] = (
    Core,
    Metadata,
    TaggedTransactionQueue,
    AccountNonceApi,
    TransactionPaymentApi,
    TransactionPaymentCallApi,
    DryRunApi,
    OverviewApi,
    DatanetsApi,
    ModelsApi,
    SessionsApi,
    AttributionApi,
    AccountsApi,
    EpochsApi,
)
offer(APIS)
