"""Which agreement a chain runs, and with which part this node takes in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from consensus.core.votes import VoteDomain
from consensus.interface import AgreementSettings, Authority
from consensus.session_key import SessionKey
from consensus.signing_record import SigningRecord
from consensus.solo import SoloAuthority, SoloObserver
from genesis.spec import ChainSpec, InvalidChainSpec
from node.errors import NodeError
from node.native_runtime import MINIMUM_PERIOD_MS
from node.paths import ChainPaths
from runtime.construct import Runtime
from runtime.state.overlay import Overlay

EPOCH_ZERO_SEED = bytes(32)
"""The chain's randomness before the first block."""


def agreement_settings(spec: ChainSpec, genesis_hash: bytes) -> AgreementSettings:
    """Read what all members know: the first validator set stands in the state of block 0.

    Raises InvalidChainSpec where the chain has no validators, or more than this release runs.
    """
    entries = _Entries(spec.genesis_entries())
    validators = Runtime(Overlay(entries)).session.validators.get()
    if len(validators) != 1:
        raise InvalidChainSpec(
            f"chain {spec.id} starts with {len(validators)} validators; the solo engine runs "
            "chains with exactly one"
        )
    return AgreementSettings(
        genesis_hash=genesis_hash,
        authorities=tuple(Authority(v.consensus_key, v.stake) for v in validators),
        seed=EPOCH_ZERO_SEED,
        fork_id=spec.consensus.fork_id,
        block_interval_ms=spec.consensus.block_interval_ms,
        minimum_period_ms=MINIMUM_PERIOD_MS,
    )


def open_agreement(
    settings: AgreementSettings, paths: ChainPaths, key_seed: bytes | None, *, make_record: bool
) -> SoloAuthority | SoloObserver:
    """Make the engine: an authority where there is a key, else an observer.

    Raises SigningRefused where the record of earlier signatures is absent (unless it may be made),
    damaged or in use; NodeError where the key is not the authority's.
    """
    if key_seed is None:
        return SoloObserver(settings)
    domain = VoteDomain(settings.genesis_hash, settings.fork_id)
    record = SigningRecord.open(paths.signing_record, domain, make=make_record)
    try:
        return SoloAuthority(settings, SessionKey(key_seed), record)
    except ValueError as error:
        record.close()
        raise NodeError(f"{error}; use the authority's key, or run without --validator") from error


class _Entries:
    """A mapping that can be read like a state."""

    def __init__(self, entries: Mapping[bytes, bytes]) -> None:
        self._entries = entries

    def get(self, key: bytes) -> bytes | None:
        return self._entries.get(key)

    def iterate(self, prefix: bytes, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        keys = sorted(k for k in self._entries if k.startswith(prefix))
        return ((k, self._entries[k]) for k in keys if after is None or k > after)
