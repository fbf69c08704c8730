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

from consensus.interface import Agreement, BlockRef
from node.agreement import agreement_settings, open_agreement
from node.block_file import BlockFileError, Carried, read_blocks, write_block, write_head
from node.chain import Chain
from node.cli.options import add_chain_options, add_pruning_option, chosen_base_path, chosen_spec
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
    add_pruning_option(parser)


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[Chain, Agreement]]:
    spec = chosen_spec(arguments)
    paths = ChainPaths.of(chosen_base_path(arguments), spec.id)
    chain = Chain.open(paths.database, spec, NativeRuntime(), arguments.state_pruning)
    try:
        settings = agreement_settings(spec, chain.genesis_hash)
        yield chain, open_agreement(settings, paths, None, make_record=False)
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
    with _opened(arguments) as (chain, agreement), arguments.file.open("rb") as file:
        before = chain.finalized().number
        trio.run(_take_all, chain, agreement, file)
        final = chain.finalized().number
    sys.stdout.write(f"{final - before} blocks were imported; the last one is {final}\n")
    return 0


async def _take_all(chain: Chain, agreement: Agreement, file: IO[bytes]) -> None:
    blocks = read_blocks(file, chain.genesis_hash)
    for carried in track(blocks, "importing", disable=not sys.stdout.isatty()):
        await take(chain, agreement, carried)


async def take(chain: Chain, agreement: Agreement, carried: Carried) -> BlockRef:
    """Check a block's maker and proof, execute it, and make it final where it has a proof.

    Raises InvalidClaim, InvalidFinalityProof, InvalidBlock or BlockFileError.
    """
    header = carried.block.header
    ref = BlockRef(header.hash(), header.number)
    if chain.is_finalized(ref.hash):
        return ref
    parent = chain.header(header.parent_hash)
    if parent is None:
        raise BlockFileError(f"the parent of block {header.number} is not here")
    agreement.verify_header(header, parent)
    if carried.proof is not None:
        agreement.verify_finality_proof(carried.proof, ref)
    await chain.execute(carried.block)
    if carried.proof is not None:
        chain.set_best(ref.hash)
        await chain.finalize(ref.hash, carried.proof)
    return ref
