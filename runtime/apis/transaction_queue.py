"""`TaggedTransactionQueue`: what the pool must know of a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from runtime.apis.arguments import Extrinsic
from runtime.apis.base import StateApi
from runtime.frame.runtime_api import api_method
from runtime.frame.transaction_validity import (
    Invalid,
    Invalidity,
    TransactionSource,
    TransactionValidityError,
)
from runtime.primitives.errors import InvalidTransaction
from runtime.primitives.scale import Named, Variants, variant
from runtime.primitives.types import Hash
from runtime.validity import ValidTransaction


@variant(index=0, name="Ok", positional=True)
@dataclass(frozen=True, slots=True)
class Admitted:
    """The state admits the transaction, now or after the ones that it requires."""

    validity: ValidTransaction


@variant(index=1, name="Err", positional=True)
@dataclass(frozen=True, slots=True)
class Refused:
    """The state does not admit it."""

    error: TransactionValidityError


TransactionValidity = Annotated[
    Admitted | Refused,
    Variants("Result", (("T", ValidTransaction), ("E", TransactionValidityError))),
    Named("TransactionValidity"),
]


class TaggedTransactionQueue(StateApi, version=3):
    """What the pool must know of a transaction."""

    @api_method
    def validate_transaction(
        self, source: TransactionSource, tx: Extrinsic, block_hash: Hash
    ) -> TransactionValidity:
        """Check a transaction for the block after this one, as the pool does.

        The transaction comes with its length prefix. Source and block hash change nothing here:
        the state is that of the block at which the call is made.
        """
        try:
            return Admitted(self.checker.validate(tx))
        except InvalidTransaction as refusal:
            return Refused(Invalid(Invalidity.of(refusal)))
