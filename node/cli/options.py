"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from genesis.presets import chain_spec
from genesis.spec import ChainSpec
from node.paths import default_base_path
from node.storage.pruning import DEFAULT_WINDOW, Pruning


def add_chain_options(parser: argparse.ArgumentParser) -> None:
    """Add --chain, --dev and --base-path."""
    parser.add_argument(
        "--chain",
        metavar="SPEC",
        help="preset (dev, local) or path of a chain specification; dev with --dev",
    )
    parser.add_argument("--dev", action="store_true", help="the development chain")
    parser.add_argument(
        "-d", "--base-path", type=Path, metavar="PATH", help="folder for all data of the node"
    )


def add_pruning_options(parser: argparse.ArgumentParser) -> None:
    """Add --state-pruning and --blocks-pruning."""
    parser.add_argument(
        "--state-pruning",
        type=_states,
        default=str(DEFAULT_WINDOW),
        metavar="N|archive",
        help=f"for how many blocks states are kept ({DEFAULT_WINDOW})",
    )
    parser.add_argument(
        "--blocks-pruning",
        type=_blocks,
        default="archive",
        metavar="N|archive",
        help="for how many blocks bodies are kept (archive)",
    )


def chosen_pruning(arguments: argparse.Namespace) -> Pruning:
    """Return what of the past is kept."""
    return Pruning.parse(arguments.state_pruning, arguments.blocks_pruning)


def _states(text: str) -> str:
    return _checked(text, text, "archive")


def _blocks(text: str) -> str:
    return _checked(text, "archive", text)


def _checked(text: str, states: str, blocks: str) -> str:
    try:
        Pruning.parse(states, blocks)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def chosen_spec(arguments: argparse.Namespace) -> ChainSpec:
    """Load the chain that the options name; raises InvalidChainSpec."""
    return chain_spec(arguments.chain or ("dev" if arguments.dev else "local"))


def chosen_base_path(arguments: argparse.Namespace) -> Path:
    """Return the base path that the options name, the user's own by default."""
    path: Path | None = arguments.base_path
    return path or default_base_path()
