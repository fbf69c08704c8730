"""The chains that a node knows by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genesis.accounts import ALICE, ALICE_CONSENSUS, ALICE_STASH, DEVELOPMENT_ACCOUNTS
from genesis.base_model import open_nano_manifest
from genesis.spec import ChainSpec, ChainType, Consensus, Genesis, InvalidChainSpec
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


def _development_genesis() -> dict[str, Any]:
    return {
        "balances": {
            "balances": [
                [ss58_encode(known.account), str(ENDOWMENT)] for known in DEVELOPMENT_ACCOUNTS
            ]
        },
        "session": {
            "validators": [
                [
                    ss58_encode(ALICE_STASH.account),
                    f"0x{ALICE_CONSENSUS.hex()}",
                    str(VALIDATOR_STAKE),
                ]
            ]
        },
        "sudo": {"key": ss58_encode(ALICE.account)},
        "models": {"bases": [["open-nano", f"0x{open_nano_manifest().hex()}", str(COMPUTE_CAP)]]},
        "inference": {"windows": [COMMIT_BLOCKS, REVEAL_BLOCKS, DISPUTE_BLOCKS, SUBMIT_BLOCKS]},
        "attribution": {"allow_self_attestation": True},
    }


def development() -> ChainSpec:
    """Return the chain of one machine: Alice makes a block a second."""
    return ChainSpec(
        name="OpenLedger Development",
        id="dev",
        chain_type=ChainType.DEVELOPMENT,
        consensus=Consensus(block_interval_ms=1000),
        genesis=Genesis(runtime=_development_genesis()),
    )


def local() -> ChainSpec:
    """Return the chain of a few machines of one owner, with a block every two seconds."""
    return ChainSpec(
        name="OpenLedger Local",
        id="local",
        chain_type=ChainType.LOCAL,
        consensus=Consensus(block_interval_ms=2000),
        genesis=Genesis(runtime=_development_genesis()),
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
