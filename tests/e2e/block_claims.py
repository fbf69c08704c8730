"""What the headers of a running node say of the agreement: who led, in which view, who voted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from genesis.spec import ChainSpec
from genesis.validators import development_validator
from node.agreement import agreement_settings
from runtime.primitives.digest import PreDigest, find_claim, find_next_epoch
from runtime.primitives.header import DigestItem
from runtime.primitives.scale import decode
from tests.e2e.network_world import Node, World


@dataclass(frozen=True)
class Claimed:
    """A block's number and its leader's claim; ends: it is the last of its epoch."""

    number: int
    claim: PreDigest
    ends: bool

    @property
    def voters(self) -> set[int]:
        """The positions whose notarize vote for the parent the leader had."""
        bits = int.from_bytes(self.claim.parent_signers, "little")
        return {place for place in range(bits.bit_length()) if bits >> place & 1}


def claimed(node: Node, number: int) -> Claimed:
    """Read the claim of a final block."""
    header = node.call("chain_getHeader", node.hash(number))
    items = [decode(DigestItem, bytes.fromhex(log[2:])) for log in header["digest"]["logs"]]
    claim = find_claim(items)
    assert claim is not None, f"block {number} has no claim"
    return Claimed(number, claim, find_next_epoch(items) is not None)


def claims(node: Node, first: int, last: int) -> list[Claimed]:
    return [claimed(node, number) for number in range(first, last + 1)]


def leaders(node: Node, spec: ChainSpec, epoch: int, views: Iterable[int]) -> list[int]:
    """Return the positions that lead views of an epoch, whether or not a block came of them."""
    found = agreement_settings(spec, bytes.fromhex(str(node.hash(0))[2:])).epoch
    for number in range(1, node.final + 1):
        if found.number == epoch:
            break
        header = node.call("chain_getHeader", node.hash(number))
        items = [decode(DigestItem, bytes.fromhex(log[2:])) for log in header["digest"]["logs"]]
        announcement = find_next_epoch(items)
        if announcement is not None:
            found = found.after(announcement, bytes(32), number)
    assert found.number == epoch, f"epoch {epoch} was not announced"
    return [found.leader(view) for view in views]


def position(world: World, index: int) -> int:
    """Return the position of a development validator; it lasts as long as the stakes do."""
    genesis = bytes.fromhex(str(world[0].hash(0))[2:])
    members = agreement_settings(world.spec, genesis).epoch.validators
    found = members.position(development_validator(index).consensus_key)
    assert found is not None
    return found
