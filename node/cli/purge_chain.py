"""`openledger purge-chain`: delete a chain's blocks and states; keys are never touched."""

from __future__ import annotations

import argparse
import shutil
import sys

from genesis.spec import ChainType
from node.cli.options import add_chain_options, chosen_base_path, chosen_spec
from node.paths import ChainPaths
from node.storage.leveldb import Database


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("purge-chain", help="delete a chain's database")
    add_chain_options(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, then delete; refuses while a node uses the database."""
    spec = chosen_spec(arguments)
    paths = ChainPaths.of(chosen_base_path(arguments), spec.id)
    if not paths.database.exists():
        sys.stdout.write(f"there is no database at {paths.database}\n")
        return 0
    if not arguments.yes and not _agreed(f"Delete {paths.database}? [y/N] "):
        sys.stdout.write("nothing was deleted\n")
        return 1
    Database(paths.database).close()
    shutil.rmtree(paths.database)
    sys.stdout.write(f"deleted {paths.database}\n")
    if spec.chain_type is ChainType.DEVELOPMENT:
        shutil.rmtree(paths.consensus, ignore_errors=True)
    elif paths.consensus.exists():
        sys.stdout.write(f"kept {paths.consensus}: it keeps the consensus key from signing twice\n")
    return 0


def _agreed(question: str) -> bool:
    sys.stdout.write(question)
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
