"""`openledger export-blocks` and `import-blocks`: carry finalised blocks in a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import trio
from rich.progress import track

from consensus.core.votes import InvalidFinalityProof, ProofReason, VoteDomain, check_finality
from consensus.interface import BlockRef
from node.block_file import BlockFileError, Carried, read_blocks, write_block, write_head
from node.chain import Chain
from node.cli.options import (
    add_chain_options,
    add_pruning_options,
    chosen_base_path,
    chosen_pruning,
    chosen_spec,
)
from node.native_runtime import NativeRuntime
from node.paths import ChainPaths


class ExportBlocks:
    """`openledger export-blocks`."""

    def add_parser(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the command."""
        parser = subparsers.add_parser("export-blocks", help="write finalised blocks to a file")
        parser.add_argument("file", type=Path)
        parser.add_argument("--from", dest="first", type=int, default=1, metavar="BLOCK")
        parser.add_argument("--to", dest="last", type=int, metavar="BLOCK")
        _add_options(parser)
        parser.set_defaults(run=_export)


class ImportBlocks:
    """`openledger import-blocks`."""

    def add_parser(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the command."""
        parser = subparsers.add_parser("import-blocks", help="check and take blocks from a file")
        parser.add_argument("file", type=Path)
        _add_options(parser)
        parser.set_defaults(run=_import)


export_blocks, import_blocks = ExportBlocks(), ImportBlocks()


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_chain_options(parser)
    add_pruning_options(parser)


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[Chain, VoteDomain]]:
    spec = chosen_spec(arguments)
    paths = ChainPaths.of(chosen_base_path(arguments), spec.id)
    chain = Chain.open(paths.database, spec, NativeRuntime(), chosen_pruning(arguments))
    try:
        yield chain, VoteDomain(chain.genesis_hash, spec.consensus.fork_id)
    finally:
        chain.close()


def _export(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as (chain, _), arguments.file.open("wb") as file:
        last = chain.finalized().number if arguments.last is None else arguments.last
        write_head(file, chain.genesis_hash)
        numbers = range(max(arguments.first, 1), last + 1)
        for number in track(numbers, "exporting", disable=not sys.stdout.isatty()):
            write_block(file, chain, number)
    sys.stdout.write(f"{len(numbers)} blocks are in {arguments.file}\n")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as (chain, domain), arguments.file.open("rb") as file:
        before = chain.finalized().number
        trio.run(_take_all, chain, domain, file)
        final = chain.finalized().number
    sys.stdout.write(f"{final - before} blocks were imported; the last one is {final}\n")
    return 0


async def _take_all(chain: Chain, domain: VoteDomain, file: IO[bytes]) -> None:
    blocks = read_blocks(file, chain.genesis_hash)
    for carried in track(blocks, "importing", disable=not sys.stdout.isatty()):
        await take(chain, domain, carried)


async def take(chain: Chain, domain: VoteDomain, carried: Carried) -> BlockRef:
    """Check a block's proof, execute it, and make it final where it has a proof.

    Raises InvalidFinalityProof, InvalidBlock or BlockFileError.
    """
    header = carried.block.header
    ref = BlockRef(header.hash(), header.number)
    if chain.is_finalized(ref.hash):
        return ref
    if chain.header(header.parent_hash) is None:
        raise BlockFileError(f"the parent of block {header.number} is not here")
    if carried.proof is not None:
        _check_proof(chain, domain, carried.proof, ref, header.parent_hash)
    await chain.execute(carried.block)
    if carried.proof is not None:
        chain.set_best(ref.hash)
        await chain.finalize(ref.hash, carried.proof)
    return ref


def _check_proof(
    chain: Chain, domain: VoteDomain, proof: bytes, ref: BlockRef, parent: bytes
) -> None:
    """Check a proof against the validators that the parent's state names for the block."""
    epoch = NativeRuntime().current_epoch(chain.state_at(parent))
    members = [(member.public, member.weight) for member in epoch.authorities]
    certificate = check_finality(proof, ref.hash, ref.number, domain, members)
    if certificate.epoch != epoch.epoch:
        detail = f"it is of epoch {certificate.epoch}, the block of epoch {epoch.epoch}"
        raise InvalidFinalityProof(ProofReason.WRONG_SIGNERS, detail)
