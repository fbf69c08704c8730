"""The blocks of the demo as a drawing: what happened in which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 1080
LEFT, RIGHT = 118, 16
ROW = 26
LANES: Mapping[str, tuple[str, ...]] = {
    "data": ("Created", "BatchSubmitted", "BatchAccepted", "VersionPublished"),
    "model": ("Proposed", "Backed", "ArtifactSubmitted", "Launched", "PriceSet"),
    "session": ("WorkerRegistered", "SessionOpened", "SessionClosing", "SessionClosed"),
    "judgement": (
        "ReceiptsSubmitted",
        "CommitteeDrawn",
        "Committed",
        "Revealed",
        "Opened",
        "Agreed",
        "Finalized",
    ),
    "money": ("Settled", "Claimed"),
}


def draw(timeline: Sequence[Mapping[str, object]], last: int) -> str:
    """Return an SVG of entries {block, event, count}, up to block `last`."""
    lanes = list(LANES)
    height = ROW * len(lanes) + 40
    scale = (WIDTH - LEFT - RIGHT) / max(1, last)
    parts = [
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="What happened in which block">'
    ]
    for row, name in enumerate(lanes):
        y = 20 + ROW * row
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{name}</text>')
        parts.append(f'<line class="lane" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
    step = _step(last)
    for block in range(0, last + 1, step):
        x = LEFT + block * scale
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 6}">{block}</text>')
    parts += [_mark(entry, lanes, scale) for entry in timeline]
    parts.append("</svg>")
    return "".join(parts)


def _mark(entry: Mapping[str, object], lanes: Sequence[str], scale: float) -> str:
    event, count = str(entry["event"]), int(str(entry["count"]))
    block = int(str(entry["block"]))
    row = next((lanes.index(lane) for lane, events in LANES.items() if event in events), None)
    if row is None:
        return ""
    x, y = LEFT + block * scale, 20 + ROW * row
    radius = min(9.0, 4.0 + count**0.5)
    times = f" ×{count}" if count > 1 else ""
    return (
        f'<circle class="mark lane{row}" cx="{x:.1f}" cy="{y}" r="{radius:.1f}">'
        f"<title>block {block}: {escape(event)}{times}</title></circle>"
    )


def _step(last: int) -> int:
    for step in (5, 10, 20, 25, 50, 100, 200, 500):
        if last / step <= 14:
            return step
    return 1000
