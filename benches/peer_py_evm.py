"""Import of a block of plain transfers by py-evm; started by `blocks.py --peer` in its own venv.

A block of value transfers is mined on one chain and imported from its RLP on a second one with
the same genesis: decoding, sender recovery (coincurve), execution, all roots checked.
"""

# Its packages live in that environment only.
# mypy: disable-error-code="import-not-found,misc,no-any-return"

from __future__ import annotations

import argparse
import os
import time

os.environ["ECC_BACKEND_CLASS"] = "eth_keys.backends.CoinCurveECCBackend"

import rlp
from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.vm.forks.shanghai import ShanghaiVM
from eth.vm.forks.shanghai.blocks import ShanghaiBlock
from eth_keys import keys
from eth_typing import Address

ETHER = 10**18
GAS = 21_000
CHAIN_ID = 1337


class Chain(MiningChain):
    """A chain of the Shanghai rules from its first block on."""

    chain_id = CHAIN_ID
    vm_configuration = ((0, ShanghaiVM),)


def genesis(senders: list[keys.PrivateKey]) -> Chain:
    """Return a new chain on which the senders are rich."""
    rich = {"balance": 10**6 * ETHER, "nonce": 0, "code": b"", "storage": {}}
    state = {key.public_key.to_canonical_address(): rich for key in senders}
    parameters = {
        "difficulty": 0,
        "gas_limit": 60_000_000,
        "timestamp": 1_700_000_000,
        "nonce": bytes(8),
        "base_fee_per_gas": 10**9,
    }
    return Chain.from_genesis(AtomicDB(), parameters, state)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transfers", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    senders = [keys.PrivateKey(n.to_bytes(32, "big")) for n in range(1, options.transfers + 1)]
    author = genesis(senders)
    signed = []
    for number, sender in enumerate(senders):
        unsigned = author.create_unsigned_transaction(
            nonce=0,
            gas_price=2 * 10**9,
            gas=GAS,
            to=Address((number + 1).to_bytes(20, "big")[::-1]),
            value=ETHER,
            data=b"",
        )
        signed.append(unsigned.as_signed_transaction(sender, chain_id=CHAIN_ID))
    block = author.mine_all(signed)[0].imported_block
    raw = rlp.encode(block)
    best = 0.0
    for _ in range(options.rounds):
        importer = genesis(senders)
        start = time.process_time()
        decoded = rlp.decode(raw, sedes=ShanghaiBlock)
        importer.import_block(decoded)
        best = max(best, options.transfers / (time.process_time() - start))
    print(
        f"py-evm: import a block of {options.transfers} transfers        {best:8,.0f} transfers/s"
    )


if __name__ == "__main__":
    main()
