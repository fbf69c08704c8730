"""The sandbox in which a model's chat template runs.

Jinja's immutable sandbox keeps a template away from Python. Time and memory are bounded here: each
item of a loop and each call counts against a budget, and so does the size of what `*` repeats.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextvars import ContextVar, Token
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

STEPS = 1_000_000
MOST_REPEATED = 1 << 20
MOST_POWER = 64
LONGEST = 1 << 23
"""Characters of a text, or items of a list, that an operator may make."""


class Exhausted(Exception):
    """The template wants more work or writes more than is allowed."""


class Rejected(jinja2.TemplateError):
    """The template refuses the conversation in its own words."""


class Budget:
    """Counts the steps of one rendering, in the thread or task that entered it."""

    def __init__(self) -> None:
        self._left = STEPS
        self._token: Token[Budget | None] | None = None

    def __enter__(self) -> Budget:
        self._token = _budget.set(self)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._token is not None:
            _budget.reset(self._token)

    def step(self) -> None:
        """Use one step; raises Exhausted."""
        self._left -= 1
        if self._left < 0:
            raise Exhausted(f"the chat template takes more than {STEPS} steps")

    def limited(self, pieces: Iterable[str], most: int) -> Iterator[str]:
        """Pass on text as long as it has at most `most` characters; raises Exhausted."""
        left = most
        for piece in pieces:
            left -= len(piece)
            if left < 0:
                raise Exhausted(f"the chat template writes more than {most} characters")
            yield piece


_budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


def _step() -> None:
    budget = _budget.get()
    if budget is not None:
        budget.step()


def _counted(items: Iterable[Any]) -> Any:
    """Count a loop's items, keeping a sequence a sequence so that its loop knows its length."""
    if isinstance(items, list | tuple | dict | str | range):
        for _ in items:
            _step()
        return items
    return _counted_one_by_one(items)


def _counted_one_by_one(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        _step()
        yield item


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            counted = nodes.Filter(loop.iter, "counted by the sandbox", [], [], None, None)
            loop.iter = counted.set_lineno(loop.lineno)
        # What doubles a text: `~`, and text written inside a `set` block.
        for joined in tree.find_all(nodes.Concat):
            joined.nodes = [_sized_part(part) for part in joined.nodes]
        for written in tree.find_all(nodes.Output):
            written.nodes = [_sized_part(part) for part in written.nodes]
        return tree

    def call(self, context: Any, callee: Any, /, *args: Any, **kwargs: Any) -> Any:
        _step()
        return super().call(context, callee, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _step()
        if operator == "*":
            _check_repeated(left, right)
            _check_repeated(right, left)
        elif operator == "**" and isinstance(right, int | float) and abs(right) > MOST_POWER:
            raise Exhausted(f"the chat template raises to a power above {MOST_POWER}")
        elif operator == "+" and hasattr(left, "__len__") and len(left) > LONGEST:
            raise Exhausted(f"the chat template joins more than {LONGEST} characters")
        return super().call_binop(context, operator, left, right)


def _check_repeated(value: Any, times: Any) -> None:
    if not isinstance(times, int):
        return
    if hasattr(value, "__len__") and len(value) * times > MOST_REPEATED:
        raise Exhausted(f"the chat template repeats something to more than {MOST_REPEATED}")
    if isinstance(value, int) and value.bit_length() + times.bit_length() > MOST_REPEATED:
        raise Exhausted("the chat template multiplies too large numbers")


def _sized_part(part: nodes.Expr) -> nodes.Expr:
    if isinstance(part, nodes.TemplateData | nodes.Const):
        return part
    sized = nodes.Filter(part, "sized by the sandbox", [], [], None, None)
    sized.lineno = part.lineno
    return sized


def _sized(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST:
        raise Exhausted(f"the chat template joins more than {LONGEST} characters")
    return value


class _Generation(Extension):
    """Marks what the assistant said, for training; the text is the same without the marks."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


class _Dict:
    """`dict(...)` and `dict.fromkeys(...)`, without the class behind them."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """Build a dictionary of equal values."""
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """A namespace that holds no name with an underscore in front."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # `self` may be a name in the namespace
        self, rest = args[0], args[1:]
        values = dict(*rest, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace cannot hold {name!r}")


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes the characters of HTML.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: object) -> None:
    raise Rejected(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def sandbox() -> jinja2.Environment:
    """Make an environment with the names and filters that chat templates rely on."""
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["counted by the sandbox"] = _counted
    environment.filters["sized by the sandbox"] = _sized
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment
