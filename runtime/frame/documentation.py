"""The documentation of declarations: docstrings, and the text under each member of a class."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
from collections.abc import Iterator
from types import ModuleType


def own_doc(cls: type) -> str:
    """Return the docstring of a class itself, without the one that dataclass makes up."""
    doc = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    if dataclasses.is_dataclass(cls) and doc.startswith(f"{cls.__name__}("):
        return ""
    return doc


def doc_lines(text: str) -> tuple[str, ...]:
    """Split a docstring into the lines that the metadata holds."""
    return tuple(text.split("\n")) if text else ()


def member_docs(cls: type) -> dict[str, str]:
    """Return the string literal that follows each assignment in the body of a class."""
    module = inspect.getmodule(cls)
    return {} if module is None else _module_docs(module).get(cls.__qualname__, {})


@functools.cache
def _module_docs(module: ModuleType) -> dict[str, dict[str, str]]:
    """Return the texts under the members of each class of a module; it is read once."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except OSError:  # a module without source, such as a console's
        return {}
    return {name: _documented(body) for name, body in _classes(tree.body, "")}


def _classes(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, list[ast.stmt]]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node.body
            yield from _classes(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield from _classes(node.body, f"{prefix}{node.name}.<locals>.")


def _documented(body: list[ast.stmt]) -> dict[str, str]:
    docs: dict[str, str] = {}
    for node, following in itertools.pairwise(body):
        match node, following:
            case (
                ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                docs[name] = inspect.cleandoc(text)
            case _:
                pass
    return docs
