"""How a local network is shown: a table in a terminal, a line elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from node.localnet.figures import Figures
from node.localnet.watch import Row

STALE_SECONDS = 15.0
"""An age of the last finality from which on it is shown as trouble."""
MIB = 1 << 20
_COLUMNS = (
    "name",
    "pid",
    "port",
    "peers",
    "epoch/view",
    "best",
    "final",
    "age",
    "signs",
    "CPU",
    "memory",
)
_LEFT = ("name", "signs")


def table(rows: Sequence[Row], title: str, caption: str = "") -> Table:
    """Draw all processes; the last words of those that have ended stand below."""
    drawn = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for name in _COLUMNS:
        drawn.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=True)
    for row in rows:
        drawn.add_row(*_cells(row))
    words = [f"{row.name} {ending(row)}: {row.news}" for row in rows if row.pid is None]
    if words:
        drawn.caption = Text("\n".join([*words, caption] if caption else words))
    return drawn


def _cells(row: Row) -> list[Text | str]:
    if row.pid is None:
        return [Text(row.name, "red"), Text("ended", "red"), str(row.port)]
    usage = [
        "" if row.cpu is None else f"{row.cpu:.0f} %",
        "" if row.memory is None else f"{row.memory / MIB:.0f} MiB",
    ]
    return [row.name, str(row.pid), str(row.port), *_state(row.figures), *usage]


def _state(figures: Figures | None) -> list[Text | str]:
    if figures is None:
        return [""] * 6
    place = "" if figures.view is None else f"{figures.epoch}/{figures.view}"
    if figures.catching_up:
        place = "catching up"
    late = "red" if figures.age > STALE_SECONDS else ""
    signs = {None: "", True: "yes"}.get(figures.signing, "no")
    return [
        str(figures.peers),
        place,
        str(figures.best),
        str(figures.final),
        Text(f"{figures.age:.0f} s", late),
        signs,
    ]


def line(rows: Sequence[Row], seconds: float) -> str:
    """Tell the same in one line: what is final where, and who has ended."""
    nodes = [row for row in rows if row.figures is not None]
    parts = [f"{seconds:.0f} s"]
    heights = [row.figures.final for row in nodes if row.figures is not None]
    if heights:
        low, high = min(heights), max(heights)
        parts.append(f"final {high}" if low == high else f"final {low} to {high}")
    views = {(f.epoch, f.view) for row in nodes if (f := row.figures) and f.view is not None}
    if views:
        epoch, view = max(views, key=lambda pair: (pair[0] or 0, pair[1] or 0))
        parts.append(f"epoch {epoch} view {view}")
    signing = sum(bool(row.figures and row.figures.signing) for row in nodes)
    count = sum(row.is_node for row in rows)
    parts.append(f"{signing} of {count} nodes sign" if nodes else "nobody answers yet")
    parts += [f"{row.name} {ending(row)}: {row.news}" for row in rows if row.pid is None]
    return "  ".join(parts)


def ending(row: Row) -> str:
    """Say how a process ended."""
    if row.status is None:
        return "did not start"
    if row.status < 0:
        return f"was ended by {signal.Signals(-row.status).name}"
    return f"ended with status {row.status}"
