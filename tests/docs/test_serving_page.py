"""The page on serving speaks of what is there: options, figures, log lines, refusals."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

from inference import cli
from inference.adapters.figures import PoolFigures
from inference.api.engine_figures import EngineCollector
from inference.api.errors import ApiReason
from inference.api.figures import ApiFigures
from inference.figures import EngineFigures, Recorder
from inference.request import RequestReason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text()
FILES = [*(ROOT / "inference/api").glob("*.py"), ROOT / "inference/worker/serve_command.py"]
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_METRIC = re.compile(r"openledger_(?:api|engine)_[a-z_]+[a-z]")


def phrases() -> Iterator[str]:
    for path in FILES:
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("_LOG."):
                first = call.args[0]
                assert isinstance(first, ast.Constant)
                if not ast.unparse(call.func).endswith(".debug"):
                    yield str(first.value)


def test_every_log_line_of_the_server_is_explained() -> None:
    found = set(phrases())
    assert len(found) > 10
    assert {phrase for phrase in found if f"`{phrase}`" not in PAGE} == set()


def test_every_option_of_serve_is_told_and_all_told_exist() -> None:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    cli.add_parser(subparsers)
    options = {
        option
        for action in subparsers.choices["serve"]._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    told = set(_OPTION.findall(PAGE))
    assert options - told == {"--help", "--host", "--log"}
    assert told - options == set()


def test_every_figure_is_explained() -> None:
    numbers = dict.fromkeys(EngineFigures.__dataclass_fields__, 0) | {
        "pool": PoolFigures(),
        "recorder": Recorder(),
    }
    engine = EngineCollector(lambda: EngineFigures(**numbers))  # type: ignore[arg-type]
    api = ApiFigures()
    names = {metric.name for metric in (*engine.collect(), *api.registry.collect())}
    names |= set(_METRIC.findall((ROOT / "inference/api/server.py").read_text()))
    assert len(names) > 20
    explained = {name.removesuffix("_total") for name in _METRIC.findall(PAGE)}
    assert {name.removesuffix("_created") for name in names} - explained == set()
    assert explained - names == set()


def test_the_reasons_of_the_interface_are_told() -> None:
    codes = {reason.name.lower() for reason in ApiReason}
    codes |= {RequestReason.QUEUE_FULL.value, RequestReason.TENANT_QUEUE_FULL.value}
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()
