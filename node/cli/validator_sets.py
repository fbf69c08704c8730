"""Who validates now, next and after that, and what this epoch's validators did so far."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from node.cli.chain import Chain
from node.cli.output import Account, Fact, Planck
from runtime.pallets.session.types import Activity, Elected, Validator
from runtime.primitives.digest import Authority

Row = dict[str, Fact]


@dataclass(frozen=True, slots=True)
class Sets:
    """The state of `Session` at one block.

    checkpoint: the hash of the block that ended the epoch before, none in the first; queued: the
    set of the next epoch, frozen; elected: accounts of the one after it, which take
    part with the keys in `registered` when this epoch ends.
    """

    block: int
    epoch: int
    first: int
    length: int
    checkpoint: bytes | None
    current: tuple[Validator, ...]
    authorities: tuple[Authority, ...]
    activity: Activity
    queued: tuple[Validator, ...]
    elected: tuple[Elected, ...]
    registered: dict[bytes, bytes]

    def facts(self) -> Row:
        """Return where the epoch stands."""
        return {
            "block": self.block,
            "epoch": self.epoch,
            "first block": self.first,
            "last block": self.first + self.length - 1,
            "length": self.length,
            "checkpoint": self._checkpoint(),
            "blocks counted": self.activity.blocks,
        }

    def _checkpoint(self) -> str | None:
        """Write what `--checkpoint` takes."""
        if self.checkpoint is None:
            return None
        return f"{self.epoch - 1}:0x{self.checkpoint.hex()}"

    def rows(self) -> list[Row]:
        """Return this epoch's validators by position, with what they did in it."""
        did = self.activity
        return [
            {
                "position": position,
                "account": Account(member.account),
                "key": member.consensus_key,
                "stake": Planck(member.stake),
                "weight": self.authorities[position].weight,
                "made": did.made[position],
                "attested": did.attested[position],
                "missed": did.missed[position],
            }
            for position, member in enumerate(self.current)
        ]

    def changes(self) -> list[Row]:
        """Return who joins, leaves or takes another key in the next two epochs."""
        sets = [self._keys(epoch) for epoch in range(self.epoch, self.epoch + 3)]
        rows: list[Row] = []
        for offset, (before, after) in enumerate(pairwise(sets), start=1):
            for account in sorted({*before, *after}):
                old, new = before.get(account), after.get(account)
                if old != new:
                    what = "joins" if old is None else "leaves" if new is None else "changes key"
                    row: Row = {"epoch": self.epoch + offset, "account": Account(account)}
                    rows.append(row | {"what": what, "key": new})
        return rows

    def account(self, account: bytes) -> Row:
        """Return how one account stands."""
        return {
            "account": Account(account),
            "registered key": self.registered.get(account),
            "elected": any(member.account == account for member in self.elected),
        }

    def acts(self, account: bytes) -> list[Row]:
        """Return with which key an account takes part now and in the next two epochs."""
        return [
            {
                "epoch": epoch,
                "key": self._keys(epoch).get(account),
                "decided": epoch < self.epoch + 2,
            }
            for epoch in range(self.epoch, self.epoch + 3)
        ]

    def _keys(self, epoch: int) -> dict[bytes, bytes | None]:
        if epoch == self.epoch + 2:
            return {m.account: self.registered.get(m.account) for m in self.elected}
        members = self.current if epoch == self.epoch else self.queued
        return {m.account: m.consensus_key for m in members}


async def read_sets(chain: Chain) -> Sets:
    """Read all of it at the tip."""
    head = await chain.client.best()
    at = head.hash()

    async def read(item: str, *keys: int) -> Any:
        return await chain.client.storage("Session", item, *keys, at=at)

    epoch = await read("CurrentIndex")
    registered = chain.client.storage_items("Session", "NextKeys", at=at)
    first = await read("EpochStart")
    return Sets(
        head.number,
        epoch,
        first,
        await read("EpochLength"),
        await chain.client.block_hash(first - 1) if epoch else None,
        await read("Members"),
        await read("Authorities"),
        await read("Activity", epoch),
        await read("Queued"),
        await read("Elected"),
        {keys[0]: key async for keys, key in registered},
    )
