"""A chain for the benches: senders with money, signed transfers, and blocks made in a hurry."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import trio

from consensus.core.votes import VoteDomain
from consensus.engine.engine import Engine
from consensus.engine.folder import LogFolder
from consensus.interface import PeerEvent
from consensus.session_key import SessionKey
from genesis.presets import local_network
from genesis.spec import ChainSpec
from genesis.validators import validator_suri
from node.agreement import agreement_settings
from node.application import BestState, NodeApplication
from node.chain import Chain
from node.cli.session_key import session_key_seed
from node.client.signing import KeyPair, from_uri
from node.native_runtime import NativeRuntime
from node.paths import ChainPaths
from node.pool import Pool
from runtime import construct
from runtime.primitives.extrinsic import (
    Extensions,
    Immortal,
    SignedPart,
    UncheckedExtrinsic,
    signing_payload,
)
from runtime.primitives.header import Block, DigestItem
from runtime.primitives.keys import ss58_encode
from runtime.primitives.types import Id
from runtime.primitives.version import RUNTIME_VERSION
from runtime.state.store import MemoryState

OPEN = 10**18
SENDERS = 400


def senders(count: int = SENDERS) -> list[KeyPair]:
    """Derive the senders' keys."""
    return [from_uri(f"//Sender//{index}") for index in range(count)]


def spec_with(validators: int, pairs: list[KeyPair], **pace: int) -> ChainSpec:
    """Return the specification of a local network on which these senders have money."""
    spec = local_network(validators, **pace)
    runtime = copy.deepcopy(spec.genesis.runtime or {})
    runtime["balances"]["balances"] += [[ss58_encode(p.account_id), str(OPEN)] for p in pairs]
    return spec.model_copy(update={"genesis": spec.genesis.model_copy(update={"runtime": runtime})})


def genesis_hash(spec: ChainSpec) -> bytes:
    """Hash block 0."""
    root = MemoryState(spec.genesis_entries()).root
    return NativeRuntime().genesis_header(root).hash()


def transfers(pairs: list[KeyPair], rounds: int, genesis: bytes) -> Iterator[bytes]:
    """Sign transfers round by round: every sender pays the next one a little."""
    for nonce in range(rounds):
        for index, pair in enumerate(pairs):
            yield _transfer(pair, pairs[(index + 1) % len(pairs)], nonce, genesis)


def _transfer(pair: KeyPair, to: KeyPair, nonce: int, genesis: bytes) -> bytes:
    call = construct.encode_call(
        "Balances", "transfer_keep_alive", dest=Id(to.account_id), value=OPEN // 10**6
    )
    extensions = Extensions(Immortal(), nonce, 0)
    payload = signing_payload(
        call,
        extensions,
        spec_version=RUNTIME_VERSION.spec_version,
        transaction_version=RUNTIME_VERSION.transaction_version,
        genesis_hash=genesis,
        birth_hash=genesis,
    )
    signed = SignedPart(Id(pair.account_id), pair.sign(payload), extensions)
    return UncheckedExtrinsic(signed, call).encode()


# --- making blocks ------------------------------------------------------------------------


class _Fed(NodeApplication):
    """Takes exactly so many of the transfers given into each block."""

    def __init__(
        self, chain: Chain, pool: Pool, given: Iterator[bytes], each: int, last: int
    ) -> None:
        super().__init__(chain, pool, NativeRuntime())
        self._given = given
        self._each = each
        self._last = last
        self.done = trio.Event()

    async def build(
        self,
        parent: bytes,
        *,
        timestamp: int,
        digest: tuple[DigestItem, ...],
        full: Callable[[], bool],
    ) -> Block:
        """Build a block of the next transfers."""
        header = self.header(parent)
        if header is None or header.number >= self._last:
            self.done.set()
            await trio.sleep_forever()
        candidates = [next(self._given) for _ in range(self._each)]
        built = await self._chain.build(
            parent, timestamp=timestamp, digest=digest, candidates=candidates, full=lambda: False
        )
        if built.refused:
            raise RuntimeError(f"a block refused a transfer: {built.refused[0][1]}")
        return built.block


class _Nobody:
    """Peers that are not there."""

    def broadcast(self, message: bytes) -> None:
        """Lose it."""

    def send(self, peer: str, message: bytes) -> None:
        """Lose it."""

    async def ask(self, request: bytes, peer: str | None) -> tuple[str, bytes] | None:
        """Get no answer."""
        return None

    def penalise(self, peer: str, reason: str, detail: str) -> None:
        """Have nobody to blame."""

    async def next(self) -> PeerEvent:
        """Wait for ever."""
        await trio.sleep_forever()


def make_blocks(
    spec: ChainSpec, base: Path, blocks: int, given: Iterator[bytes], each: int
) -> None:
    """Have the only validator of a chain make blocks of `each` transfers, and store them."""
    trio.run(_make_blocks, spec, base, blocks, given, each)


async def _make_blocks(
    spec: ChainSpec, base: Path, blocks: int, given: Iterator[bytes], each: int
) -> None:
    paths = ChainPaths.of(base, spec.id)
    runtime = NativeRuntime()
    chain = Chain.open(paths.database, spec, runtime)
    settings = agreement_settings(spec, chain.genesis_hash)
    settings = replace(settings, pace=replace(settings.pace, block_interval=0))
    seed = session_key_seed(spec, paths, validator_suri(0), None)
    folder = LogFolder.open(
        paths.consensus, VoteDomain(settings.genesis_hash, settings.fork_id), init_log=True
    )
    engine = Engine(settings, key=SessionKey(seed), folder=folder, listen=False)
    pool = Pool(BestState(chain, runtime))
    application = _Fed(chain, pool, given, each, blocks)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run, application, _Nobody())
            await application.done.wait()
            while chain.finalized().number < blocks:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    finally:
        engine.close()
        pool.close()
        chain.close()
