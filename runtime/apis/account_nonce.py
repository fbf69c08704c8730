"""`AccountNonceApi`: the number that an account's next transaction carries."""

from __future__ import annotations

from runtime.apis.base import StateApi
from runtime.frame.runtime_api import api_method
from runtime.primitives.types import AccountId, Nonce


class AccountNonceApi(StateApi, version=1):
    """The number that an account's next transaction carries."""

    @api_method
    def account_nonce(self, account: AccountId) -> Nonce:
        """Return the nonce of an account's next transaction; those in the pool do not count."""
        return self.runtime.system.account[account].nonce
