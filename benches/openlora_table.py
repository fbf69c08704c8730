"""Tables of outcomes: all repetitions of a row together, and ratios to one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benches.openlora_serve import Outcome, together

Figures = dict[str, float]

FIELDS = (
    ("requests/s", 11, 2),
    ("tokens/s", 9, 0),
    ("mean", 8, 0),
    ("p50", 7, 0),
    ("p99", 7, 0),
    ("each", 6, 1),
    ("cpu/token", 10, 2),
    ("cpu share", 10, 2),
    ("< 6 s", 6, 2),
    ("strict", 7, 2),
)
"""Of them mean, p50 and p99 are of the first token, `each` of those after it."""

RATIOS = (("requests/s", "rate", True), ("mean", "mean", False), ("p50", "p50", False),
          ("p99", "p99", False), ("cpu/token", "cpu", False))  # fmt: skip
"""Above 1 is worse than the row that is compared with."""

POOL = (("hits", 6, 0), ("host", 6, 0), ("disk", 6, 0), ("evicted", 8, 0), ("load ms", 8, 2))


def show(title: str, results: Mapping[str, Sequence[Outcome]], first: str) -> None:
    """Print a table with ratios to the row `first`."""
    head = "".join(f"{name:>{width}}" for name, width, _ in FIELDS) + "  |"
    head += "".join(f"{name:>6} " for _, name, _ in RATIOS) + "  |"
    head += "".join(f"{name:>{width}}" for name, width, _ in POOL)
    print(f"\n{title}\n{'adapters':<13}{head}")
    base = together(results[first]).figures()
    for name, outcomes in results.items():
        found = together(outcomes).figures()
        cells = [_cell(found, *field) for field in FIELDS]
        cells += ["  |", *(_ratio(found, base, key, inverse) for key, _, inverse in RATIOS)]
        cells += ["  |", *(_cell(found, *field) for field in POOL)]
        print(f"{name:<13}{''.join(cells)}".rstrip(), flush=True)


def _cell(found: Figures, key: str, width: int, digits: int) -> str:
    """Write a figure; blanks if there is none."""
    return f"{found[key]:{width}.{digits}f}" if key in found else " " * width


def _ratio(found: Figures, base: Figures, key: str, inverse: bool) -> str:
    ratio = base[key] / found[key] if inverse else found[key] / base[key]
    return f"{ratio:6.2f}x"
