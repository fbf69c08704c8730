"""Measure the runtime: decoding of signed transfers, and import of blocks full of them.

    python benches/blocks.py [--transfers 1000] [--accounts 5000] [--rounds 5] [--peer]

Import is all that a node does with a block from outside, in memory and on one core: decoding,
sr25519 signatures, nonces, fees, transfers, events, weights, the extrinsics' and the state's root,
both compared with the header. The floor is what no implementation can leave out: one signature
check, the hashes of the changed trie nodes and of three more messages per transfer. It has no
codec, dispatch, nonce, fee, event or trie. A synced write to the database is the node's bench.
Rates are per second of processor time of one core, so that a busy machine does not lower them.

`--peer` measures py-evm (another node in Python) beside it: import of a block of plain transfers,
in a virtual environment of its own under `build/peers/py-evm`.
"""

from __future__ import annotations

import argparse
import gc
import platform
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from node.client.signing import KeyPair, from_uri
from runtime import construct, executive
from runtime.primitives.digest import PreDigest, pre_digest_item
from runtime.primitives.extrinsic import (
    Extensions,
    Immortal,
    SignedPart,
    UncheckedExtrinsic,
    signing_payload,
)
from runtime.primitives.header import Block, Header
from runtime.primitives.keys import ss58_encode, verify
from runtime.primitives.types import Id
from runtime.primitives.version import RUNTIME_VERSION
from runtime.state.store import MemoryState

ROOT = Path(__file__).resolve().parent.parent
PEER = ROOT / "build" / "peers" / "py-evm"
PEER_PACKAGES = ("py-evm==0.12.1b1", "eth-keys==0.8.0", "coincurve==21.0.0", "pycryptodome")
OPEN = 10**18


class Imported(NamedTuple):
    """A block ready to be imported, and the state it is imported on."""

    parent: Header
    state: MemoryState
    block: Block


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def best(work: Callable[[], object], rounds: int) -> float:
    gc.collect()
    return min(seconds(work) for _ in range(rounds))


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def genesis(accounts: list[bytes]) -> MemoryState:
    """Return a chain's first state with these accounts endowed."""
    config = {
        "balances": {"balances": [[ss58_encode(a), str(1_000_000 * OPEN)] for a in accounts]},
        "session": {"validators": [[ss58_encode(accounts[0]), "0x" + "11" * 32, str(OPEN)]]},
    }
    return MemoryState(construct.genesis_state(config))


def signed_transfer(pair: KeyPair, dest: bytes, genesis_hash: bytes) -> bytes:
    """Return a transfer of one OPEN, the signer's first transaction."""
    call = construct.encode_call("Balances", "transfer_keep_alive", dest=Id(dest), value=OPEN)
    extensions = Extensions(Immortal(), 0, 0)
    payload = signing_payload(
        call,
        extensions,
        spec_version=RUNTIME_VERSION.spec_version,
        transaction_version=RUNTIME_VERSION.transaction_version,
        genesis_hash=genesis_hash,
        birth_hash=genesis_hash,
    )
    signed = SignedPart(Id(pair.account_id), pair.sign(payload), extensions)
    return UncheckedExtrinsic(signed, call).encode()


def prepare(transfers: int, accounts: int) -> Imported:
    """Build a block in which different accounts pay different, existing accounts."""
    pairs = [from_uri(f"//Sender//{i}") for i in range(transfers)]
    others = [blake2b(i.to_bytes(8, "little"), digest_size=32).digest() for i in range(accounts)]
    state = genesis([p.account_id for p in pairs] + others)
    parent = executive.genesis_header(state.root)
    signed = [
        signed_transfer(pair, others[i % accounts], parent.hash()) for i, pair in enumerate(pairs)
    ]
    claim = PreDigest(0, 1, 0, 0, bytes(64), bytes(80), bytes(32), b"")
    built = executive.build_block(
        parent,
        state,
        timestamp=1_700_000_000_000,
        digest=(pre_digest_item(claim),),
        candidates=signed,
        full=lambda: False,
    )
    if built.refused:
        raise SystemExit(f"the block refused a transfer: {built.refused[0][1]}")
    return Imported(parent, state, built.block)


def decode_row(data: bytes, rounds: int) -> None:
    """Print the time of decoding envelope and call."""
    repeat = 2_000

    def work() -> None:
        for _ in range(repeat):
            construct.decode_call(UncheckedExtrinsic.decode(data).call)

    taken = best(work, rounds) / repeat
    print(f"decode a signed transfer (envelope and call)   {taken * 1e6:8.2f} µs")


def import_rows(prepared: Imported, rounds: int) -> None:
    """Print the rate of importing the block, and of the work that nobody can avoid."""
    parent, state, block = prepared
    count = len(block.extrinsics) - 1
    outcome = executive.apply_block(parent, state, block)
    imported = count / best(lambda: executive.apply_block(parent, state, block), rounds)
    items = [UncheckedExtrinsic.decode(e) for e in block.extrinsics[1:]]
    checks = []
    for item in items:
        signed = item.signed
        if signed is None or not isinstance(signed.address, Id):
            raise SystemExit("the block holds something else than transfers")
        payload = signing_payload(
            item.call,
            signed.extensions,
            spec_version=RUNTIME_VERSION.spec_version,
            transaction_version=RUNTIME_VERSION.transaction_version,
            genesis_hash=parent.hash(),
            birth_hash=parent.hash(),
        )
        checks.append((signed.signature, payload, signed.address.account))
    nodes = [data for data, _ in outcome.update.inserted.values()]

    def floor() -> None:
        for signature, payload, account in checks:
            verify(signature, payload, account)
            for _ in range(3):
                blake2b(payload, digest_size=32).digest()
        for node in nodes:
            blake2b(node, digest_size=32).digest()

    ideal = count / best(floor, rounds)
    print(f"import a block of {count} signed transfers        {imported:8,.0f} transfers/s")
    each = f"{len(nodes) / count:.1f} nodes"
    print(f"floor: signatures, {each} and 3 hashes each   {ideal:8,.0f} transfers/s")


def peer_row(rounds: int) -> None:
    """Print the rate of py-evm, in an environment of its own."""
    python = PEER / "bin" / "python"
    if not python.exists():
        venv.create(PEER, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *PEER_PACKAGES]
        if subprocess.run(command, check=False).returncode:
            print("py-evm: not measured, its packages could not be installed")
            return
    script = Path(__file__).with_name("peer_py_evm.py")
    command = [str(python), str(script), "--rounds", str(rounds)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"py-evm: not measured, it failed: {done.stderr.strip().splitlines()[-1:]}")
        return
    print(done.stdout, end="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--transfers", type=int, default=1000)
    parser.add_argument("--accounts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", action="store_true", help="measure py-evm too")
    parser.add_argument("--profile", action="store_true", help="show where an import spends time")
    options = parser.parse_args()
    print(f"{processor()}, Python {platform.python_version()}, {date.today()}")
    prepared = prepare(options.transfers, options.accounts)
    if options.profile:
        profile(prepared)
        return
    decode_row(prepared.block.extrinsics[1], options.rounds)
    import_rows(prepared, options.rounds)
    if options.peer:
        peer_row(options.rounds)


def profile(prepared: Imported) -> None:
    """Print the functions that an import spends most time in."""
    import cProfile
    import pstats

    profiler = cProfile.Profile()
    profiler.runcall(executive.apply_block, *prepared)
    pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
