"""Rules about source text that neither a type checker nor an import contract can show."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
Finding = tuple[int, str]

IMPURE_MODULES = frozenset(
    [
        "time",
        "random",
        "os",
        "logging",
        "trio",
        "asyncio",
        "secrets",
        "datetime",
        "pathlib",
        "io",
        "socket",
        "subprocess",
        "sys",
        "uuid",
        "tempfile",
        "shutil",
        "math",
        "statistics",
        "decimal",
    ]
)
UNICODE_METHODS = frozenset(
    [
        "lower",
        "upper",
        "casefold",
        "title",
        "capitalize",
        "swapcase",
        "splitlines",
        "isalpha",
        "isalnum",
        "isdigit",
        "isdecimal",
        "isnumeric",
        "isspace",
        "isidentifier",
        "isprintable",
        "islower",
        "isupper",
        "istitle",
    ]
)
BLANK_METHODS = frozenset(("strip", "lstrip", "rstrip", "split", "rsplit"))
"""Without an argument these split or strip whatever this Python's Unicode calls white space."""


def sources(*folders: str) -> list[Path]:
    """Return the modules below folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def findings(path: Path, rule: Callable[[ast.AST], Iterator[str]]) -> list[Finding]:
    """Return the line and text of each breach of a rule in a file."""
    tree = ast.parse(path.read_text())
    return [(getattr(n, "lineno", 0), text) for n in ast.walk(tree) for text in rule(n)]


def floats(node: ast.AST) -> Iterator[str]:
    """Yield floating-point literals, names and divisions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
        yield f"the literal {node.value}"
    if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        yield "a division that is not whole"
    if isinstance(node, ast.Name) and node.id in ("float", "complex"):
        yield node.id
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "round":
        yield "round"


def outputs(node: ast.AST) -> Iterator[str]:
    """Yield what talks to the world, and assertions, which an option switches off."""
    if isinstance(node, ast.Assert):
        yield "assert"
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("print", "open", "input", "breakpoint", "id", "hash")
    ):
        yield f"{node.func.id}()"


def impure_imports(node: ast.AST) -> Iterator[str]:
    """Yield imports of the clock, randomness, the system."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
    yield from (f"import of {name}" for name in names if name.split(".")[0] in IMPURE_MODULES)


def set_iterations(node: ast.AST) -> Iterator[str]:
    """Yield loops over a set written in place: its order differs between processes."""
    iterated: list[ast.expr] = []
    if isinstance(node, ast.For | ast.comprehension):
        iterated = [node.iter]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in ("list", "tuple", "enumerate", "iter", "next", "zip", "map", "filter"):
            iterated = list(node.args)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in ("join", "extend"):
            iterated = list(node.args)
    elif isinstance(node, ast.Starred):
        iterated = [node.value]
    for expression in iterated:
        if is_set(expression):
            yield f"iteration over {ast.unparse(expression)}"


def is_set(expression: ast.expr) -> bool:
    """Tell whether an expression is a set by its form."""
    if isinstance(expression, ast.Set | ast.SetComp):
        return True
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
        return expression.func.id in ("set", "frozenset")
    if isinstance(expression, ast.BinOp) and isinstance(
        expression.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor
    ):
        return is_set(expression.left) or is_set(expression.right)
    return False


def unicode_methods(node: ast.AST) -> Iterator[str]:
    """Yield calls whose result depends on the Unicode version of this Python."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name in UNICODE_METHODS or (name in BLANK_METHODS and not node.args):
            yield f".{name}()"
    if isinstance(node, ast.ImportFrom | ast.Import):
        names = [alias.name for alias in node.names]
        module = node.module if isinstance(node, ast.ImportFrom) else None
        if "unicodedata" in (module, *names):
            yield "import of unicodedata"


def imported_modules(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found
