"""Which agreement a chain runs, and with which part this node takes in it."""

from __future__ import annotations

from collections.abc import Callable

from consensus.core.evidence import Evidence
from consensus.core.pace import Pace
from consensus.core.validators import Epoch, ValidatorSet
from consensus.core.votes import VoteDomain
from consensus.engine.engine import Engine
from consensus.engine.folder import LogFolder
from consensus.interface import AgreementSettings
from consensus.session_key import SessionKey
from genesis.spec import ChainSpec, InvalidChainSpec
from node.log import Log
from node.native_runtime import MINIMUM_PERIOD_MS, NativeRuntime
from node.paths import ChainPaths
from runtime.state.store import MemoryState

_log = Log("consensus")


def agreement_settings(spec: ChainSpec, genesis_hash: bytes) -> AgreementSettings:
    """Read what all members know: the first validator set stands in the state of block 0.

    Raises InvalidChainSpec where the chain has no validators.
    """
    first = NativeRuntime().current_epoch(MemoryState(spec.genesis_entries()))
    if not first.authorities:
        raise InvalidChainSpec(f"chain {spec.id} has no validators: nobody could make a block")
    pace = spec.consensus
    return AgreementSettings(
        genesis_hash=genesis_hash,
        epoch=Epoch(first.epoch, ValidatorSet(first.authorities), first.seed, genesis_hash, 0),
        fork_id=pace.fork_id,
        pace=Pace(
            block_interval=pace.block_interval_ms,
            delta=pace.delta_ms,
            execution=max(pace.delta_ms, pace.block_interval_ms // 2),
        ),
        minimum_period_ms=MINIMUM_PERIOD_MS,
    )


def open_agreement(
    settings: AgreementSettings,
    paths: ChainPaths,
    key_seed: bytes | None,
    *,
    init_log: bool,
    listen: bool = True,
    report: Callable[[Evidence], None],
) -> Engine:
    """Make the engine: of a validator where there is a key, else of a node that follows.

    init_log: the key never signed on this chain, so it may begin a log in epoch 0; listen: wait
    for a double of this key before it signs again. Raises SigningRefused where another process
    signs with the key's logs.
    """
    if key_seed is None:
        return Engine(settings, tell=_tell, report=report)
    domain = VoteDomain(settings.genesis_hash, settings.fork_id)
    folder = LogFolder.open(paths.consensus, domain, init_log=init_log)
    return Engine(
        settings,
        key=SessionKey(key_seed),
        folder=folder,
        listen=listen,
        tell=_tell,
        report=report,
    )


def _tell(phrase: str, fields: dict[str, object]) -> None:
    _log.warning(phrase, **fields)
