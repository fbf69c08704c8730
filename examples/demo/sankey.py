"""The fee's way as a drawing: bands from the customer through the price's two parts to accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 1080, 620
TOP, BOTTOM = 26, 10
BAR = 12
COLUMNS = (150, 370, 600, 850)
GAP = 11.0
LEAST = 1.5
"""Pixels of the thinnest band; a few planck stay visible."""


@dataclass(frozen=True, slots=True)
class Band:
    """An amount that flows between two nodes; `colour` is a CSS class."""

    source: str
    target: str
    amount: int
    colour: str


@dataclass(slots=True)
class Node:
    """A bar of the drawing; `left` and `right` say how far its sides are used up."""

    name: str
    label: str
    column: int
    amount: int
    y: float = 0.0
    height: float = 0.0
    left: float = field(default=0.0)
    right: float = field(default=0.0)


def draw(nodes: Sequence[Node], bands: Sequence[Band], label: dict[int, str]) -> str:
    """Return an SVG; `label` heads the columns. Nodes keep their order within a column."""
    scale = _scale(nodes)
    for column in range(len(COLUMNS)):
        _stack([node for node in nodes if node.column == column], scale)
    by_name = {node.name: node for node in nodes}
    parts = [
        f'<svg class="sankey" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="How the fee was divided">'
    ]
    parts += [
        f'<text class="head" x="{COLUMNS[column] + BAR / 2}" y="14" text-anchor="middle">'
        f"{escape(text)}</text>"
        for column, text in label.items()
    ]
    order = {node.name: place for place, node in enumerate(nodes)}
    for band in sorted(bands, key=lambda b: (order[b.source], order[b.target])):
        parts.append(_band(band, by_name[band.source], by_name[band.target], scale))
    parts += [_node(node) for node in nodes]
    parts.append("</svg>")
    return "".join(parts)


def _scale(nodes: Sequence[Node]) -> float:
    """Return pixels per planck such that every column fits."""
    scales = []
    for column in range(len(COLUMNS)):
        found = [node for node in nodes if node.column == column]
        total = sum(node.amount for node in found)
        room = HEIGHT - TOP - BOTTOM - GAP * max(0, len(found) - 1) - LEAST * len(found)
        if total:
            scales.append(room / total)
    return min(scales, default=0.0)


def _stack(column: Sequence[Node], scale: float) -> None:
    heights = [max(LEAST, node.amount * scale) for node in column]
    used = sum(heights) + GAP * max(0, len(column) - 1)
    y = TOP + (HEIGHT - TOP - BOTTOM - used) / 2
    for node, height in zip(column, heights, strict=True):
        node.y, node.height = y, height
        y += height + GAP


def _band(band: Band, source: Node, target: Node, scale: float) -> str:
    thick = max(LEAST, band.amount * scale)
    x0, x1 = COLUMNS[source.column] + BAR, COLUMNS[target.column]
    y0, y1 = source.y + source.right, target.y + target.left
    source.right += thick
    target.left += thick
    middle = (x0 + x1) / 2
    path = (
        f"M{x0},{y0:.1f} C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1},{y1:.1f} "
        f"L{x1},{y1 + thick:.1f} C{middle:.1f},{y1 + thick:.1f} {middle:.1f},{y0 + thick:.1f} "
        f"{x0},{y0 + thick:.1f} Z"
    )
    title = f"{source.label} → {target.label}: {exact(band.amount)} OPEN"
    return f'<path class="band {band.colour}" d="{path}"><title>{escape(title)}</title></path>'


def _node(node: Node) -> str:
    x = COLUMNS[node.column]
    middle = node.y + node.height / 2 + 4
    last = node.column == len(COLUMNS) - 1
    place = (
        f'x="{x + BAR + 8}" text-anchor="start"'
        if last or node.column
        else (f'x="{x - 8}" text-anchor="end"')
    )
    return (
        f'<rect class="bar" x="{x}" y="{node.y:.1f}" width="{BAR}" height="{node.height:.1f}"/>'
        f'<text {place} y="{middle:.1f}">{escape(node.label)} '
        f'<tspan class="amount">{short(node.amount)}</tspan>'
        f"<title>{exact(node.amount)} OPEN</title></text>"
    )


def exact(planck: int) -> str:
    """Write an amount of OPEN to the last planck."""
    whole, fraction = divmod(abs(planck), 10**18)
    text = f"{whole}.{fraction:018d}".rstrip("0").rstrip(".")
    return f"-{text}" if planck < 0 else text


def short(planck: int) -> str:
    """Write an amount of OPEN with four decimals, cut and not rounded up."""
    whole, fraction = divmod(abs(planck), 10**18)
    text = f"{whole}.{fraction // 10**14:04d}"
    return f"-{text}" if planck < 0 else text
