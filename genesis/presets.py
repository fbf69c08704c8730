"""The chains that a node knows by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genesis.accounts import ALICE, DEVELOPMENT_ACCOUNTS
from genesis.base_model import open_nano_manifest
from genesis.spec import ChainSpec, ChainType, Consensus, Genesis, InvalidChainSpec, told
from genesis.validators import MOST_VALIDATORS, DevelopmentValidator, development_validator
from runtime.primitives.keys import ss58_encode

UNIT = 10**18
ENDOWMENT = 1_000_000 * UNIT
VALIDATOR_STAKE = 100_000 * UNIT
COMPUTE_CAP = UNIT // 10
"""Most that a token's computation may cost on a development chain."""
COMMIT_BLOCKS = 5
REVEAL_BLOCKS = 5
DISPUTE_BLOCKS = 10
SUBMIT_BLOCKS = 10
EPOCH_BLOCKS = 60
"""Blocks of an epoch on a development chain: a minute or two. A live chain takes 20 to 60 minutes:
each change of epoch costs a boundary, but within an epoch everybody knows the leaders."""


def _development_genesis(validators: int = 1, epoch_length: int = EPOCH_BLOCKS) -> dict[str, Any]:
    seated = [development_validator(index) for index in range(validators)]
    endowed = [known.account for known in DEVELOPMENT_ACCOUNTS]
    endowed += [v.stash for v in seated if v.stash not in endowed]
    return {
        "balances": {"balances": [[ss58_encode(who), str(ENDOWMENT)] for who in endowed]},
        "session": {
            "validators": [_seat(validator) for validator in seated],
            "epoch_length": epoch_length,
        },
        "sudo": {"key": ss58_encode(ALICE.account)},
        "models": {"bases": [["open-nano", f"0x{open_nano_manifest().hex()}", str(COMPUTE_CAP)]]},
        "inference": {"windows": [COMMIT_BLOCKS, REVEAL_BLOCKS, DISPUTE_BLOCKS, SUBMIT_BLOCKS]},
        "attribution": {"allow_self_attestation": True},
    }


def _seat(validator: DevelopmentValidator) -> list[str]:
    key = f"0x{validator.consensus_key.hex()}"
    return [ss58_encode(validator.stash), key, str(VALIDATOR_STAKE)]


def development() -> ChainSpec:
    """Return the chain of one machine: Alice makes a block a second."""
    return ChainSpec(
        name="OpenLedger Development",
        id="dev",
        chain_type=ChainType.DEVELOPMENT,
        consensus=Consensus(block_interval_ms=1000, delta_ms=250),
        genesis=Genesis(runtime=_development_genesis()),
    )


def local() -> ChainSpec:
    """Return the chain of a few machines of one owner, with a block every two seconds."""
    return ChainSpec(
        name="OpenLedger Local",
        id="local",
        chain_type=ChainType.LOCAL,
        consensus=Consensus(block_interval_ms=2000, delta_ms=500),
        genesis=Genesis(runtime=_development_genesis()),
    )


def local_network(
    validators: int,
    *,
    block_interval_ms: int = 1000,
    delta_ms: int = 250,
    epoch_length: int = EPOCH_BLOCKS,
) -> ChainSpec:
    """Return the chain of several validators on one machine, 1 to 100 of equal stake.

    Their secrets are those of `validator_suri`; each owns its stash. Raises InvalidChainSpec.
    """
    if not 1 <= validators <= MOST_VALIDATORS:
        raise InvalidChainSpec(f"a local network has 1 to {MOST_VALIDATORS} validators")
    if epoch_length < 1:
        raise InvalidChainSpec("an epoch has one block or more")
    try:
        consensus = Consensus(block_interval_ms=block_interval_ms, delta_ms=delta_ms)
    except ValidationError as error:
        raise InvalidChainSpec(f"the pace is not usable: {told(error)}") from error
    return ChainSpec(
        name="OpenLedger Local Network",
        id="localnet",
        chain_type=ChainType.LOCAL,
        consensus=consensus,
        genesis=Genesis(runtime=_development_genesis(validators, epoch_length)),
    )


PRESETS = {"dev": development, "local": local}


def chain_spec(name_or_path: str) -> ChainSpec:
    """Return a preset by name, or the specification in a file; raises InvalidChainSpec."""
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]()
    path = Path(name_or_path)
    if not path.exists():
        names = ", ".join(PRESETS)
        raise InvalidChainSpec(
            f"there is no chain {name_or_path!r}: name a preset ({names}) or a specification file"
        )
    return ChainSpec.load(path)
