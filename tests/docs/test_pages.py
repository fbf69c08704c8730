"""The pages speak of what is there: links, commands, options, log lines, metrics."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from node.cli.main import GROUP
from node.cli.tx_parser import CallParser
from node.cli.values_names import find_call, find_pallet

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[a-z]*/**/README.md"))
    if "build" not in path.relative_to(ROOT).parts
)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
WALLET = (ROOT / "docs" / "wallet.md").read_text()
COMMANDS = (
    "node.cli.account",
    "node.cli.build_spec",
    "node.cli.claim",
    "node.cli.datanet",
    "node.cli.dev",
    "node.cli.key",
    "node.cli.localnet",
    "node.cli.model",
    "node.cli.node",
    "node.cli.purge_chain",
    "node.cli.query:const",
    "node.cli.query:query",
    "node.cli.receipt",
    "node.cli.session",
    "node.cli.tx",
    "node.cli.validator",
)
ELSEWHERE = {"export-blocks", "import-blocks", "serve", "train", "worker", "COMMAND"}
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"openledger ([a-zA-Z][a-zA-Z-]+)(?: ([a-z][a-z-]+))?")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_METRIC = re.compile(r"(?:openledger|substrate)_[a-z0-9_]+[a-z]")


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(line.lstrip("#")) for line in page.read_text().splitlines() if line[:1] == "#"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in _LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def commands() -> dict[str, argparse.ArgumentParser]:
    """Build the parsers of all commands of the node."""
    subparsers = argparse.ArgumentParser().add_subparsers()
    for name in COMMANDS:
        EntryPoint("", name, GROUP).load().add_parser(subparsers)
    return subparsers.choices


def actions(parser: argparse.ArgumentParser) -> dict[str, Any]:
    groups = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(groups[0]) if groups else {}


def test_commands_that_the_pages_show_exist() -> None:
    known, wrong = commands(), []
    for page in PAGES:
        for name, action in _COMMAND.findall(page.read_text()):
            if name in ELSEWHERE or name not in known:
                wrong += [] if name in ELSEWHERE else [(page.name, name)]
            elif actions(known[name]) and action and action not in actions(known[name]):
                wrong.append((page.name, f"{name} {action}"))
    assert wrong == []


def test_options_that_the_operator_reads_of_exist() -> None:
    offered = {"--help", "--head", "--address"}  # the last two are Ray's
    for parser in commands().values():
        for part in (parser, *actions(parser).values()):
            offered |= {option for action in part._actions for option in action.option_strings}
    worker = (ROOT / "inference/cli.py").read_text()
    offered |= set(_OPTION.findall(worker))
    assert set(_OPTION.findall(OPERATIONS)) - offered == set()


def transfer() -> CallParser:
    return CallParser("it", find_call(find_pallet("balances"), "transfer_keep_alive"))


def wallet_options() -> set[str]:
    """Collect the options of the commands that a wallet consists of."""
    known = commands()
    parsers = [known["query"], known["const"], *actions(known["account"]).values()]
    offered = {o for p in parsers for action in p._actions for o in action.option_strings}
    return offered | set(transfer().parser._option_string_actions)


def test_options_of_the_wallet_are_all_told_and_all_exist() -> None:
    told_of = set(_OPTION.findall(WALLET))
    elsewhere = {"--keystore", "--key", "--help", "--value", "--dest"}
    offered = {option for option in wallet_options() if option.startswith("--")}
    assert offered - told_of - elsewhere == set()
    assert told_of - offered - elsewhere == set()
    for action in actions(commands()["account"]):
        assert f"`account {action} " in WALLET or f"`account {action}`" in WALLET


def test_calls_that_the_wallet_page_shows_can_be_made() -> None:
    page = re.sub(r" \\\n\s*", " ", WALLET)
    shown = re.findall(r"^openledger tx (\w+) ([\w-]+) (.+)$", page, flags=re.MULTILINE)
    made = [(pallet, call, rest) for pallet, call, rest in shown if pallet != "transfer"]
    assert made
    for pallet, call, rest in made:
        parser = CallParser("it", find_call(find_pallet(pallet), call))
        assert parser.parse(shlex.split(rest))[0].pallet == find_pallet(pallet).NAME


def told() -> Iterator[tuple[str, str]]:
    """Yield the phrases that a node writes at INFO and above, and the files that have them."""
    for path in (*ROOT.glob("node/**/*.py"), *ROOT.glob("consensus/engine/*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            owner = ast.unparse(call.func.value)
            name = call.func.attr
            if not (owner == "_log" and name in ("info", "warning")) and name != "_tell":
                continue
            first = call.args[0] if call.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, str(path.relative_to(ROOT))


def test_every_log_line_is_explained() -> None:
    phrases = dict(told())
    assert len(phrases) > 30
    assert {p: where for p, where in phrases.items() if f"`{p}`" not in OPERATIONS} == {}


def test_every_metric_is_explained() -> None:
    names = set()
    for path in ROOT.glob("node/metrics*.py"):
        names |= {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _METRIC.fullmatch(node.value)
        }
    assert len(names) > 20
    explained = {name.removesuffix("_total") for name in _METRIC.findall(OPERATIONS)}
    assert names - explained == set()
