"""What an account owns, and how much of it may move."""

from __future__ import annotations

from node.cli.chain import Chain
from node.cli.output import Account, Fact, Planck
from runtime.frame.pallet import pascal
from runtime.pallets.balances import Balances
from runtime.pallets.system.types import EMPTY_ACCOUNT


async def balance_facts(chain: Chain, account: bytes) -> dict[str, Fact]:
    """Read the balances of an account at one block: the best one.

    Transferable is what can leave while the account lives on: what is free, without the
    existential deposit and without what is frozen beyond the holds.
    """
    client = chain.client
    at = (await client.best()).hash()
    info = await client.storage("System", "Account", account, at=at) or EMPTY_ACCOUNT
    held = await client.storage("Balances", "Holds", account, at=at) or ()
    data = info.data
    deposit = Balances.existential_deposit.value
    stays = max(deposit, data.frozen - data.reserved)
    return {
        "account": Account(account),
        "free": Planck(data.free),
        "held": Planck(data.reserved),
        "held for": {pascal(hold.id.name): Planck(hold.amount) for hold in held},
        "frozen": Planck(data.frozen),
        "transferable": Planck(max(0, data.free - stays)),
        "existential deposit": Planck(deposit),
        "nonce": await client.nonce(account),
    }
