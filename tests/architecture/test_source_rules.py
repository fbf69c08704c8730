"""What the source may not do, checked on its syntax trees."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from source_rules import (
    ROOT,
    findings,
    floats,
    imported_modules,
    impure_imports,
    outputs,
    set_iterations,
    sources,
    unicode_methods,
)

PURE = sources("runtime", "consensus/core")
ALL = sources("runtime", "consensus", "genesis", "node", "inference")
Rule = Callable[[ast.AST], Iterator[str]]

MAY_USE_UNICODE = {
    "runtime/protocols/canonical.py": None,
    # Names and texts of this source itself, which are ASCII; never a user's.
    "runtime/frame/pallet.py": {".upper()", ".lower()"},
    "runtime/frame/metadata_pallets.py": {".isupper()", ".lower()"},
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("rule", [floats, outputs, impure_imports, set_iterations])
def test_the_rules_and_the_core_of_agreement_are_pure(rule: Rule) -> None:
    found = {name_of(p): broken for p in PURE if (broken := findings(p, rule))}
    assert found == {}


def test_one_file_alone_depends_on_what_unicode_says() -> None:
    found = {}
    for path in sources("runtime"):
        allowed = MAY_USE_UNICODE.get(name_of(path), set())
        broken = [f for f in findings(path, unicode_methods) if allowed is not None]
        broken = [f for f in broken if f[1] not in (allowed or ())]
        if broken:
            found[name_of(path)] = broken
    assert found == {}


@pytest.mark.parametrize(
    ("rule", "planted"),
    [
        (floats, "x = 0.5"),
        (floats, "x = a / b"),
        (floats, "x /= 2"),
        (floats, "x = float(a)"),
        (outputs, "assert x"),
        (outputs, "print(x)"),
        (outputs, "hash(x)"),
        (impure_imports, "import time"),
        (impure_imports, "from os import path"),
        (impure_imports, "def f():\n    import random"),
        (set_iterations, "for x in {1, 2}: pass"),
        (set_iterations, "[x for x in set(y)]"),
        (set_iterations, "tuple(frozenset(y))"),
        (set_iterations, "[*{y for y in z}]"),
        (set_iterations, "for x in set(a) | b: pass"),
        (unicode_methods, "x.lower()"),
        (unicode_methods, "x.split()"),
        (unicode_methods, "import unicodedata"),
    ],
)
def test_each_rule_finds_what_it_forbids(tmp_path: Path, rule: Rule, planted: str) -> None:
    source = tmp_path / "planted.py"
    source.write_text(planted)
    assert findings(source, rule)


@pytest.mark.parametrize(
    ("rule", "innocent"),
    [
        (floats, "x = a // b"),
        (set_iterations, "for x in sorted({1, 2}): pass"),
        (set_iterations, "x in {1, 2}"),
        (unicode_methods, "x.split(',')"),
    ],
)
def test_no_rule_finds_what_is_allowed(tmp_path: Path, rule: Rule, innocent: str) -> None:
    source = tmp_path / "innocent.py"
    source.write_text(innocent)
    assert findings(source, rule) == []


@pytest.mark.parametrize(
    ("package", "most"), [("plyvel", 1), ("zeroconf", 1), ("asyncio", 0), ("multiprocessing", 0)]
)
def test_a_foreign_package_has_one_door(package: str, most: int) -> None:
    importers = [name_of(p) for p in ALL if package in tops(p)]
    assert len(importers) <= most, importers


def test_one_folder_knows_libp2p() -> None:
    importers = [name_of(p) for p in ALL if "libp2p" in tops(p)]
    assert importers
    assert [p for p in importers if not p.startswith("node/network/wire/")] == []


def test_kernels_alone_know_cupy() -> None:
    importers = [name_of(p) for p in ALL if "cupy" in tops(p)]
    assert [p for p in importers if not p.startswith("inference/kernels/")] == []


def test_the_cluster_alone_knows_ray() -> None:
    importers = [name_of(p) for p in ALL if "ray" in tops(p)]
    assert importers
    assert [p for p in importers if not p.startswith("inference/cluster/")] == []


@pytest.mark.parametrize(
    ("folder", "admitted"),
    [
        ("node/client", ("runtime", "node.client")),
        ("inference", ("runtime", "node.client", "inference")),
        ("genesis", ("runtime", "genesis")),
        ("consensus", ("runtime.primitives", "consensus")),
        ("runtime/protocols", ("runtime.primitives", "runtime.protocols")),
        ("runtime/state", ("runtime.primitives", "runtime.state")),
        ("runtime/primitives", ("runtime.primitives",)),
    ],
)
def test_a_room_imports_what_it_may(folder: str, admitted: tuple[str, ...]) -> None:
    ours = ("runtime", "consensus", "genesis", "node", "inference")
    found = {
        (name_of(path), module)
        for path in sources(folder)
        for module in imported_modules(path)
        if module.split(".")[0] in ours
        and not any(module == a or module.startswith(f"{a}.") for a in admitted)
    }
    assert found == set()


def tops(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imported_modules(path)}


def test_a_name_is_imported_from_where_it_is_without_running_anything() -> None:
    tree = ast.parse((ROOT / "node" / "__init__.py").read_text())
    assert all(isinstance(node, ast.Expr) and ast.literal_eval(node.value) for node in tree.body)


@pytest.mark.parametrize(
    "modules",
    ["runtime.executive", "node.cli.main", "node.client.signing, node.service, node.cli.node"],
)
def test_node_and_rules_start_without_an_accelerators_packages(modules: str) -> None:
    program = (
        f"import sys, {modules}\n"
        "heavy = {'torch', 'numpy', 'cupy', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def lint_imports(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--config", str(config), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_walls_between_rooms_stand() -> None:
    done = lint_imports(ROOT, ROOT / ".importlinter")
    assert done.returncode == 0, done.stdout


def test_a_hole_in_a_wall_is_found(tmp_path: Path) -> None:
    holes = {
        "runtime/pallets/one/pallet.py": "import runtime.pallets.two.pallet",
        "runtime/primitives/types.py": "import runtime.frame.calls",
        "node/chain.py": "import inference.engine",
        "inference/worker/book.py": "import node.chain",
        "consensus/core/votes.py": "import trio",
        "genesis/spec.py": "import node.chain",
        "inference/figures.py": "import node.client.rpc",  # no hole
        "inference/engine.py": "import inference.api.http",
        "inference/scheduler.py": "import torch",
        "inference/api/http.py": "import inference.worker.book",
    }
    modules = (
        *holes,
        *("runtime/pallets/two/pallet.py", "runtime/frame/calls.py", "runtime/state/trie.py"),
        *("runtime/protocols/merkle.py", "runtime/apis/core.py", "node/client/rpc.py"),
        *(f"runtime/{name}.py" for name in ("executive", "api", "block", "validity", "construct")),
        *(f"node/{name}/main.py" for name in ("cli", "rpc", "storage")),
        *(f"inference/{name}.py" for name in ("arena", "blocks", "fairness", "sequence", "runner")),
        *(f"inference/{name}.py" for name in ("executor", "cpu_executor", "leasing", "answering")),
        *(f"inference/{name}/one.py" for name in ("adapters", "backbone", "cuda", "kernels")),
        *("inference/replay.py", "inference/cluster/one.py"),
        *("node/pool.py", "node/service.py", "node/keystore.py"),
    )
    for module in modules:
        path = tmp_path / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(holes.get(module, "") + "\n")
        for parent in path.relative_to(tmp_path).parents:
            if parent.parts:
                (tmp_path / parent / "__init__.py").touch()
    done = lint_imports(tmp_path, ROOT / ".importlinter")
    assert done.returncode == 1, done.stdout + done.stderr
    for contract in ("one direction", "never import each other", "core of the agreement"):
        (line,) = [x for x in done.stdout.splitlines() if contract in x and x.endswith("BROKEN")]
        assert line
    assert done.stdout.count("BROKEN") >= 9
